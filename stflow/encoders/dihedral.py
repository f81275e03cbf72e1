"""The variant ``dihedral``: features averaged over the eight symmetries of a tile, as tissue has no up and no left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from stflow.encoders.base import Encoder
from stflow.encoders.wrapped import Wrapped


class Dihedral(Wrapped):
    """Mean of an encoder's features over turns and mirrorings; eight times the work."""

    def __init__(self, inner: Encoder) -> None:
        super().__init__(inner)
        self.transform = f"{inner.transform}; features averaged over 8 symmetries of the tile"

    def encode(self, tiles: Any) -> np.ndarray:
        """(B, px, px, 3) uint8 tiles, NumPy's or torch's -> (B, D) float32, added up in one order."""
        total = np.zeros((len(tiles), self.dim), dtype=np.float32)
        for turned in symmetries(tiles):
            total += self.inner.encode(turned)
        return total / np.float32(8)


def symmetries(tiles: Any) -> Iterator[Any]:
    """The eight turned and mirrored copies of square tiles (B, px, px, 3), the tiles as they are first."""
    if isinstance(tiles, np.ndarray):
        for flat in (tiles, np.swapaxes(tiles, 1, 2)):
            for rows in (1, -1):
                for columns in (1, -1):
                    yield np.ascontiguousarray(flat[:, ::rows, ::columns])
        return
    for view in range(8):
        yield turned(tiles, view).contiguous()


def turned(tiles: Any, view: int) -> Any:
    """The copy of torch's tiles (B, px, px, 3) that stands at ``view`` among their `symmetries`."""
    flat = tiles.transpose(1, 2) if view & 4 else tiles
    return flat.flip([axis for axis, bit in ((1, 2), (2, 1)) if view & bit])
