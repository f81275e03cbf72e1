"""What lies around a spot, for methods that have no graph of their own: the mean over its neighbours."""

from __future__ import annotations

import numpy as np

#: Spots further away than this are no neighbours (in distances between adjacent spots). On a square grid the ring of
#: eight lies within (the diagonal is 1.41), on a hexagonal one the ring of six; the next spots lie beyond (2 and 1.73).
REACH_PITCHES = 1.5


def neighbour_means(values: np.ndarray, centres_um: np.ndarray, k: int) -> np.ndarray:
    """The mean of ``values`` over the neighbours of every spot; a spot without any keeps its own.

    Neighbours are the k nearest other spots within `REACH_PITCHES` times the slide's pitch, so that a hole in the
    tissue or a hexagonal grid gives fewer of them, never spots from far away.

    Parameters
    ----------
    values
        (N, C) numbers a spot.
    centres_um
        (N, 2) spot centres, um.
    k
        Neighbours at most.

    Returns
    -------
    (N, C) float64.
    """
    from stflow.models.neighbourhood import nearest, pitch_um

    own = np.asarray(values, dtype=np.float64)
    index, present = nearest(centres_um, k)
    offset = centres_um[index] - centres_um[:, None]
    present &= np.hypot(offset[..., 0], offset[..., 1]) <= REACH_PITCHES * pitch_um(centres_um)
    number = present.sum(axis=1)
    total = np.zeros_like(own)
    for column in range(k):  # one neighbour at a time: (N, k, C) would be k times the slide's features
        total += np.where(present[:, column, None], own[index[:, column]], 0)
    return np.where(number[:, None] > 0, total / np.maximum(number, 1)[:, None], own)
