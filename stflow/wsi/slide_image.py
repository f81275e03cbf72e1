"""A slide's picture: opened by OpenSlide, or a plain image; read by um, never by magnification.

What cannot be read raises; nothing here returns a blank tile for a failed read. What lies outside the slide, and what
a scanner left out, is white as glass is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from stflow.errors import IntegrityError, SlideError
from stflow.wsi.tiff import is_tiff, require_whole_tiff

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

    from stflow.wsi.scale import Scale

#: An overview is read in bands of at most this many pixels: a slide without a pyramid does not fill the memory.
_BAND_PIXELS = 1 << 23


#: Files' own tiles are 256 px in most cases, and OpenSlide's cache holds 120 of them.
_ROW_PX, _STRIP_PX = 256, 4096

#: Side of the squares that an overview is read in where a band of it cannot be read, overview px.
_PATCH = 16
#: What an overview shows where no level can be read: grey, as white would pass for glass.
_UNREAD = 128


class UnreadableRegion(IntegrityError):
    """A region whose pixels are damaged; others of the same slide may be whole."""


class Overview(NamedTuple):
    """A whole slide, small: (h, w, 3) uint8 RGB, level-0 px a pixel, (h, w) bool where no level could be read."""

    picture: np.ndarray
    downsample: float
    unread: np.ndarray


class SlideImage(AbstractContextManager["SlideImage"], ABC):
    """An open picture.

    Attributes
    ----------
    path, size
        The file, and (width, height) at level 0.
    properties
        What OpenSlide knows of it; empty for a plain image.
    tags
        um/px of x and y by resolution tags, where they are not among the properties.
    """

    path: Path
    size: tuple[int, int]
    properties: Mapping[str, str]
    tags: tuple[float, float] | None = None

    def scale(
        self, metadata: Mapping[str, float | None] | None = None, given: float | None = None, where: str = ""
    ) -> Scale:
        """um/px and who says so; see `stflow.wsi.scale.find_scale`."""
        from stflow.wsi.scale import find_scale

        return find_scale(where or str(self.path), self.properties, tags=self.tags, metadata=metadata, given=given)

    @abstractmethod
    def best_downsample(self, downsample: float) -> float:
        """The downsample of the coarsest level that is at least as fine as ``downsample``."""

    @abstractmethod
    def region(self, x: int, y: int, downsample: float, width: int, height: int) -> np.ndarray:
        """Pixels of the level-0 box that starts at (x, y) and is (width, height) level-0 px.

        Returns (h, w, 3) uint8 RGB from the level that is best for ``downsample``.

        Raises
        ------
        UnreadableRegion
            These pixels cannot be read.
        IntegrityError
            None can.
        """

    def levels(self) -> list[float]:
        """The downsample of every level, finest first."""
        return [1.0]

    def reading_order(self, corners: np.ndarray, downsample: float) -> np.ndarray:
        """(N,) order in which boxes at (N, 2) ``corners`` are read fastest: here from top to bottom."""
        return np.lexsort((corners[:, 0], corners[:, 1]))

    def tile(self, x: int, y: int, size_px: int, tile_px: int) -> np.ndarray:
        """(tile_px, tile_px, 3) uint8 RGB: the level-0 square of side ``size_px`` at (x, y), resized bilinearly."""
        from PIL import Image

        pixels = self.region(x, y, size_px / tile_px, size_px, size_px)
        if pixels.shape[:2] == (tile_px, tile_px):
            return pixels
        return np.asarray(Image.fromarray(pixels).resize((tile_px, tile_px), Image.Resampling.BILINEAR))

    def overview(self, downsample: float) -> Overview:
        """The whole slide about ``downsample`` times smaller, and its exact downsample.

        Box averages of whole pixels, so that (x, y) of level 0 is at (x, y) / downsample. What is damaged at the best
        level is read from a finer one, and is grey and told in ``unread`` where all are.
        """
        from PIL import Image

        width, height = self.size
        level = self.best_downsample(downsample)
        step = max(1, int(downsample / level))
        side = round(step * level)
        rows = max(1, _BAND_PIXELS // max(1, round(width / level)) // step) * side
        bands, unread = [], []
        for y in range(0, height, rows):
            try:
                pixels = self.region(0, y, downsample, width, min(rows, height - y))
                bands.append(np.asarray(Image.fromarray(pixels).reduce(step)))
                unread.append(np.zeros(bands[-1].shape[:2], dtype=bool))
            except UnreadableRegion:
                shape = (-(-round(min(rows, height - y) / level) // step), -(-round(width / level) // step))
                band, blind = self._patchwork(y, side, shape)
                bands.append(band)
                unread.append(blind)
        return Overview(np.concatenate(bands), level * step, np.concatenate(unread))

    def _patchwork(self, y: int, side: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """A band of an overview, square by square: (h, w, 3) pixels of ``side`` level-0 px each, and what is unread."""
        from PIL import Image

        band, unread = np.full((*shape, 3), _UNREAD, dtype=np.uint8), np.zeros(shape, dtype=bool)
        for top in range(0, shape[0], _PATCH):
            for left in range(0, shape[1], _PATCH):
                place = np.s_[top : top + _PATCH, left : left + _PATCH]
                height, width = unread[place].shape
                box = (left * side, y + top * side)
                for level in [level for level in reversed(self.levels()) if level <= side]:
                    try:
                        pixels = self.region(*box, level, width * side, height * side)
                    except UnreadableRegion:
                        continue
                    band[place] = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
                    break
                else:
                    unread[place] = True
        return band, unread

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
        self.path = path
        self._open()
        self.size = self._slide.dimensions
        self.properties = dict(self._slide.properties)
        self._downsamples = self._slide.level_downsamples

    def _open(self) -> None:
        import openslide

        try:
            self._slide = openslide.OpenSlide(str(self.path))
        except openslide.OpenSlideError as error:
            raise broken(self.path, error) from error

    def best_downsample(self, downsample: float) -> float:
        return float(self._downsamples[self._level(downsample)])

    def levels(self) -> list[float]:
        return [float(downsample) for downsample in self._downsamples]

    def _level(self, downsample: float) -> int:
        # A hair more, as level sizes are rounded and 2.0003 is meant to be 2.
        return int(self._slide.get_best_level_for_downsample(downsample * 1.001))

    def region(self, x: int, y: int, downsample: float, width: int, height: int) -> np.ndarray:
        import openslide

        level = self._level(downsample)
        factor = self._downsamples[level]
        size = (max(1, round(width / factor)), max(1, round(height / factor)))
        try:
            pixels = self._slide.read_region((x, y), level, size)
        except openslide.OpenSlideError as error:
            # After one error OpenSlide answers every call with it: the next read needs it opened anew.
            self._slide.close()
            self._open()
            raise UnreadableRegion(
                f"{self.path} cannot be read at x {x}, y {y} ({width} x {height} px; {str(error).strip()}): it is "
                "damaged. Fetch or make it again."
            ) from error
        return _on_white(pixels)

    def reading_order(self, corners: np.ndarray, downsample: float) -> np.ndarray:
        """Row by row within strips so narrow that two rows of the file's own tiles stay in OpenSlide's cache."""
        factor = self.best_downsample(downsample)
        x, y = corners.T
        return np.lexsort((x, y // (_ROW_PX * factor), x // (_STRIP_PX * factor)))

    def close(self) -> None:
        self._slide.close()


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
    from stflow.wsi.plain_image import PlainImage

    return PlainImage(path)


def _on_white(picture: Image) -> np.ndarray:
    """A picture of RGBA whose alpha is 0 where the slide has nothing -> (h, w, 3) uint8 on white."""
    if picture.getchannel("A").getextrema()[0] == 255:
        return np.asarray(picture.convert("RGB"))
    rgba = np.asarray(picture)
    share = rgba[..., 3:].astype(np.float32) / 255
    return np.rint(rgba[..., :3] * share + 255 * (1 - share)).astype(np.uint8)


def broken(path: Path, error: Exception) -> IntegrityError:
    """The error of a file that no pixel can be read from."""
    line = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    return IntegrityError(f"{path} cannot be read as a slide ({line}): it is damaged. Fetch or make it again.")
