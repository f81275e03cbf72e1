"""What lies around a spot, as tensors: made once a slide from places alone, and cut down to regions by renumbering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from stflow.models.neighbourhood import TIE_UM
from stflow.models.triplex.lattice import cells

#: Side of the convolution over the grid.
SIDE = 3


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The nearest spots of M spots, the spot itself first.

    Attributes
    ----------
    index
        (M, k) int64 rows; the spot's own where there is none.
    present
        (M, k) bool: whether there is one.
    steps
        (M, k, 2) int64 rows and columns of the grid from the spot to each.
    """

    index: Tensor
    present: Tensor
    steps: Tensor

    @classmethod
    def of(cls, centres_um: np.ndarray, k: int, cell: np.ndarray) -> Self:
        """Of a slide, from (N, 2) spot centres, um, and their (N, 2) cells."""
        index, present = nearest_with_self(centres_um, k)
        steps = cell[index] - cell[:, None]
        return cls(torch.from_numpy(index), torch.from_numpy(present), torch.from_numpy(steps))

    def to(self, device: str) -> Surroundings:
        """The same on another device."""
        return Surroundings(self.index.to(device), self.present.to(device), self.steps.to(device))

    def region(self, rows: Tensor) -> Surroundings:
        """Of the (m,) spots ``rows`` alone, renumbered; spots outside the region are absent."""
        new, own = _renumbered(rows, len(self.index))
        index = new[self.index[rows]]
        present = self.present[rows] & (index >= 0)
        return Surroundings(torch.where(present, index, own[:, None]), present, self.steps[rows])


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells that M spots lie in; empty cells are not kept, so that memory follows the spots, not the extent.

    Attributes
    ----------
    cell
        (M,) int64: which of the K cells a spot lies in.
    around
        (K, 9) int64 cells of the 3 x 3 field around a cell, row by row; K where there is no spot.
    """

    cell: Tensor
    around: Tensor

    @classmethod
    def of(cls, cell: np.ndarray) -> Self:
        """Of (N, 2) rows and columns."""
        taken, number = np.unique(cell, axis=0, return_inverse=True)
        width = int(taken[:, 1].max()) + SIDE if len(taken) else SIDE
        key = taken[:, 0] * width + taken[:, 1]  # rises, and no field reaches from one row into the next
        reach = np.arange(SIDE) - SIDE // 2
        field = (reach[:, None] * width + reach).ravel()
        wanted = key[:, None] + field
        found = np.searchsorted(key, wanted).clip(max=max(len(key) - 1, 0))
        around = np.where(key[found] == wanted, found, len(key)) if len(key) else np.zeros((0, SIDE**2), dtype=np.int64)
        return cls(torch.from_numpy(number.reshape(-1)), torch.from_numpy(around))

    def to(self, device: str) -> Grid:
        """The same on another device."""
        return Grid(self.cell.to(device), self.around.to(device))

    def region(self, rows: Tensor) -> Grid:
        """Of the (m,) spots ``rows`` alone: cells that none of them lies in are empty."""
        kept, cell = torch.unique(self.cell[rows], return_inverse=True)
        new, _ = _renumbered(kept, len(self.around) + 1, missing=len(kept))
        return Grid(cell, new[self.around[kept]])


def _renumbered(rows: Tensor, n: int, missing: int = -1) -> tuple[Tensor, Tensor]:
    """(n,) new number of each old one, ``missing`` for those not in ``rows``; and the new numbers, 0 to m - 1."""
    own = torch.arange(len(rows), device=rows.device)
    new = torch.full((n,), missing, dtype=torch.int64, device=rows.device)
    new[rows] = own
    return new, own


def make_geometry(centres_um: np.ndarray, k: int) -> tuple[Surroundings, Grid]:
    """Surroundings of k spots and grid of a slide of (N, 2) spot centres, um."""
    cell = cells(centres_um)
    return Surroundings.of(centres_um, k, cell), Grid.of(cell)


def nearest_with_self(centres_um: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest spots of every spot, itself first.

    Of equally distant ones, the rule on a grid, those with the smaller y and then x come first: not those of the
    smaller row, as the order of the spots must not matter.

    Parameters
    ----------
    centres_um
        (N, 2) spot centres, um.
    k
        Spots wanted, at least 1.

    Returns
    -------
    (N, k) int64 rows, a spot's own where the slide has too few; (N, k) bool whether there is one.
    """
    n = len(centres_um)
    own = np.arange(n)[:, None]
    wanted = min(n, 2 * k + 2)  # more than k, so that the choice among equally distant ones is ours
    candidates = np.asarray(cKDTree(centres_um).query(centres_um, k=wanted)[1]).reshape(n, wanted)
    if wanted < n:  # of many spots at one place, the tree may leave out the spot itself
        candidates[:, -1] = np.where((candidates == own).any(axis=1), candidates[:, -1], own[:, 0])
    offset = np.round((centres_um[candidates] - centres_um[:, None]) / TIE_UM)
    distance = np.round(np.hypot(offset[..., 0], offset[..., 1]))
    distance[candidates == own] = -1
    order = np.lexsort((candidates, offset[..., 0], offset[..., 1], distance), axis=1)[:, :k]
    index, present = np.repeat(own, k, axis=1), np.zeros((n, k), dtype=bool)
    index[:, : order.shape[1]] = np.take_along_axis(candidates, order, axis=1)
    present[:, : order.shape[1]] = True
    return index, present
