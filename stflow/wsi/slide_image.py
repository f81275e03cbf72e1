"""A slide's picture: opened by OpenSlide, or, where it is a plain image, held in memory; read by um, never by
magnification.

A picture that cannot be read raises; nothing here returns a blank tile for a failed read. What lies outside the
slide, and what a scanner left out, is white as glass is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from stflow.errors import IntegrityError, SlideError
from stflow.wsi.tiff import is_tiff, require_whole_tiff

#: um/px outside these are a screen's resolution (72 dpi = 353 um/px) or a typing error, not a microscope's.
MPP_RANGE = (0.02, 20.0)

#: An overview is read in bands of at most this many pixels: a slide without a pyramid does not fill the memory.
_BAND_PIXELS = 1 << 25


def require_mpp(mpp: float | None, where: str) -> float:
    """``mpp`` if it is a microscope's um/px.

    Raises
    ------
    SlideError
        It is missing, not a positive number, or implausible.
    """
    remedy = "Set pixel_size_um_estimated in metadata/<slide>.json, or write the image again with its resolution tags."
    if mpp is None or not np.isfinite(mpp) or mpp <= 0:
        raise SlideError(f"{where} has no um/px, so tiles of a given size on the tissue cannot be cut. {remedy}")
    low, high = MPP_RANGE
    if not low <= mpp <= high:
        raise SlideError(f"{where} claims {mpp:g} um/px, outside the {low:g}-{high:g} of microscopes. {remedy}")
    return float(mpp)


class SlideImage(AbstractContextManager["SlideImage"], ABC):
    """An open picture. ``size`` is (width, height) at level 0, ``mpp`` what the file itself says, if anything."""

    path: Path
    size: tuple[int, int]
    mpp: float | None

    @abstractmethod
    def best_downsample(self, downsample: float) -> float:
        """The downsample of the coarsest level that is at least as fine as ``downsample``."""

    @abstractmethod
    def region(self, x: int, y: int, downsample: float, width: int, height: int) -> np.ndarray:
        """Pixels of the level-0 box that starts at (x, y) and is (width, height) level-0 px.

        Returns (h, w, 3) uint8 RGB from the level that is best for ``downsample``.

        Raises
        ------
        IntegrityError
            The file's pixels cannot be read.
        """

    def tile(self, x: int, y: int, size_px: int, tile_px: int) -> np.ndarray:
        """(tile_px, tile_px, 3) uint8 RGB: the level-0 square of side ``size_px`` at (x, y), resized bilinearly."""
        from PIL import Image

        pixels = self.region(x, y, size_px / tile_px, size_px, size_px)
        if pixels.shape[:2] == (tile_px, tile_px):
            return pixels
        return np.asarray(Image.fromarray(pixels).resize((tile_px, tile_px), Image.Resampling.BILINEAR))

    def overview(self, downsample: float) -> tuple[np.ndarray, float]:
        """The whole slide about ``downsample`` times smaller: (h, w, 3) uint8 RGB, and its exact downsample.

        Box averages of whole pixels, so that (x, y) of level 0 is at (x, y) / downsample.
        """
        from PIL import Image

        width, height = self.size
        level = self.best_downsample(downsample)
        step = max(1, int(downsample / level))
        side = round(step * level)
        rows = max(1, _BAND_PIXELS // max(1, round(width / level)) // step) * side
        bands = []
        for y in range(0, height, rows):
            pixels = self.region(0, y, downsample, width, min(rows, height - y))
            bands.append(np.asarray(Image.fromarray(pixels).reduce(step)))
        return np.concatenate(bands), level * step

    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _OpenSlideImage(SlideImage):
    """A pyramid that OpenSlide reads piece by piece."""

    def __init__(self, path: Path) -> None:
        import openslide

        self.path = path
        try:
            self._slide = openslide.OpenSlide(str(path))
        except openslide.OpenSlideError as error:
            raise _broken(path, error) from error
        self.size = self._slide.dimensions
        mpp = self._slide.properties.get(openslide.PROPERTY_NAME_MPP_X)
        self.mpp = float(mpp) if mpp else None

    def best_downsample(self, downsample: float) -> float:
        return float(self._slide.level_downsamples[self._level(downsample)])

    def _level(self, downsample: float) -> int:
        # A hair more, as level sizes are rounded and 2.0003 is meant to be 2.
        return int(self._slide.get_best_level_for_downsample(downsample * 1.001))

    def region(self, x: int, y: int, downsample: float, width: int, height: int) -> np.ndarray:
        import openslide

        level = self._level(downsample)
        factor = self._slide.level_downsamples[level]
        size = (max(1, round(width / factor)), max(1, round(height / factor)))
        try:
            pixels = self._slide.read_region((x, y), level, size)
        except openslide.OpenSlideError as error:
            raise _broken(self.path, error) from error
        return _on_white(np.asarray(pixels))

    def close(self) -> None:
        self._slide.close()


class _PlainImage(SlideImage):
    """A plain image (PNG, JPEG, TIFF without tiles), whole in memory at 3 bytes a pixel."""

    def __init__(self, path: Path) -> None:
        import pyvips

        from stflow.wsi.pyramid import open_image

        self.path = path
        try:
            image = open_image(path)
            self._pixels = image.numpy()
        except pyvips.Error as error:
            raise _broken(path, error) from error
        height, width = self._pixels.shape[:2]
        self.size = (width, height)
        # The resolution of PNG and JPEG files is a screen's or a printer's; a TIFF's may be a microscope's.
        self.mpp = 1000 / image.xres if is_tiff(path) and image.xres > 0 else None

    def best_downsample(self, downsample: float) -> float:
        return 1.0

    def region(self, x: int, y: int, downsample: float, width: int, height: int) -> np.ndarray:
        found = self._pixels[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
        if found.shape[:2] == (height, width):
            return found
        region = np.full((height, width, 3), 255, dtype=np.uint8)
        top, left = max(0, -y), max(0, -x)
        region[top : top + found.shape[0], left : left + found.shape[1]] = found
        return region


def open_slide(path: Path) -> SlideImage:
    """Open a slide by what it is, not by its suffix.

    Raises
    ------
    SlideError
        No such file.
    IntegrityError
        The file is cut short or is not an image.
    """
    import openslide

    path = Path(path)
    if not path.is_file():
        raise SlideError(f"no slide image at {path}. Fetch or make it, or correct the benchmark's root.")
    if is_tiff(path):
        require_whole_tiff(path)
    if openslide.OpenSlide.detect_format(str(path)) is not None:
        return _OpenSlideImage(path)
    return _PlainImage(path)


def _on_white(rgba: np.ndarray) -> np.ndarray:
    """(h, w, 4) with alpha 0 where the slide has nothing -> (h, w, 3) on white."""
    alpha = rgba[..., 3]
    if (alpha == 255).all():
        return np.ascontiguousarray(rgba[..., :3])
    share = alpha[..., None].astype(np.float32) / 255
    return np.rint(rgba[..., :3] * share + 255 * (1 - share)).astype(np.uint8)


def _broken(path: Path, error: Exception) -> IntegrityError:
    line = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    return IntegrityError(f"{path} cannot be read as a slide ({line}): it is damaged. Fetch or make it again.")
