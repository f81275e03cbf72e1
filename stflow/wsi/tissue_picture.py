"""A tiles file as a picture: the slide, its tissue outlined, every spot that was kept, and the damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stflow.errors import DataError
from stflow.io import atomic_path, numbers, open_h5, reading
from stflow.wsi.ready import mask_of, thumbnail_of, tile_centres

_OUTLINE, _SPOT, _DAMAGED = (0, 130, 60), (20, 60, 220), (220, 20, 20)
_GLASS = 0.55  # brightness of what is not tissue


def make_tissue_picture(tiles: Path, png: Path) -> None:
    """Draw the tissue mask of a tiles file over its thumbnail.

    Parameters
    ----------
    tiles
        Tiles file with ``thumbnail`` and ``mask``, as `stflow.wsi.tiles` cuts it.
    png
        Picture to write: glass darkened, tissue outlined in green, kept spots blue, damaged tiles red.

    Raises
    ------
    DataError
        The tiles came ready, without a mask.
    """
    from PIL import Image, ImageDraw
    from scipy import ndimage

    with open_h5(tiles) as handle, reading(tiles):
        if "mask" not in handle or "thumbnail" not in handle:
            raise DataError(
                f"{tiles} has no tissue mask: its patches were cut elsewhere. Only slides cut here have one."
            )
        thumbnail, downsample = thumbnail_of(handle)
        mask, _ = mask_of(handle)
        centres = tile_centres(handle)
        damaged = numbers(handle["unreadable/coords"], (None, 2)) if "unreadable" in handle else np.zeros((0, 2))
        side = float(handle["coords"].attrs["patch_size_src"])
    height, width = thumbnail.shape[:2]
    tissue = (
        np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.NEAREST)) > 0
    )
    picture = np.where(tissue[..., None], thumbnail, (thumbnail * _GLASS).astype(np.uint8))
    picture[tissue ^ ndimage.binary_erosion(tissue, border_value=1)] = _OUTLINE
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for places, colour in ((centres, _SPOT), (damaged + side / 2, _DAMAGED)):
        for x, y in (np.zeros((0, 2)) if places is None else places) / downsample:
            draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=colour)
    with atomic_path(png) as partial:
        image.save(partial, format="PNG")
