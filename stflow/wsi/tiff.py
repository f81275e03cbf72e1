"""Is a TIFF whole? Reads its directories only, never its pixels: milliseconds whatever the size.

OpenSlide opens a file whose end is missing as long as its directories survived, so the question is asked here: every
strip and tile that the directories promise must lie inside the file. TIFF 6.0, and BigTIFF as libtiff has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stflow.errors import IntegrityError

_SUB_DIRECTORIES = 330
_EXTENTS = ((273, 279), (324, 325))  # tags of (offsets, byte counts): of strips, of tiles
_NDPI = 65420  # Hamamatsu keeps 64-bit offsets in a way of its own: not checked

#: TIFF field type -> NumPy type, of those that can hold offsets, counts or directories.
_INTEGERS = {3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

_Field = tuple[int, int, int]  # type, count, position of the values in the file


def is_tiff(path: Path) -> bool:
    """Whether the file begins as a TIFF or BigTIFF does."""
    with path.open("rb") as handle:
        return handle.read(4) in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def require_whole_tiff(path: Path) -> None:
    """Check that all pixel data which a TIFF's directories name lie within the file.

    Raises
    ------
    IntegrityError
        The file is cut short.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        try:
            end = _last_pixel_byte(_Reader(handle))
        except EOFError as error:
            raise IntegrityError(
                f"{path} is cut short: it ends ({size:,} bytes) within its own directory. Fetch or make it again."
            ) from error
    if end > size:
        raise IntegrityError(
            f"{path} is cut short: its pixels go up to byte {end:,}, the file has {size:,}. Fetch or make it again."
        )


def _last_pixel_byte(reader: _Reader) -> int:
    last = 0
    for fields in reader.directories():
        if _NDPI in fields:
            return 0
        for offsets, counts in _EXTENTS:
            if offsets in fields and counts in fields:
                ends = reader.values(fields[offsets]) + reader.values(fields[counts])
                last = max(last, int(ends.max(initial=0)))
    return last


class _Reader:
    """Walks the directories of one open TIFF; `EOFError` where the file ends too early."""

    def __init__(self, handle: BinaryIO) -> None:
        self.handle = handle
        self.order = "<" if handle.read(2) == b"II" else ">"
        self.big = self.number("u2") == 43
        if self.big:
            self.number("u4")  # size of an offset (8) and a zero
        self.offset = "u8" if self.big else "u4"

    def directories(self) -> Iterator[dict[int, _Field]]:
        """Tag -> field of every directory, sub-directories among them."""
        todo = [self.number(self.offset)]
        seen = {0}
        while todo:
            start = todo.pop(0)
            if start in seen:
                continue
            seen.add(start)
            self.handle.seek(start)
            fields = dict(self.field() for _ in range(self.number("u8" if self.big else "u2")))
            todo.append(self.number(self.offset))
            yield fields
            if _SUB_DIRECTORIES in fields:
                todo.extend(self.values(fields[_SUB_DIRECTORIES]).tolist())

    def field(self) -> tuple[int, _Field]:
        """The next directory entry: its tag, and where its values stand."""
        tag, kind, count = self.number("u2"), self.number("u2"), self.number(self.offset)
        here = self.handle.tell()
        there = self.number(self.offset)
        inline = _BYTES.get(kind, 1) * count <= (8 if self.big else 4)
        return tag, (kind, count, here if inline else there)

    def values(self, field: _Field) -> np.ndarray:
        """The whole numbers of a field, as int64."""
        kind, count, position = field
        if kind not in _INTEGERS:
            return np.zeros(0, dtype=np.int64)
        self.handle.seek(position)
        return self._read(_INTEGERS[kind], count).astype(np.int64)

    def number(self, kind: str) -> int:
        """The next whole number."""
        return int(self._read(kind, 1)[0])

    def _read(self, kind: str, count: int) -> np.ndarray:
        dtype = np.dtype(f"{self.order}{kind}")
        data = self.handle.read(dtype.itemsize * count)
        if len(data) < dtype.itemsize * count:
            raise EOFError
        return np.frombuffer(data, dtype=dtype)
