"""Rows and columns of an array are found whatever its kind, angle and holes, and every spot has a cell of its own."""

from __future__ import annotations

import numpy as np
import pytest

from stflow.models.triplex.geometry import Grid
from stflow.models.triplex.lattice import cells


def array(kind: str, shape: tuple[int, int] = (40, 33), pitch: float = 100.0) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) places, um, and (N, 2) row and column."""
    row, column = (axis.ravel() for axis in np.mgrid[: shape[0], : shape[1]])
    x, y = (column, row) if kind == "square" else (column + 0.5 * (row % 2), row * np.sqrt(0.75))
    return np.column_stack([x, y]) * pitch, np.column_stack([row, column])


def turned(places: np.ndarray, degrees: float) -> np.ndarray:
    a = np.deg2rad(degrees)
    return places @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])


@pytest.mark.parametrize("degrees", [0, 1, -7, 12])
@pytest.mark.parametrize("kind", ["square", "hexagonal"])
def test_rows_and_columns_of_a_turned_array_with_holes(kind: str, degrees: float) -> None:
    places, wanted = array(kind)
    rng = np.random.default_rng(3)
    kept = np.append(True, rng.random(len(places) - 1) > 0.4)
    moved = turned(places[kept], degrees) + rng.normal(0, 2, (kept.sum(), 2)) + [4321, -17]
    found = cells(moved)
    assert len(np.unique(found, axis=0)) == len(found)
    offset = found - wanted[kept]
    np.testing.assert_array_equal(offset, np.broadcast_to(offset[0], offset.shape))


def test_rows_along_the_other_axis() -> None:
    """A slide that was turned by 90 degrees before it was scanned."""
    places, wanted = array("hexagonal")
    np.testing.assert_array_equal(cells(places[:, ::-1]), wanted[:, ::-1])


def test_a_pitch_that_differs_a_little_along_the_axes_adds_up_to_no_error() -> None:
    places, wanted = array("hexagonal", (78, 64))
    np.testing.assert_array_equal(cells(places * [1.0, 1.02]), wanted)


@pytest.mark.parametrize("degrees", [25, 44])
@pytest.mark.parametrize("kind", ["square", "hexagonal"])
def test_own_cells_at_any_angle(kind: str, degrees: float) -> None:
    found = cells(turned(array(kind)[0], degrees))
    assert len(np.unique(found, axis=0)) == len(found)


def test_the_order_of_the_spots_does_not_matter() -> None:
    places, _ = array("hexagonal")
    places = places + np.random.default_rng(0).normal(0, 3, places.shape)
    order = np.random.default_rng(1).permutation(len(places))
    np.testing.assert_array_equal(cells(places[order]), cells(places)[order])


@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (2, 1), (1, 1)])
def test_lines_and_single_spots(shape: tuple[int, int]) -> None:
    places, wanted = array("square", shape)
    np.testing.assert_array_equal(cells(places), wanted)


def test_spots_at_random_are_binned_by_how_far_apart_they_are() -> None:
    places = np.random.default_rng(0).uniform(0, 5000, (400, 2))
    found = cells(places)
    assert found.min() == 0
    assert 300 < len(np.unique(found, axis=0)) < 400, "a few share a cell, most do not"


def test_spots_at_one_place_share_a_cell() -> None:
    np.testing.assert_array_equal(cells(np.zeros((3, 2))), np.zeros((3, 2)))
    np.testing.assert_array_equal(cells(np.array([[0, 0], [0, 0], [5.0, 0]])), [[0, 0], [0, 0], [0, 1]])


def test_memory_follows_the_spots_and_not_the_extent_of_the_slide() -> None:
    """A scan in level-0 pixels, binned by 20 px, would be a grid of 1,500 x 1,500 for these few spots."""
    places = np.concatenate([array("square", (8, 8))[0], array("square", (8, 8))[0] + 30_000.0])
    grid = Grid.of(cells(places))
    assert grid.around.shape == (128, 9)
    assert (grid.around == 128).any(axis=1).sum() == 2 * 28  # those at the border of either piece
