"""Where a slide's spots lie, how large they are, and the tissue below them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stflow.errors import DataError
from stflow.io import open_h5, reading
from stflow.layout import Layout
from stflow.wsi.ready import thumbnail_of

#: Diameter of a Visium spot, for a slide whose file does not tell its own.
VISIUM_SPOT_UM = 55.0
#: How much of the H&E's darkness is left below the spots, and its longest side there, px.
FADE, FADED_PX = 0.3, 500


@dataclass(frozen=True, eq=False)
class Canvas:
    """Where spots lie and what is below them.

    centres_px (N, 2) level-0 px, spot_px diameter in level-0 px, mpp um per level-0 px; picture (h, w, 3) uint8 and
    its level-0 px a picture px, or None for slides without one.
    """

    centres_px: np.ndarray
    spot_px: float
    mpp: float
    picture: np.ndarray | None
    downsample: float

    @property
    def window(self) -> tuple[float, float, float, float]:
        """x0, x1, y0, y1 in level-0 px: the spots and one spot's width around them."""
        low, high = self.centres_px.min(axis=0) - 1.5 * self.spot_px, self.centres_px.max(axis=0) + 1.5 * self.spot_px
        return float(low[0]), float(high[0]), float(low[1]), float(high[1])

    @property
    def aspect(self) -> float:
        """Height over width of the window."""
        x0, x1, y0, y1 = self.window
        return (y1 - y0) / (x1 - x0)


def read_canvas(tiles: Path, slide: str, centres_px: np.ndarray, image: Path | None = None) -> Canvas:
    """What is drawn below the spots, and how large they are.

    The spot's diameter is in the slide file beside the tiles file's folder; without one it is a Visium spot's.

    Parameters
    ----------
    tiles
        Tiles file of the slide: um/px, and the tissue's picture if it has one.
    slide
        Its name.
    centres_px
        (N, 2) spot centres, level-0 px.
    image
        Slide image, for tiles files without a picture.

    Raises
    ------
    DataError
        No spot size can be told.
    IntegrityError
        A file that is missing or cut short.
    """
    picture, downsample, spot_um = None, 1.0, VISIUM_SPOT_UM
    with open_h5(tiles) as handle, reading(tiles):
        told = handle.attrs.get("mpp", handle["img"].attrs.get("pixel_size"))
        mpp = None if told is None else float(told)
        if "thumbnail" in handle:
            picture, downsample = thumbnail_of(handle)
    slide_file = Layout(tiles.absolute().parents[2]).slide(tiles.absolute().parent.name, slide)
    if slide_file.is_file():
        with open_h5(slide_file) as handle, reading(slide_file):
            meta = handle["uns/stflow"]
            mpp, spot_um = float(meta["mpp"][()]), float(meta["spot_diameter_um"][()])
    if mpp is None:
        raise DataError(f"{tiles} tells no um/px and {slide_file} is not there. Run `counts` and `tile` for {slide}.")
    if picture is None and image is not None:
        from stflow.wsi.slide_image import open_slide

        with open_slide(image) as opened:
            picture, downsample, _ = opened.overview(max(1.0, max(opened.size) / 1000))
    return Canvas(centres_px, spot_um / mpp, mpp, picture, downsample)


def faded(picture: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: the picture small and in light grey, so that no stain is taken for a colour of the scale."""
    from PIL import Image

    small = Image.fromarray(picture).convert("L")
    small.thumbnail((FADED_PX, FADED_PX), Image.Resampling.BOX)
    light = 255 - FADE * (255 - np.asarray(small, dtype=np.float64))
    return np.repeat(light[..., None], 3, axis=2).astype(np.uint8)


def round_length(um: float) -> float:
    """The largest of 1, 2, 5 x 10^k that is not above ``um``."""
    power = 10.0 ** np.floor(np.log10(um))
    return float(max(step * power for step in (1, 2, 5) if step * power <= um * (1 + 1e-9)))
