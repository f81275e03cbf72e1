"""The capture grid: a Visium-like hexagonal lattice of spots, their barcodes and who neighbours whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stflow.data.demo.recipe import PITCH_UM, TILE_UM
from stflow.seeds import numpy_generator

_BASES = np.array(list("ACGT"))


@dataclass(frozen=True, eq=False)
class Grid:
    """N spots: barcodes (N,), centres_um (N, 2) x then y, array_row and array_col (N,) as 10x numbers them."""

    barcodes: np.ndarray
    centres_um: np.ndarray
    array_row: np.ndarray
    array_col: np.ndarray

    def __len__(self) -> int:
        return len(self.barcodes)

    def subset(self, keep: np.ndarray) -> Grid:
        """The spots of a boolean mask (N,)."""
        return Grid(self.barcodes[keep], self.centres_um[keep], self.array_row[keep], self.array_col[keep])


def hexagonal_grid(seed: int, benchmark: str, slide: str, size_um: float) -> Grid:
    """All grid positions whose tile lies on a square slide of side ``size_um``.

    Rows are ``PITCH_UM * sqrt(3) / 2`` apart; odd rows are shifted by half a pitch, so array columns count in
    halves: even ones in even rows, odd ones in odd rows.
    """
    rng = numpy_generator(seed, benchmark, slide, "grid")
    margin = TILE_UM / 2 + 2.0
    step = PITCH_UM * np.sqrt(3) / 2
    rows = int((size_um - 2 * margin) // step) + 1
    columns = int((size_um - 2 * margin) // (PITCH_UM / 2)) + 1
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    on_lattice = (row + column) % 2 == 0
    row, column = row[on_lattice], column[on_lattice]
    offset = rng.uniform(0.0, 1.0, 2) * (
        size_um - 2 * margin - np.array([(columns - 1) * PITCH_UM / 2, (rows - 1) * step])
    )
    centres = np.column_stack([column * PITCH_UM / 2, row * step]) + margin + offset
    return Grid(_barcodes(rng, len(row)), centres, row, column)


def neighbour_matrix(grid: Grid, on_tissue: np.ndarray) -> np.ndarray:
    """(N, N) float64: row i holds 1/n at the n (up to 6) lattice neighbours of spot i, so ``M @ s`` is their mean.

    Spots off the tissue ((N,) bool ``on_tissue``) are nobody's neighbours. A spot without neighbours has a row of
    zeros; no spot is its own neighbour.
    """
    row = grid.array_row[:, None] - grid.array_row[None, :]
    column = grid.array_col[:, None] - grid.array_col[None, :]
    same_row = (row == 0) & (np.abs(column) == 2)
    next_row = (np.abs(row) == 1) & (np.abs(column) == 1)
    adjacent = ((same_row | next_row) & on_tissue[None, :]).astype(np.float64)
    return adjacent / np.maximum(adjacent.sum(axis=1, keepdims=True), 1.0)


def _barcodes(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n,) unique names of 16 bases and the suffix ``-1``."""
    codes = rng.choice(4**16, size=n, replace=False)
    digits = (codes[:, None] >> (2 * np.arange(16))) & 3
    return np.array(["".join(bases) + "-1" for bases in _BASES[digits]], dtype=object)
