"""Features by their quantile bin: the only places where a tree may split."""

from __future__ import annotations

import numpy as np


def edges_of(x: np.ndarray, bins: int) -> np.ndarray:
    """(D, bins - 1) float32 edges between the quantile bins of (N, D) features."""
    return np.quantile(x, np.linspace(0, 1, bins + 1)[1:-1], axis=0).T.astype(np.float32)


def to_bins(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(N, D) features -> (N, D) uint8 bins; values never seen before fall into the outer ones."""
    bins = np.empty(x.shape, dtype=np.uint8)
    for d in range(x.shape[1]):
        bins[:, d] = np.searchsorted(edges[d], x[:, d], side="right")
    return bins
