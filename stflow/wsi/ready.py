"""Patches that are cut already: check them against the slide file, then link them to where tiles are looked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stflow.errors import IntegrityError
from stflow.io import numbers, open_h5, partial_of, reading

if TYPE_CHECKING:
    from stflow.wsi.tiles import Spots

_REMEDY = "Fetch the patches and the counts of one release."


def link_ready_tiles(source: Path, spots: Spots, out: Path, tile_px: int) -> None:
    """Check ready patches and make ``out`` a relative link to them.

    Parameters
    ----------
    source
        hest-bench's ``patches/<slide>.h5``.
    spots
        The slide file's spots.
    out
        Where the tiles file is looked for.
    tile_px
        Side of a tile that the configuration asks for, px.

    Raises
    ------
    IntegrityError
        Cut short, of another form, or with barcodes that the counts lack.
    """
    with open_h5(source) as handle, reading(source, _REMEDY):
        require_tiles(handle, source, tile_px)
        names = barcodes(handle)
    require_known(names, spots, source)
    partial = partial_of(out)
    partial.unlink(missing_ok=True)
    partial.symlink_to(os.path.relpath(source.resolve(), out.parent.resolve()))
    partial.replace(out)


def require_tiles(handle: Any, path: Path, tile_px: int | None = None) -> None:
    """Check the form of an open tiles file: keys, shapes, types, count and, unless None, the side of a tile.

    Raises
    ------
    IntegrityError
        What is missing or of another form: all of it in one message.
    """
    problems = [f"no {key!r}" for key in ("img", "coords", "barcode") if key not in handle]
    if not problems:
        img, coords, names = handle["img"], handle["coords"], handle["barcode"]
        side = img.shape[1] if img.ndim == 4 else 0
        if img.ndim != 4 or img.shape[1:] != (side, side, 3) or img.dtype != np.uint8:
            problems.append(f"img is {img.shape} {img.dtype}, not (N, px, px, 3) uint8")
        elif tile_px is not None and side != tile_px:
            problems.append(f"its tiles are {side} px wide, {tile_px} are asked for (tiling.tile_px)")
        if coords.shape != (len(img), 2) or coords.dtype.kind not in "fiu":
            problems.append(f"coords is {coords.shape} {coords.dtype}")
        if not len(img) == len(coords) == len(names):
            problems.append(f"{len(img)} tiles, {len(coords)} corners and {len(names)} barcodes")
        if len(img) == 0:
            problems.append("it holds no tile")
        expected = handle.attrs.get("n_expected")
        if expected is not None and int(expected) != len(img):
            problems.append(f"{len(img)} tiles, {int(expected)} were promised")
        if tile_centres(handle) is None:
            problems.append("neither centres nor the attribute patch_size_src of coords or img")
    if problems:
        raise IntegrityError(f"{path} is not a whole tiles file: {'; '.join(problems)}. Fetch or make it again.")


def require_known(names: np.ndarray, spots: Spots, path: Path) -> None:
    """Check that every tile's barcode is one of the slide file's, and none occurs twice.

    Raises
    ------
    IntegrityError
        The tiles belong to other counts.
    """
    known = set(spots.barcodes)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise IntegrityError(
            f"slide {spots.name}: {len(unknown)} of {len(names)} barcodes of {path} are not in its counts "
            f"(first: {unknown[0]}). {_REMEDY}"
        )
    if len(set(names)) < len(names):
        raise IntegrityError(f"slide {spots.name}: barcodes of {path} occur twice. {_REMEDY}")


def barcodes(handle: Any) -> np.ndarray:
    """(N,) barcodes of an open tiles file."""
    return np.asarray(handle["barcode"].asstr()[:].ravel(), dtype=object)


def tile_centres(handle: Any) -> np.ndarray | None:
    """(N, 2) float64 spot centres in level-0 px: as recorded, else the middle of each tile; None if neither is told."""
    if "centres" in handle:
        return numbers(handle["centres"], (len(handle["coords"]), 2)).astype(np.float64)
    for key in ("coords", "img"):
        side = handle[key].attrs.get("patch_size_src")
        if side is not None:
            return numbers(handle["coords"], (None, 2)).astype(np.float64) + float(side) / 2
    return None


def thumbnail_of(handle: Any) -> tuple[np.ndarray, float]:
    """(h, w, 3) uint8 picture of the tissue of an open tiles file, and level-0 px a pixel."""
    picture = numbers(handle["thumbnail"], (None, None, 3), "u")
    downsample = float(handle["thumbnail"].attrs["downsample"])
    if picture.dtype != np.uint8 or not picture.size or not downsample > 0:
        raise ValueError(f"thumbnail is {picture.shape} {picture.dtype}, {downsample} px a pixel")
    return picture, downsample


def mask_of(handle: Any) -> tuple[np.ndarray, float]:
    """(h, w) bool of what is tissue in an open tiles file, and level-0 px a pixel."""
    return numbers(handle["mask"], (None, None), "bu").astype(bool), float(handle["mask"].attrs["downsample"])
