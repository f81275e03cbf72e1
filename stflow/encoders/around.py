"""The variant ``around``: the features of 25 patches, 5 x 5 with the tile in the middle.

For methods that look at what surrounds a spot in the picture (`stflow.models.triplex`). A patch is as large as the
tile. Where a patch lies off the slide or off the tissue its features are NaN, as nothing was seen there. Patches are
read from the slide's image, so that a benchmark whose tiles come without one has no such features.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stflow.encoders.base import Encoder
from stflow.encoders.wrapped import Wrapped

AROUND = "around"
SUFFIX = f"+{AROUND}"
#: Patches along a side of the field.
SIDE = 5
N_CELLS = SIDE * SIDE
#: The tile itself.
CENTRE = N_CELLS // 2


class Around(Wrapped):
    """An encoder's features of a field of patches, row by row; 25 times the work and the size.

    Attributes
    ----------
    patch_dim
        Size D of one patch's features.
    """

    def __init__(self, inner: Encoder) -> None:
        super().__init__(inner)
        self.patch_dim = inner.dim
        self.dim = N_CELLS * inner.dim
        self.transform = f"{inner.transform}; one feature each of {SIDE} x {SIDE} patches around the tile"

    def encode(self, tiles: Any) -> np.ndarray:
        """(B, px, px, 3) uint8 patches, one of each field -> (B, D) float32: a field is put together by the stage."""
        return self.inner.encode(tiles)


def corners_around(corners_px: np.ndarray, side_px: int) -> np.ndarray:
    """(N, 25, 2) top-left corners of the patches around tiles at (N, 2) ``corners_px`` of side ``side_px``, level 0.

    Patch 5 a + b lies a - 2 tiles below the tile and b - 2 tiles to the right of it; the tile itself is number 12.
    """
    down, right = np.divmod(np.arange(N_CELLS), SIDE)
    steps = np.column_stack([right, down]) - SIDE // 2
    return np.asarray(corners_px[:, None] + steps * side_px)


def is_around(encoder: str) -> bool:
    """Whether an encoder's name ends in this variant."""
    return encoder.endswith(SUFFIX)


def n_absent(features: np.ndarray, encoder: str) -> int:
    """Patches without features among (N, 25 D) of an encoder with this variant; 0 for any other."""
    if not is_around(encoder) or not features.size:
        return 0
    return int(np.isnan(features.reshape(len(features) * N_CELLS, -1)).all(axis=1).sum())
