"""Neighbours and frames: right, invariant, and finite where a neighbourhood is degenerate."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from stflow.models.neighbourhood import nearest
from stflow.models.stflow.frames import edge_inputs, principal_projection


def scattered(n: int = 60) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1000, (n, 2))


def hexagonal(n: int = 12, pitch: float = 100.0) -> np.ndarray:
    row, column = np.mgrid[:n, :n]
    return np.stack([(column + 0.5 * (row % 2)) * pitch, row * pitch * np.sqrt(0.75)], axis=-1).reshape(-1, 2)


def moved(centres: np.ndarray, degrees: float = 37.0, mirror: bool = True) -> np.ndarray:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flip = np.diag([-1.0, 1.0]) if mirror else np.eye(2)
    return centres @ (turn @ flip).T + np.array([5000.0, -300.0])


def test_nearest_are_the_nearest() -> None:
    centres = scattered()
    index, present = nearest(centres, 8)
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert present.all()
    assert_array_equal(index, np.argsort(distance, axis=1)[:, :8])


def test_equally_distant_neighbours_do_not_depend_on_orientation() -> None:
    centres = hexagonal()
    for degrees in (13.0, 90.0, 211.0):
        assert_array_equal(nearest(centres, 8)[0], nearest(moved(centres, degrees), 8)[0])


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_missing_neighbours_are_masked_and_point_to_the_spot_itself(n: int) -> None:
    index, present = nearest(scattered(n), 8)
    assert index.shape == present.shape == (n, 8)
    assert_array_equal(present.sum(axis=1), min(n - 1, 8))
    own = np.repeat(np.arange(n)[:, None], 8, axis=1)
    assert_array_equal(index[~present], own[~present])
    assert not (index == own)[present].any(), "a spot is not its own neighbour"


def test_spots_at_one_place_are_neighbours_at_distance_zero() -> None:
    centres = np.zeros((4, 2))
    index, present = nearest(centres, 3)
    assert present.all()
    edges = edge_inputs(centres, index, present, 100.0)
    assert_array_equal(edges, 0)


def test_projection_is_along_the_eigenvectors_of_the_covariance() -> None:
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(20, 8, 2)) * [3.0, 1.0]
    ours = principal_projection(directions, np.ones((20, 8), dtype=bool))
    centred = directions - directions.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", centred, centred))
    assert_allclose(np.abs(ours), np.abs(np.einsum("nki,nij->nkj", centred, vectors)), atol=1e-10)
    assert_allclose((ours**2).sum(axis=1), values, rtol=1e-10)


def frames_of(centres: np.ndarray, k: int = 8) -> np.ndarray:
    """(N, k, 4, 3) with the four frames sorted, as their order means nothing."""
    edges = edge_inputs(centres, *nearest(centres, k), 100.0)
    signs = np.sort(np.abs(edges[..., :2]), axis=2)
    products = np.sort(edges[..., 0] * edges[..., 1], axis=2)
    return np.concatenate([signs, products[..., None], edges[..., 2:]], axis=-1)


@pytest.mark.parametrize("centres", [scattered(), hexagonal()], ids=["scattered", "hexagonal"])
@pytest.mark.parametrize("mirror", [False, True])
def test_edges_are_invariant_to_moving_turning_and_mirroring(centres: np.ndarray, mirror: bool) -> None:
    for degrees in (0.0, 33.0, 90.0, 161.0):
        assert_allclose(frames_of(moved(centres, degrees, mirror)), frames_of(centres), atol=1e-4)


def test_scale_divides_lengths() -> None:
    centres = scattered()
    found = nearest(centres, 4)
    assert_allclose(edge_inputs(centres, *found, 50.0), 2 * edge_inputs(centres, *found, 100.0), rtol=1e-5)


def test_a_ring_without_axes_keeps_distances_only() -> None:
    angle = np.arange(6) * np.pi / 3
    centres = np.concatenate([[[0.0, 0.0]], 100 * np.stack([np.cos(angle), np.sin(angle)], axis=1)])
    index, present = nearest(centres, 6)
    edges = edge_inputs(centres, index, present, 100.0)[0]
    assert_array_equal(edges[..., :2], 0)
    assert_allclose(edges[..., 2], 1, rtol=1e-6)


def test_a_line_projects_on_one_axis() -> None:
    centres = np.stack([np.arange(9) * 100.0, np.zeros(9)], axis=1)
    edges = edge_inputs(centres, *nearest(centres, 4), 100.0)
    assert np.isfinite(edges).all()
    assert_allclose(edges[..., 0], 0, atol=1e-9)
    assert np.abs(edges[..., 1]).max() > 0.5


def test_absent_neighbours_leave_no_trace() -> None:
    directions = np.random.default_rng(2).normal(size=(3, 5, 2))
    present = np.ones((3, 5), dtype=bool)
    present[:, 3:] = False
    changed = directions.copy()
    changed[:, 3:] = 1e6
    assert_array_equal(principal_projection(directions, present), principal_projection(changed, present))
    assert_allclose(
        principal_projection(directions, present)[:, :3],
        principal_projection(directions[:, :3], present[:, :3]),
        atol=1e-12,
    )
