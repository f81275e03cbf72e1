"""The pictures of a tiles file: written in the order in which they are read, hashed in the order of the spots."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import numpy as np


def tiles_digest(digest: Any, images: np.ndarray) -> None:
    """Add a block of tiles to a running SHA-256: bytes alone, so that blocks of any size give the same hash."""
    digest.update(np.ascontiguousarray(images).data)


class TileStore:
    """Dataset ``img`` of an open tiles file: (N, px, px, 3) uint8, a chunk a tile, which is written as it stands."""

    def __init__(self, handle: Any, count: int, tile_px: int) -> None:
        self.tile_px = tile_px
        self._count, self._shape = count, (tile_px, tile_px, 3)
        self._images = handle.create_dataset(
            "img", (count, *self._shape), np.uint8, chunks=(1, *self._shape), maxshape=(None, *self._shape)
        )

    def put(self, row: int, tile: np.ndarray) -> None:
        """Write one tile, (px, px, 3) uint8."""
        assert tile.shape == self._shape
        self._images.id.write_direct_chunk((row, 0, 0, 0), np.ascontiguousarray(tile))

    def finish(self, leave_out: Collection[int] = ()) -> str:
        """Close the gaps of the rows that were never put, and hash the others in their order."""
        digest, gaps, row = hashlib.sha256(), set(leave_out), 0
        for old in range(self._count):
            if old in gaps:
                continue
            _, data = self._images.id.read_direct_chunk((old, 0, 0, 0))
            digest.update(data)
            if row < old:
                self._images.id.write_direct_chunk((row, 0, 0, 0), data)
            row += 1
        self._images.resize(row, axis=0)
        return digest.hexdigest()
