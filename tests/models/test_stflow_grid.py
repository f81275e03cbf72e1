"""The grid of spots around each: its cells, its ties, and that it goes with its spots."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stflow.models.neighbourhood import pitch_um
from stflow.models.stflow.graph import Graph, join
from stflow.models.stflow.grid import CENTRE, SIDE, cells
from stflow.models.stflow.section import nearest_spots

N, K = 40, 8


def centres(n: int = N) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 100 * n**0.5, (n, 2))


def square(n_side: int, pitch: float = 80.0) -> np.ndarray:
    return np.stack(np.mgrid[:n_side, :n_side], axis=-1).reshape(-1, 2) * pitch


def test_a_square_slide_is_its_own_grid() -> None:
    n_side = 7
    points = square(n_side)
    assert pitch_um(points) == pytest.approx(80)
    found = cells(points + np.array([500.0, -70.0]))
    for i in range(n_side**2):
        for cell in range(SIDE**2):
            a, b = i // n_side + cell // SIDE - 2, i % n_side + cell % SIDE - 2
            inside = 0 <= a < n_side and 0 <= b < n_side
            assert found[i, cell] == (a * n_side + b if inside else -1)


def test_a_cell_holds_the_nearest_spot_within_half_its_diagonal() -> None:
    points = centres(60)
    pitch, found = pitch_um(points), cells(points)
    for i in range(len(points)):
        for cell in range(SIDE**2):
            place = points[i] + pitch * (np.array([cell // SIDE, cell % SIDE]) - 2)
            distance = np.hypot(*(points - place).T)
            nearest = int(distance.argmin())
            assert found[i, cell] == (nearest if distance[nearest] <= pitch / math.sqrt(2) else -1)


@pytest.mark.parametrize("points", [np.zeros((1, 2)), np.ones((4, 2)), np.repeat(square(4), 2, axis=0)])
def test_a_spot_stands_in_the_middle_of_its_own_grid_and_nowhere_else(points: np.ndarray) -> None:
    found = cells(points)
    own = np.arange(len(points))[:, None]
    assert (found[:, CENTRE] == own[:, 0]).all()
    assert ((found == own).sum(axis=1) == 1).all()


def test_a_hexagonal_slide_is_the_same_after_a_quarter_turn() -> None:
    """Equally distant spots are the rule there; their choice must not hang on the last digit."""
    row, column = np.mgrid[:8, :8]
    points = np.stack([(column + 0.5 * (row % 2)) * 100.0, row * 100.0 * np.sqrt(0.75)], axis=-1).reshape(-1, 2)
    there = np.stack([-points[:, 1], points[:, 0]], axis=1) + np.array([1234.5, 77.7])
    grid = cells(points).reshape(-1, SIDE, SIDE)
    np.testing.assert_array_equal(cells(there).reshape(-1, SIDE, SIDE), np.rot90(grid, 1, axes=(1, 2)))
    inner = ((row > 1) & (row < 6) & (column > 1) & (column < 6)).ravel()
    assert (grid[inner] >= 0).all()


def test_the_grid_goes_with_its_spots() -> None:
    whole = Graph.of(centres(), K, 100.0, grid=True)
    spots = nearest_spots(torch.from_numpy(centres()), N - 1, 15)  # -1 is not the last row
    part = whole.region(spots)
    both = join([part, part])
    assert whole.grid is not None
    assert part.grid is not None
    assert both.grid is not None
    position = {spot: row for row, spot in enumerate(spots.tolist())}
    expected = [[position.get(j, -1) for j in whole.grid[spot].tolist()] for spot in spots.tolist()]
    assert part.grid.tolist() == expected
    assert torch.equal(both.grid[:15], part.grid)
    assert torch.equal(both.grid[15:], torch.where(part.grid >= 0, part.grid + 15, -1))
    assert part.to("cpu").grid is not None
    assert Graph.of(centres(), K, 100.0).region(spots).grid is None
