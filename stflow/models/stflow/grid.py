"""Which spots lie around a spot as on a square grid, for networks that convolve: made once a slide, by KD-tree."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import cKDTree

from stflow.models.neighbourhood import TIE_UM, pitch_um

#: Cells along a side of the grid; the spot itself lies in the middle one.
SIDE = 5

#: The middle cell.
CENTRE = SIDE * SIDE // 2

#: Nearest spots among which the choice of equally distant ones is made.
_CANDIDATES = 6


def cells(centres_um: np.ndarray) -> np.ndarray:
    """The spots in the cells of a square grid around every spot, as wide as spots lie apart.

    A cell holds the spot nearest to its centre, if that lies within half the cell's diagonal; of equally distant
    spots, the rule on a hexagonal grid, the first row. On such a grid a spot may stand in two cells or in none.

    Parameters
    ----------
    centres_um
        (N, 2) spot centres, um.

    Returns
    -------
    (N, 25) int64 rows, -1 where a cell is empty: cell 5 a + b lies at ``(a - 2, b - 2)`` times the pitch from the spot
    along x and y; the spot's own row in the middle, and nowhere else.
    """
    n, pitch = len(centres_um), pitch_um(centres_um)
    rows = np.full((n, SIDE * SIDE), -1, dtype=np.int64)
    rows[:, CENTRE] = np.arange(n)
    if pitch == 0:
        return rows
    tree = cKDTree(centres_um)
    furthest = math.floor(pitch / math.sqrt(2) / TIE_UM) + 1
    for cell in range(SIDE * SIDE):
        if cell == CENTRE:
            continue
        place = centres_um + pitch * (np.array(divmod(cell, SIDE)) - SIDE // 2)
        _, candidates = tree.query(place, k=min(n, _CANDIDATES))
        candidates = np.sort(candidates, axis=1)
        offset = centres_um[candidates] - place[:, None]
        distance = np.round(np.hypot(offset[..., 0], offset[..., 1]) / TIE_UM)
        nearest = distance.argmin(axis=1)[:, None]
        found = np.take_along_axis(candidates, nearest, axis=1)[:, 0]
        there = np.take_along_axis(distance, nearest, axis=1)[:, 0] <= furthest
        rows[there, cell] = found[there]
    return rows
