"""The picture below a slide's spots, and how large a spot is on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stflow.errors import DataError
from stflow.io import open_h5, reading
from stflow.layout import Layout
from stflow.wsi.ready import thumbnail_of, tile_centres

#: Longest side of a picture that is made here, px; those of tiles files are about as large.
LONGEST_PX = 1000
#: Longest side of the small picture, px, as Space Ranger makes it.
LOWRES_PX = 600
#: What is shown where there is no tile: glass.
_GLASS = 255


@dataclass(frozen=True, eq=False)
class Picture:
    """A slide, small.

    pixels (h, w, 3) uint8 RGB, downsample level-0 px a pixel, origin where the pixels come from: ``thumbnail`` of the
    tiles file, ``image`` of the slide, or ``tiles`` put side by side. (x, y) of level 0 is at (x, y) / downsample.
    """

    pixels: np.ndarray
    downsample: float
    origin: str

    def reduced(self, longest_px: int = LOWRES_PX) -> Picture:
        """The picture with sides of at most ``longest_px``, by averages of whole pixels; itself if it is that small."""
        from PIL import Image

        step = -(-max(self.pixels.shape[:2]) // longest_px)
        pixels = np.asarray(Image.fromarray(self.pixels).reduce(step))
        return Picture(pixels, self.downsample * step, self.origin)


def read_scale(results: Path, benchmark: str, slide: str) -> tuple[float, float]:
    """(um per level-0 px, diameter of a spot in um) of a slide, from its slide file."""
    path = Layout(results).slide(benchmark, slide)
    with open_h5(path) as handle, reading(path):
        meta = handle["uns/stflow"]
        return float(meta["mpp"][()]), float(meta["spot_diameter_um"][()])


def read_picture(results: Path, benchmark: str, slide: str, image: Path | None = None) -> Picture:
    """The picture of a slide: the tiles file's own, else of its image, else its tiles side by side.

    Parameters
    ----------
    results, benchmark, slide
        Which slide.
    image
        The slide's image, for tiles files without a picture.

    Raises
    ------
    IntegrityError
        The tiles file is missing or cut short.
    DataError
        The tiles file has neither a picture nor tiles.
    """
    path = Layout(results).tiles(benchmark, slide)
    with open_h5(path) as handle, reading(path):
        if "thumbnail" in handle:
            return Picture(*thumbnail_of(handle), "thumbnail")
        if image is None:
            if not ("img" in handle and "coords" in handle and len(handle["img"])):
                raise DataError(f"{path} holds neither a picture nor tiles. Make it again with `stflow tile`.")
            corners, centres = handle["coords"][:], tile_centres(handle)
            if centres is None:
                raise DataError(f"{path} tells neither the tiles' width nor their centres. Make it again.")
            return mosaic(handle["img"], corners, 2 * float(np.abs(centres - corners).max()))
    from stflow.wsi.slide_image import open_slide

    with open_slide(image) as opened:
        found = opened.overview(max(1.0, max(opened.size) / LONGEST_PX))
    return Picture(found.picture, found.downsample, "image")


def mosaic(tiles: np.ndarray, corners: np.ndarray, side: float) -> Picture:
    """Tiles at their places on glass; where two overlap, the later one is on top.

    Parameters
    ----------
    tiles
        (N, px, px, 3) uint8, an array or an HDF5 dataset, of which one tile is read at a time.
    corners, side
        (N, 2) top-left corners (x, y) and the width of a tile, level-0 px.
    """
    from PIL import Image

    width, height = np.maximum(corners, 0).max(axis=0) + side
    downsample = max(1.0, float(max(width, height)) / LONGEST_PX)
    side_px = max(1, round(side / downsample))
    canvas = Image.new("RGB", (round(width / downsample) + 1, round(height / downsample) + 1), (_GLASS,) * 3)
    for place, (x, y) in enumerate(corners):
        tile = Image.fromarray(tiles[place]).resize((side_px, side_px), Image.Resampling.BOX)
        canvas.paste(tile, (round(float(x) / downsample), round(float(y) / downsample)))
    return Picture(np.asarray(canvas), downsample, "tiles")
