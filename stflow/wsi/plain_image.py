"""A plain image (PNG, JPEG, TIFF without tiles) as a slide: a small one is held in memory, a large one is streamed.

Such a file can only be decoded from its top. A streamed one keeps some rows, goes on where it stopped, and begins
anew when rows above are asked for; so whoever reads it from top to bottom decodes it once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stflow.wsi.pyramid import open_image
from stflow.wsi.slide_image import SlideImage, broken
from stflow.wsi.tiff import is_tiff

#: Images up to this many bytes of pixels are held whole: about 6,700 x 6,700 px.
_HELD_BYTES = 1 << 27
#: Rows that are decoded at a time. libvips goes on only from where it stopped at such a multiple.
_ROWS = 256


class PlainImage(SlideImage):
    """A plain image; its memory is bounded whatever its height."""

    _first: int  # row of the image that the first of ``_rows`` is
    _rows: np.ndarray

    def __init__(self, path: Path) -> None:
        self.path = path
        self.properties = {}
        self._restart()
        self.size = (self._image.width, self._image.height)
        # The resolution of PNG and JPEG files is a screen's or a printer's; a TIFF's may be a microscope's.
        if is_tiff(path) and self._image.xres > 0 and self._image.yres > 0:
            self.tags = (1000 / self._image.xres, 1000 / self._image.yres)
        if 3 * self.size[0] * self.size[1] <= _HELD_BYTES:
            self._rows = self._decode(0, self.size[1])

    def best_downsample(self, downsample: float) -> float:
        return 1.0

    def region(self, x: int, y: int, downsample: float, width: int, height: int) -> np.ndarray:
        found = self._between(max(0, y), y + height)[:, max(0, x) : max(0, x + width)]
        if found.shape[:2] == (height, width):
            return found
        region = np.full((height, width, 3), 255, dtype=np.uint8)
        top, left = max(0, -y), max(0, -x)
        region[top : top + found.shape[0], left : left + found.shape[1]] = found
        return region

    def _between(self, top: int, bottom: int) -> np.ndarray:
        """The rows from ``top`` to before ``bottom``, as far as the image has them; decodes what is not held."""
        top, bottom = (min(max(0, row), self.size[1]) for row in (top, bottom))
        if top < self._first:
            self._restart()
        end = self._first + len(self._rows)
        if bottom > end:
            kept = self._rows[top - self._first :]
            start = end if len(kept) else max(end, top - top % _ROWS)
            more = self._decode(start, min(self.size[1], -(-bottom // _ROWS) * _ROWS))
            self._first = top if len(kept) else start
            self._rows = np.concatenate([kept, more]) if len(kept) else more
        return self._rows[top - self._first : bottom - self._first]

    def _restart(self) -> None:
        """Open the file at its top; no row is held."""
        import pyvips

        try:
            self._image = open_image(self.path)
        except pyvips.Error as error:
            raise broken(self.path, error) from error
        self._first, self._rows = 0, np.zeros((0, self._image.width, 3), dtype=np.uint8)

    def _decode(self, top: int, bottom: int) -> np.ndarray:
        """(bottom - top, w, 3) pixels; no row above ``top`` can be decoded after."""
        import pyvips

        try:
            return self._image.crop(0, top, self._image.width, bottom - top).numpy()
        except pyvips.Error as error:
            raise broken(self.path, error) from error
