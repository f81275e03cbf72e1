"""The tiles file ``tiles/<benchmark>/<slide>.h5``: one picture a spot, cut by um per pixel.

    img        (N, px, px, 3) uint8 RGB, one chunk a tile      coords   (N, 2) int64 top-left corners, level-0 px
    barcode    (N, 1) UTF-8                                    centres  (N, 2) float64 spot centres, level-0 px
    thumbnail  (h, w, 3) uint8; attribute ``downsample``: level-0 px a thumbnail px
    attrs: schema, slide, mpp, tile_um, tile_px, n_expected, img_sha256, image_sha256

``coords`` and ``img`` carry hest-bench's attributes (patch_size_src, patch_size_target, downsample, pixel_size), so
its tools read the file. Where a format's patches are cut already, the tiles file is a link to them, and ``centres``,
``thumbnail`` and the file's attributes may be missing.

The cut is HEST's: the side is ``tile_um / mpp`` level-0 px whatever the magnification; top-left = centre - side // 2;
a box wholly off the slide is dropped, and one of which less than ``min_tissue`` is tissue.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stflow.errors import DataError
from stflow.h5 import create_h5
from stflow.io import SCHEMA_VERSION, open_h5, sha256_file
from stflow.wsi.slide_image import SlideImage, open_slide, require_mpp
from stflow.wsi.tissue import MASK_MPP, tissue_mask, tissue_share

if TYPE_CHECKING:
    from stflow.data.formats.base import SlideFormat

#: Longest side of the thumbnail, px.
THUMBNAIL_PX = 1000


@dataclass(frozen=True, eq=False)
class Spots:
    """Where the spots of a slide are, as its slide file says: barcodes (N,), centres_px (N, 2), um/px, diameter."""

    name: str
    barcodes: np.ndarray
    centres_px: np.ndarray
    mpp: float
    diameter_um: float

    @classmethod
    def read(cls, path: Path) -> Spots:
        """Read a slide file without its counts."""
        with open_h5(path) as handle:
            meta = handle["uns/stflow"]
            return cls(
                name=str(meta["slide"].asstr()[()]),
                barcodes=np.asarray(handle["obs"][handle["obs"].attrs["_index"]].asstr()[:], dtype=object),
                centres_px=handle["obsm/spatial"][:].astype(np.float64),
                mpp=float(meta["mpp"][()]),
                diameter_um=float(meta["spot_diameter_um"][()]),
            )


@dataclass(frozen=True, eq=False)
class Grid:
    """The boxes to cut: ``index`` (M,) of the spots kept, ``coords`` (M, 2) corners, side in level-0 px."""

    index: np.ndarray
    coords: np.ndarray
    size_px: int


def make_tiles(
    format: str,
    root: Path,
    dataset: str,
    slide: str,
    slide_file: Path,
    out: Path,
    *,
    tile_um: float,
    tile_px: int,
    min_tissue: float,
    crop: str = "spot",
) -> None:
    """Cut the tile of every spot on tissue, or link the tiles that the format brings.

    Parameters
    ----------
    format
        Name of a registered slide format.
    root
        Folder with the benchmark's files.
    dataset, slide
        Names.
    slide_file
        The slide file: spot centres and um/px.
    out
        Tiles file to write.
    tile_um
        Side of a tile on the tissue, um; a format whose tile is the spot has its own.
    tile_px
        Side of a tile as the encoder sees it, px.
    min_tissue
        Share of a tile that must be tissue.
    crop
        ``spot`` or ``pixels``, see `SlideFormat.side_um`.

    Raises
    ------
    SlideError
        No image, or no um/px.
    IntegrityError
        The image is cut short, or ready patches do not fit the counts.
    DataError
        No spot is on tissue.
    """
    from stflow.data.formats import FORMATS
    from stflow.wsi.ready import link_ready_tiles

    reader: SlideFormat = FORMATS.get(format)(Path(root))
    spots = Spots.read(slide_file)
    source = reader.image_files(dataset, slide)[0]
    if reader.tiles == "ready":
        link_ready_tiles(source, spots, Path(out), tile_px)
        return
    side_um = reader.side_um(tile_um, spot_um=spots.diameter_um, mpp=spots.mpp, tile_px=tile_px, crop=crop)
    cut_tiles(source, spots, Path(out), tile_um=side_um, tile_px=tile_px, min_tissue=min_tissue)


def cut_tiles(image_path: Path, spots: Spots, out: Path, *, tile_um: float, tile_px: int, min_tissue: float) -> None:
    """Cut the tiles of ``spots`` from an image and write the tiles file; see `make_tiles`."""
    mpp = require_mpp(spots.mpp, f"slide {spots.name}")
    with open_slide(image_path) as image:
        picture, downsample = image.overview(max(1.0, MASK_MPP / mpp))
        mask = tissue_mask(picture, mpp * downsample)
        grid = lay_grid(spots, image.size, mask, downsample, tile_um=tile_um, min_tissue=min_tissue)
        if grid.index.size == 0:
            raise DataError(
                f"slide {spots.name}: none of its {len(spots.barcodes)} spots is on tissue of {image_path} "
                f"({image.size[0]} x {image.size[1]} px, {mask.mean():.0%} tissue). Check that the coordinates are "
                "level-0 px of this image."
            )
        with create_h5(out, expected_bytes=len(grid.index) * tile_px * tile_px * 3) as handle:
            digest = _write_images(handle, image, grid, tile_px)
            _write_places(handle, spots, grid)
            _write_thumbnail(handle, picture, downsample)
            _write_attributes(handle, spots, grid, tile_um, tile_px)
            handle.attrs.update(img_sha256=digest, image_sha256=sha256_file(image_path))


def lay_grid(
    spots: Spots, size: tuple[int, int], mask: np.ndarray, downsample: float, *, tile_um: float, min_tissue: float
) -> Grid:
    """The boxes of the spots that are on the slide and on tissue, in the spots' order.

    Parameters
    ----------
    spots
        Spot centres and um/px.
    size
        Width and height of the slide, level-0 px.
    mask
        (h, w) bool tissue, `downsample` times smaller than the slide.
    downsample
        Level-0 px a pixel of ``mask``.
    tile_um
        Side of a tile, um.
    min_tissue
        Share of a tile that must be tissue.
    """
    side = tile_um / spots.mpp
    coords = (spots.centres_px - side // 2).astype(np.int64)
    on_slide = ((coords + side >= 0) & (coords < np.asarray(size))).all(axis=1)
    on_tissue = tissue_share(mask, coords / downsample, side / downsample) >= min_tissue
    index = np.flatnonzero(on_slide & on_tissue)
    return Grid(index, coords[index], round(side))


def tiles_digest(digest: Any, images: np.ndarray) -> None:
    """Add a block of tiles to a running SHA-256: bytes alone, so that blocks of any size give the same hash."""
    digest.update(np.ascontiguousarray(images).data)


def _write_images(handle: Any, image: SlideImage, grid: Grid, tile_px: int) -> str:
    """Read, resize and store every tile; returns the hash of them all."""
    images = handle.create_dataset(
        "img",
        shape=(len(grid.index), tile_px, tile_px, 3),
        maxshape=(None, tile_px, tile_px, 3),
        chunks=(1, tile_px, tile_px, 3),
        dtype=np.uint8,
    )
    digest = hashlib.sha256()
    for row, (x, y) in enumerate(grid.coords.tolist()):
        tile = image.tile(x, y, grid.size_px, tile_px)
        images[row] = tile
        tiles_digest(digest, tile)
    return digest.hexdigest()


def _write_places(handle: Any, spots: Spots, grid: Grid) -> None:
    import h5py

    handle.create_dataset("coords", data=grid.coords, dtype=np.int64)
    handle.create_dataset("centres", data=spots.centres_px[grid.index], dtype=np.float64)
    names = [[str(name)] for name in spots.barcodes[grid.index]]
    handle.create_dataset("barcode", data=names, dtype=h5py.string_dtype())


def _write_thumbnail(handle: Any, picture: np.ndarray, downsample: float) -> None:
    from PIL import Image

    height, width = picture.shape[:2]
    scale = max(1.0, max(height, width) / THUMBNAIL_PX)
    size = (round(width / scale), round(height / scale))
    thumbnail = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    handle.create_dataset("thumbnail", data=thumbnail, compression="gzip", compression_opts=4)
    handle["thumbnail"].attrs["downsample"] = downsample * scale


def _write_attributes(handle: Any, spots: Spots, grid: Grid, tile_um: float, tile_px: int) -> None:
    for key in ("coords", "img"):
        handle[key].attrs.update(
            patch_size_src=grid.size_px,
            patch_size_target=tile_px,
            downsample=tile_um / tile_px / spots.mpp,
            pixel_size=spots.mpp,
            name=spots.name,
        )
    handle.attrs.update(
        schema=SCHEMA_VERSION,
        slide=spots.name,
        mpp=spots.mpp,
        tile_um=tile_um,
        tile_px=tile_px,
        n_expected=len(grid.index),
    )
