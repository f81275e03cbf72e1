"""The variant ``views``: the features of all eight symmetries of a tile, one after the other.

For methods that are trained on turned and mirrored tiles with a frozen encoder: a view is drawn at each step, and at
the end the predictions of the eight are averaged, without encoding a tile again (`stflow.models.stnet`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stflow.encoders.base import Encoder
from stflow.encoders.dihedral import symmetries
from stflow.encoders.wrapped import Wrapped

VIEWS = "views"
SUFFIX = f"+{VIEWS}"
N_VIEWS = 8


class Views(Wrapped):
    """An encoder's features of the eight symmetries, the tile as it is first; eight times the work and the size."""

    def __init__(self, inner: Encoder) -> None:
        super().__init__(inner)
        self.dim = N_VIEWS * inner.dim
        self.transform = f"{inner.transform}; one feature each of 8 symmetries of the tile"

    def encode(self, tiles: Any) -> np.ndarray:
        """(B, px, px, 3) uint8 tiles, NumPy's or torch's -> (B, 8 D) float32, view after view."""
        return np.concatenate([self.inner.encode(turned) for turned in symmetries(tiles)], axis=1)


def split_views(features: np.ndarray, encoder: str) -> np.ndarray:
    """(N, V, D) features by view: V = 8 for an encoder with this variant, else 1."""
    n_views = N_VIEWS if encoder.endswith(SUFFIX) else 1
    return features.reshape(len(features), n_views, -1)
