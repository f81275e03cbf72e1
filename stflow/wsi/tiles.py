"""The tiles file ``tiles/<benchmark>/<slide>.h5``: one picture a spot, cut by um per pixel.

    img        (N, px, px, 3) uint8 RGB, one chunk a tile      coords   (N, 2) int64 top-left corners, level-0 px
    barcode    (N, 1) UTF-8                                    centres  (N, 2) float64 spot centres, level-0 px
    thumbnail  (h, w, 3) uint8; attribute ``downsample``: level-0 px a thumbnail px
    mask       (h, w) uint8, 1 where there is tissue; attribute ``downsample``
    unreadable barcode (K,), coords (K, 2) of the tiles whose pixels are damaged; they are in none of the above
    attrs: schema, slide, mpp, mpp_source, tile_um, tile_px, min_tissue, n_expected, n_off_slide, n_off_tissue,
           n_unreadable, img_sha256, image_sha256

``coords`` and ``img`` carry hest-bench's attributes (patch_size_src, patch_size_target, downsample, pixel_size), so
its tools read the file. Where a format's patches are cut already, the tiles file is a link to them, and all but
``img``, ``coords`` and ``barcode`` may be missing.

The cut is HEST's: the side is ``tile_um / mpp`` level-0 px whatever the magnification; top-left = centre - side // 2;
a box wholly off the slide is dropped, and one of which less than ``min_tissue`` is tissue. A tile whose pixels cannot
be read is left out and named; it never is a white tile.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stflow.errors import DataError, IntegrityError
from stflow.h5 import create_h5
from stflow.io import SCHEMA_VERSION, numbers, open_h5, reading, sha256_file
from stflow.wsi.scale import require_mpp
from stflow.wsi.slide_image import SlideImage, UnreadableRegion, open_slide
from stflow.wsi.tile_store import TileStore
from stflow.wsi.tissue import MASK_MPP, tissue_mask, tissue_share

if TYPE_CHECKING:
    from stflow.data.formats.base import SlideFormat

#: Longest side of the thumbnail, px.
THUMBNAIL_PX = 1000
#: Where more than this share of the spots is off the image, it is another image's spots.
MOST_OFF_SLIDE = 0.5
#: Share of a slide's tiles that may be damaged, unless the configuration says another.
MAX_UNREADABLE = 0.01
_MASK_PIXELS = 4_000_000  # tissue of larger slides (16 x 16 mm) is looked for more coarsely: memory stays as it is
_NAMED = 20  # damaged tiles that the log names


@dataclass(frozen=True, eq=False)
class Spots:
    """Where the spots of a slide are, as its slide file says: barcodes (N,), centres_px (N, 2), um/px, diameter."""

    name: str
    barcodes: np.ndarray
    centres_px: np.ndarray
    mpp: float
    diameter_um: float
    mpp_source: str = ""

    @classmethod
    def read(cls, path: Path) -> Spots:
        """Read a slide file without its counts."""
        with open_h5(path) as handle, reading(path):
            meta = handle["uns/stflow"]
            return cls(
                name=str(meta["slide"].asstr()[()]),
                barcodes=np.asarray(handle["obs"][handle["obs"].attrs["_index"]].asstr()[:], dtype=object),
                centres_px=numbers(handle["obsm/spatial"], (None, 2)).astype(np.float64),
                mpp=float(meta["mpp"][()]),
                diameter_um=float(meta["spot_diameter_um"][()]),
                mpp_source=str(meta["mpp_source"].asstr()[()]) if "mpp_source" in meta else "",
            )


@dataclass(frozen=True, eq=False)
class Grid:
    """The boxes to cut.

    ``index`` (M,) of the spots kept, ``coords`` (M, 2) corners, side in level-0 px; ``off_slide`` (K,) of the spots
    whose boxes are wholly off the slide, and how many more are off the tissue.
    """

    index: np.ndarray
    coords: np.ndarray
    size_px: int
    off_slide: np.ndarray
    n_off_tissue: int


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
    max_unreadable: float = MAX_UNREADABLE,
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
    max_unreadable
        Share of the tiles whose pixels may be damaged; they are left out and named.

    Raises
    ------
    SlideError
        No image, or no um/px.
    IntegrityError
        The image is cut short or too much of it is damaged, or ready patches do not fit the counts.
    DataError
        No spot is on tissue, or more than half of them are off the image.
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
    cut_tiles(
        source,
        spots,
        Path(out),
        tile_um=side_um,
        tile_px=tile_px,
        min_tissue=min_tissue,
        max_unreadable=max_unreadable,
    )


def cut_tiles(
    image_path: Path,
    spots: Spots,
    out: Path,
    *,
    tile_um: float,
    tile_px: int,
    min_tissue: float,
    max_unreadable: float = MAX_UNREADABLE,
) -> None:
    """Cut the tiles of ``spots`` from an image and write the tiles file; see `make_tiles`."""
    mpp = require_mpp(spots.mpp, f"slide {spots.name}")
    with open_slide(image_path) as image:
        seen = image.overview(max(1.0, MASK_MPP / mpp, np.sqrt(image.size[0] * image.size[1] / _MASK_PIXELS)))
        # What the overview could not read is tried tile by tile, and counted there.
        mask = tissue_mask(seen.picture, mpp * seen.downsample) | seen.unread
        grid = lay_grid(spots, image.size, mask, seen.downsample, tile_um=tile_um, min_tissue=min_tissue)
        _require_tiles(grid, spots, image, mask)
        with create_h5(out, expected_bytes=len(grid.index) * tile_px * tile_px * 3) as handle:
            store = TileStore(handle, len(grid.index), tile_px)
            unreadable = _read_tiles(image, grid, store, spots, max_unreadable)
            digest = store.finish(leave_out=unreadable)
            _write_places(handle, spots, grid, unreadable)
            _write_thumbnail(handle, seen.picture, seen.downsample)
            _write_mask(handle, mask, seen.downsample)
            _write_attributes(handle, spots, grid, len(unreadable), tile_um, tile_px)
            handle.attrs.update(img_sha256=digest, image_sha256=sha256_file(image_path), min_tissue=min_tissue)


def _require_tiles(grid: Grid, spots: Spots, image: SlideImage, mask: np.ndarray) -> None:
    """Refuse spots that are not of this image; tell how many are dropped."""
    n, off = len(spots.barcodes), len(grid.off_slide)
    where = f"{image.path} ({image.size[0]} x {image.size[1]} px)"
    low, high = spots.centres_px.min(axis=0), spots.centres_px.max(axis=0)
    span = f"the spots' centres span x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f} to {high[1]:.0f}"
    remedy = "Check that the coordinates are level-0 px of this image, x then y."
    if off > MOST_OFF_SLIDE * n:
        raise DataError(f"slide {spots.name}: {off} of its {n} spots are outside {where}; {span}. {remedy}")
    if grid.index.size == 0:
        raise DataError(
            f"slide {spots.name}: none of its {n} spots is on tissue of {where}, of which {mask.mean():.0%} is tissue; "
            f"{span}. {remedy}"
        )
    if off:
        first = ", ".join(str(name) for name in spots.barcodes[grid.off_slide[:_NAMED]])
        _log(f"{off} of {n} spots of {spots.name} are outside the image and dropped: {first}{', ...' * (off > _NAMED)}")


def _read_tiles(image: SlideImage, grid: Grid, store: TileStore, spots: Spots, max_unreadable: float) -> list[int]:
    """Read every tile into its row, in the order that is fastest; returns the rows whose pixels are damaged.

    Raises
    ------
    IntegrityError
        More than ``max_unreadable`` of them are.
    """
    unreadable = []
    for row in image.reading_order(grid.coords, grid.size_px / store.tile_px).tolist():
        x, y = grid.coords[row].tolist()
        try:
            store.put(row, image.tile(x, y, grid.size_px, store.tile_px))
        except UnreadableRegion as error:
            unreadable.append(row)
            if len(unreadable) <= _NAMED:
                _log(f"tile {spots.barcodes[grid.index[row]]} of {spots.name} is left out: {error}")
            if len(unreadable) > max_unreadable * len(grid.index):
                raise IntegrityError(
                    f"slide {spots.name}: more than {max_unreadable:.0%} of its {len(grid.index)} tiles cannot be read "
                    f"({_names(spots, grid, unreadable)}): {image.path} is damaged. Fetch or make it again, or allow "
                    "more with tiling.max_unreadable."
                ) from error
    if unreadable:
        _log(f"{len(unreadable)} of {len(grid.index)} tiles of {spots.name} are damaged and left out")
    return sorted(unreadable)


def _names(spots: Spots, grid: Grid, rows: Sequence[int]) -> str:
    """Some tiles by barcode and corner."""
    named = [f"{spots.barcodes[grid.index[row]]} at {', '.join(map(str, grid.coords[row]))}" for row in rows[:_NAMED]]
    return "; ".join(named) + "; ..." * (len(rows) > _NAMED)


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
    return Grid(index, coords[index], round(side), np.flatnonzero(~on_slide), int((on_slide & ~on_tissue).sum()))


def _write_places(handle: Any, spots: Spots, grid: Grid, unreadable: list[int]) -> None:
    import h5py

    index, coords = np.delete(grid.index, unreadable), np.delete(grid.coords, unreadable, axis=0)
    handle.create_dataset("coords", data=coords, dtype=np.int64)
    handle.create_dataset("centres", data=spots.centres_px[index], dtype=np.float64)
    names = [[str(name)] for name in spots.barcodes[index]]
    handle.create_dataset("barcode", data=names, dtype=h5py.string_dtype())
    if unreadable:
        damaged = [str(name) for name in spots.barcodes[grid.index[unreadable]]]
        handle.create_dataset("unreadable/barcode", data=damaged, dtype=h5py.string_dtype())
        handle.create_dataset("unreadable/coords", data=grid.coords[unreadable], dtype=np.int64)


def _write_thumbnail(handle: Any, picture: np.ndarray, downsample: float) -> None:
    from PIL import Image

    height, width = picture.shape[:2]
    scale = max(1.0, max(height, width) / THUMBNAIL_PX)
    size = (round(width / scale), round(height / scale))
    thumbnail = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    handle.create_dataset("thumbnail", data=thumbnail, compression="gzip", compression_opts=4)
    handle["thumbnail"].attrs["downsample"] = downsample * scale


def _write_mask(handle: Any, mask: np.ndarray, downsample: float) -> None:
    handle.create_dataset("mask", data=mask.astype(np.uint8), compression="gzip", compression_opts=4)
    handle["mask"].attrs["downsample"] = downsample


def _write_attributes(handle: Any, spots: Spots, grid: Grid, n_unreadable: int, tile_um: float, tile_px: int) -> None:
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
        mpp_source=spots.mpp_source,
        tile_um=tile_um,
        tile_px=tile_px,
        n_expected=len(grid.index) - n_unreadable,
        n_off_slide=len(grid.off_slide),
        n_off_tissue=grid.n_off_tissue,
        n_unreadable=n_unreadable,
    )


def _log(message: str) -> None:
    print(f"stflow tile: {message}", file=sys.stderr, flush=True)
