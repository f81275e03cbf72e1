"""Which spots lie nearest to a spot, and how far apart spots lie: from coordinates alone, by KD-tree."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

#: Distances closer than this (um) count as equal, so that a rotated or moved slide has the same neighbours.
TIE_UM = 1e-3


def nearest(centres_um: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest other spots of every spot.

    Equally distant spots, the rule on a grid, are taken in the order of their rows.

    Parameters
    ----------
    centres_um
        (N, 2) spot centres, um. Spots at one place are neighbours at distance 0.
    k
        Neighbours wanted.

    Returns
    -------
    index
        (N, k) int64 rows of the neighbours, nearest first; the spot's own row where there is none.
    present
        (N, k) bool, False where the slide has fewer than k + 1 spots.
    """
    n = len(centres_um)
    index = np.repeat(np.arange(n)[:, None], k, axis=1)
    present = np.zeros((n, k), dtype=bool)
    if n < 2:
        return index, present
    # Candidates beyond k make the choice among equally distant ones ours, not the tree's.
    wanted = min(n, 2 * k + 2)
    _, candidates = cKDTree(centres_um).query(centres_um, k=wanted)
    candidates = np.sort(candidates, axis=1)
    offsets = centres_um[candidates] - centres_um[:, None]
    distance = np.round(np.hypot(offsets[..., 0], offsets[..., 1]) / TIE_UM)
    distance[candidates == np.arange(n)[:, None]] = np.inf  # never one's own neighbour
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(candidates, order, axis=1)
    there = np.isfinite(np.take_along_axis(distance, order, axis=1))
    width = found.shape[1]
    index[:, :width] = np.where(there, found, index[:, :width])
    present[:, :width] = there
    return index, present


def spatial_order(centres_um: np.ndarray) -> np.ndarray:
    """Rows in an order in which spots that lie together stand together: (N,) a permutation.

    Barcodes are sorted by letter, which scatters a slide's neighbours over all of memory; in this order a spot finds
    them in the processor's cache.
    """
    return np.asarray(cKDTree(centres_um).indices) if len(centres_um) else np.zeros(0, dtype=np.int64)


def pitch_um(centres_um: np.ndarray) -> float:
    """Median distance from a spot to the nearest one elsewhere, um; 0 where all spots lie at one place."""
    places = np.unique(centres_um, axis=0)
    if len(places) < 2:
        return 0.0
    distance = np.asarray(cKDTree(places).query(places, k=2)[0])
    return float(np.median(distance[:, 1]))
