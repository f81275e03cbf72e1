"""The working file of a slide that is being encoded: what is done survives a kill, block by block.

A line of JSON says what the features are of; then one record a block, in order: 32 bytes, the SHA-256 of all tiles up
to the block's end; 32 bytes, the SHA-256 of its features; the features, float32. As the first hash runs on from block
to block, a record is taken only if every tile before it is the same too. What is torn or does not agree is cut off.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from stflow.errors import ResourceError
from stflow.io import is_disk_full

#: Seconds between two times that the file is forced to disk: what a power cut may cost. A kill costs one block.
SYNC_S = 5.0
_HASHES = 64
_LONGEST_HEADER = 1 << 16


class BlockFile:
    """Records of one slide; first read from, then added to.

    Parameters
    ----------
    path
        The file; one that says something else than ``identity`` is begun anew.
    identity
        What the features depend on beside the tiles, as JSON holds it.
    n, dim, batch_size
        Tiles of the slide, size of a feature vector, tiles a block.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], n: int, dim: int, batch_size: int) -> None:
        self.path, self.n, self.dim, self.batch_size = path, n, dim, batch_size
        self._next = 0
        header = {**identity, "n": n, "dim": dim, "batch_size": batch_size}
        line = json.dumps(header, sort_keys=True).encode() + b"\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without a buffer: what a full disk refused must not be tried once more when the file is closed.
        self._file: FileIO = path.open("r+b" if path.is_file() else "w+b", buffering=0)
        if self._file.read(len(line)) != line:
            self._cut(0)
            self._write(line)
        self._start = len(line)
        self._synced = time.monotonic()
        self.recorded = self._complete()

    def __enter__(self) -> BlockFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def take(self, tiles_sha256: bytes) -> np.ndarray | None:
        """Features (b, dim) of the next block if they are recorded, else None; then all that follows is cut off."""
        index = self._next
        self._next += 1
        if index >= self.recorded:
            return None
        size = self._rows(index) * self.dim * 4
        place = self._place(index)
        self._file.seek(place)
        record = self._file.read(_HASHES + size)
        data = record[_HASHES:]
        whole = (
            len(data) == size and record[:32] == tiles_sha256 and record[32:_HASHES] == hashlib.sha256(data).digest()
        )
        if not whole:
            self._cut(place)
            self.recorded = index
            return None
        return np.frombuffer(data, dtype=np.float32).reshape(-1, self.dim)

    def add(self, tiles_sha256: bytes, features: np.ndarray) -> None:
        """Append a block's features, (b, dim) float32.

        Raises
        ------
        ResourceError
            The disk is full.
        """
        data = np.ascontiguousarray(features, dtype=np.float32).tobytes()
        self._write(tiles_sha256 + hashlib.sha256(data).digest() + data)
        if time.monotonic() - self._synced > SYNC_S:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def remove(self) -> None:
        """Delete the file: its slide is finished, or not worth going on with."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _rows(self, index: int) -> int:
        return min(self.batch_size, self.n - index * self.batch_size)

    def _place(self, index: int) -> int:
        return self._start + index * _HASHES + index * self.batch_size * self.dim * 4

    def _complete(self) -> int:
        """Records that are as long as they should be; a torn one at the end is cut off."""
        size, index = self._file.seek(0, os.SEEK_END), 0
        blocks = -(-self.n // self.batch_size)
        while index < blocks and self._place(index) + _HASHES + self._rows(index) * self.dim * 4 <= size:
            index += 1
        self._cut(size if index == blocks else self._place(index))
        return index

    def _cut(self, place: int) -> None:
        self._file.seek(place)
        self._file.truncate()

    def _write(self, data: bytes) -> None:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            if is_disk_full(error):
                raise ResourceError(
                    f"disk full while writing {self.path}. Free space on that disk and run again: what was encoded "
                    "so far is kept."
                ) from error
            raise


def recorded_batch(path: Path, identity: Mapping[str, Any]) -> int | None:
    """Tiles a block of a working file of ``identity``; None where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        try:
            header = json.loads(file.readline(_LONGEST_HEADER))
        except ValueError:  # a torn header: there is nothing in it to go on with
            return None
    if not isinstance(header, dict) or any(header.get(key) != value for key, value in identity.items()):
        return None
    batch = header.get("batch_size")
    return batch if isinstance(batch, int) and batch > 0 else None
