"""Write a slide the way HEST-1k stores it: a pyramidal, tiled TIFF with its um/px in the resolution tags.

RGB uint8, 256 x 256 px tiles, levels halved down to one tile, ResolutionUnit centimetre, XResolution =
YResolution = 1e4 / mpp pixels a centimetre. OpenSlide ("generic-tiff"), QuPath and tifffile open it, and OpenSlide
reads the scale back as ``openslide.mpp-x``.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from stflow.errors import IntegrityError, SlideError
from stflow.io import atomic_path

if TYPE_CHECKING:
    import pyvips

TILE_PX = 256

#: Above this many bytes of pixels the 32-bit offsets of classic TIFF may not do.
_BIGTIFF_BYTES = 2_000_000_000


def write_pyramid(
    path: Path,
    source: Path | np.ndarray,
    mpp: float,
    *,
    compression: Literal["lzw", "jpeg"] = "lzw",
    quality: int = 90,
) -> None:
    """Write ``source`` as a pyramidal TIFF, atomically.

    Parameters
    ----------
    path
        TIFF to write.
    source
        A plain image file (JPEG, PNG, TIFF; read by content, whatever its size), or (H, W, 3) uint8 RGB.
    mpp
        um per pixel of ``source``.
    compression
        ``lzw`` keeps every pixel as HEST does; ``jpeg`` is a third of the size.
    quality
        JPEG quality, 1-100.

    Raises
    ------
    SlideError
        ``mpp`` is not a positive number.
    IntegrityError
        The source image is cut short or is not an image.
    ResourceError
        The disk is full; nothing is left at ``path``.
    """
    import pyvips

    if not (np.isfinite(mpp) and mpp > 0):
        raise SlideError(f"{path}: {mpp} um/px is not a scale. Give the source's um per pixel.")
    pixels_per_mm = 1000.0 / mpp
    try:
        image = open_image(source)
        with atomic_path(path) as partial:
            _save(image, partial, pixels_per_mm, compression, quality)
    except pyvips.Error as error:
        raise IntegrityError(
            f"{source if isinstance(source, Path) else path}: the image could not be read or written "
            f"({_first_line(error)}). Fetch it again."
        ) from error


def open_image(source: Path | np.ndarray) -> pyvips.Image:
    """A plain image, by its content and not its suffix, as 8-bit RGB that is read from top to bottom once.

    Raises ``pyvips.Error`` if it is cut short or not an image; pixels are read when they are used.
    """
    import pyvips

    if isinstance(source, np.ndarray):
        height, width, bands = source.shape
        return pyvips.Image.new_from_memory(np.ascontiguousarray(source).data, width, height, bands, "uchar")
    pyvips.block_untrusted_set(True)  # loaders that libvips itself holds unfit for files of strangers, such as SVG's
    image = pyvips.Image.new_from_file(str(source), access="sequential", fail_on="truncated")
    if image.interpretation not in ("srgb", "rgb"):
        image = image.colourspace("srgb")
    if image.hasalpha():
        image = image.flatten(background=[255, 255, 255])
    return image.cast("uchar")


def _save(image: pyvips.Image, path: Path, pixels_per_mm: float, compression: str, quality: int) -> None:
    import pyvips

    options = {"Q": quality} if compression == "jpeg" else {"predictor": "horizontal"}
    try:
        image.tiffsave(
            str(path),
            tile=True,
            tile_width=TILE_PX,
            tile_height=TILE_PX,
            pyramid=True,
            compression=compression,
            resunit="cm",
            xres=pixels_per_mm,
            yres=pixels_per_mm,
            bigtiff=image.width * image.height * 3 > _BIGTIFF_BYTES,
            keep="none",
            **options,
        )
    except pyvips.Error as error:
        # libvips keeps no errno; what tells a full disk from a bad source is which side failed.
        text = str(error)
        if any(words in text for words in ("No space left", "File too large", "write failed", "write error")):
            raise OSError(errno.ENOSPC, _first_line(error)) from error
        raise


def _first_line(error: Exception) -> str:
    """libvips' own line out of its many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[1] if len(lines) > 1 else lines[0]
