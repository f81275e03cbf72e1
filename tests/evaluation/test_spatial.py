"""Scores of maps: the graph and the windows of a slide's spots, SSIM and Moran's I against other implementations."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from stflow.evaluation.metrics import SPATIAL, morans_i, spatial_metrics, ssim
from stflow.evaluation.spatial import neighbours, windows

ROWS, COLUMNS = 9, 12


def square(pitch: float = 200) -> np.ndarray:
    y, x = np.mgrid[:ROWS, :COLUMNS]
    return pitch * np.column_stack([x.ravel(), y.ravel()]).astype(float) + [300, 17]


def hexagonal() -> np.ndarray:
    y, x = np.mgrid[:ROWS, :COLUMNS]
    return 200 * np.column_stack([(x + (y % 2) / 2).ravel(), (y * np.sqrt(3) / 2).ravel()])


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    """Two genes on a square array: one with a gradient and one without order, each predicted in part."""
    rng = np.random.default_rng(0)
    smooth = square()[:, 0] / 600 + rng.normal(size=ROWS * COLUMNS) / 4
    measured = np.column_stack([smooth, rng.normal(size=len(smooth))])
    return measured, measured + rng.normal(size=measured.shape) / 2


def turned(places: np.ndarray, angle: float) -> np.ndarray:
    return places @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize(("array", "inside"), [(square, 8), (hexagonal, 6)])
@pytest.mark.parametrize("angle", [0, 0.3])
def test_a_spot_inside_the_array_has_the_spots_around_it(array, inside: int, angle: float) -> None:
    graph = neighbours(turned(array(), angle)).toarray()
    degree = graph.sum(axis=0).reshape(ROWS, COLUMNS)
    assert (degree[1:-1, 1:-1] == inside).all()
    assert degree.max() == inside
    np.testing.assert_array_equal(graph, graph.T)
    assert not graph.diagonal().any()


def test_morans_i_is_scanpys(maps: tuple[np.ndarray, np.ndarray]) -> None:
    from scanpy.metrics import morans_i as of_scanpy
    from scipy.sparse import csr_matrix

    graph = neighbours(hexagonal())
    expected = of_scanpy(csr_matrix(graph), np.ascontiguousarray(maps[0].T))
    np.testing.assert_allclose(morans_i(maps[0], graph), expected, rtol=1e-10)


def test_morans_i_of_a_chessboard_is_known() -> None:
    # Signs alternate: z_i z_j is -1 to the sides and 1 to the corners; counted over all pairs of an 8-neighbour graph.
    y, x = np.mgrid[:ROWS, :COLUMNS]
    board = np.where((x + y) % 2, 1.0, -1.0).reshape(-1, 1)  # of an even number of columns, so its mean is 0
    sides = ROWS * (COLUMNS - 1) + (ROWS - 1) * COLUMNS
    corners = 2 * (ROWS - 1) * (COLUMNS - 1)
    expected = (corners - sides) / (corners + sides)
    np.testing.assert_allclose(morans_i(board, neighbours(square())), expected, rtol=1e-12)


def test_morans_i_ignores_shift_and_scale_and_orders_smooth_before_rough(maps) -> None:
    graph = neighbours(square())
    found = morans_i(maps[0], graph)
    np.testing.assert_allclose(morans_i(5 - 3 * maps[0], graph), found, rtol=1e-9)
    assert found[0] > 0.7
    assert abs(found[1]) < 0.2


def test_a_window_is_a_gaussian_over_the_spots_that_are_there() -> None:
    places = hexagonal()
    found = windows(places).toarray()
    distance = np.linalg.norm(places[:, None] - places, axis=2) / 200
    weight = np.where(distance < 5.25, np.exp(-(distance**2) / (2 * 1.5**2)), 0)
    np.testing.assert_allclose(found, weight / weight.sum(axis=1, keepdims=True), atol=1e-12)


def test_ssim_is_its_definition_at_every_spot(maps: tuple[np.ndarray, np.ndarray]) -> None:
    # Wang et al. (2004), equations 13 to 16, spot by spot, of a hexagonal array with a hole.
    there = np.delete(np.arange(ROWS * COLUMNS), [30, 31, 42])
    measured, predicted = (values[there] for values in maps)
    window = windows(hexagonal()[there]).toarray()
    expected = []
    for a, b in zip(measured.T, predicted.T, strict=True):
        c1, c2 = (0.01 * np.ptp(a)) ** 2, (0.03 * np.ptp(a)) ** 2
        local = []
        for w in window:
            m_a, m_b = np.sum(w * a), np.sum(w * b)
            v_a, v_b = np.sum(w * (a - m_a) ** 2), np.sum(w * (b - m_b) ** 2)
            v_ab = np.sum(w * (a - m_a) * (b - m_b))
            similar = (2 * m_a * m_b + c1) * (2 * v_ab + c2)
            local.append(similar / ((m_a**2 + m_b**2 + c1) * (v_a + v_b + c2)))
        expected.append(np.mean(local))
    np.testing.assert_allclose(ssim(measured, predicted, windows(hexagonal()[there])), expected, rtol=1e-9)


def test_ssim_is_scikit_images_away_from_the_edges_of_a_square_array() -> None:
    from skimage.metrics import structural_similarity

    side, middle = 24, slice(5, -5)
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:side, :side]
    measured = np.sin(x / 4) + y / 10 + rng.normal(size=(side, side)) / 3
    predicted = 0.6 * measured + rng.normal(size=(side, side)) / 2
    _, expected = structural_similarity(
        measured, predicted, data_range=np.ptp(measured), gaussian_weights=True, use_sample_covariance=False, full=True
    )
    # The score of the spots in the middle alone: the window's other rows are left out of the mean.
    rows = np.arange(side * side).reshape(side, side)[middle, middle].ravel()
    places = np.column_stack([x.ravel(), y.ravel()]) * 100.0
    window = windows(places)
    found = [ssim(measured.reshape(-1, 1), predicted.reshape(-1, 1), window[[row] * side**2])[0] for row in rows]
    # Their window ends in a square, ours in a circle: weights of at most 0.4 % of the middle's.
    np.testing.assert_allclose(found, expected[middle, middle].ravel(), atol=3e-3)


def test_ssim_is_1_for_the_same_map_and_falls_with_noise_and_blur(maps: tuple[np.ndarray, np.ndarray]) -> None:
    measured, predicted = maps
    window = windows(hexagonal())
    np.testing.assert_allclose(ssim(measured, measured, window), 1)
    assert (ssim(measured, predicted, window) < 0.95).all()
    blurred = measured.mean(axis=0) + 0.2 * (measured - measured.mean(axis=0))  # Pearson of 1
    assert (ssim(measured, blurred, window) < 0.7).all()


def test_glass_has_no_part(maps: tuple[np.ndarray, np.ndarray]) -> None:
    # The same section twice on one slide, far apart: each spot sees its own section, as if it were alone.
    measured, predicted = maps
    twice = spatial_metrics(*(np.tile(v, (2, 1)) for v in maps), np.vstack([square(), square() + np.array([1e5, 0])]))
    once = spatial_metrics(measured, predicted, square())
    for name in SPATIAL:
        np.testing.assert_allclose(twice[name], once[name], rtol=1e-9)


@pytest.mark.parametrize("array", [square, hexagonal])
def test_order_unit_angle_and_place_do_not_matter(array, maps: tuple[np.ndarray, np.ndarray]) -> None:
    measured, predicted = maps
    order = np.random.default_rng(1).permutation(len(measured))
    found = spatial_metrics(measured, predicted, array())
    moved = spatial_metrics(measured[order], predicted[order], turned(0.27 * array()[order], 0.4) + 1024)
    for name in SPATIAL:
        np.testing.assert_allclose(moved[name], found[name], rtol=1e-9)


def test_spots_at_one_place_have_no_map() -> None:
    for n in (1, 4):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = spatial_metrics(np.arange(2.0 * n).reshape(n, 2), np.ones((n, 2)), np.ones((n, 2)))
        assert tuple(found) == SPATIAL
        assert all(np.isnan(values).all() for values in found.values())


def test_policy_on_constants(maps: tuple[np.ndarray, np.ndarray]) -> None:
    measured, predicted = (np.column_stack([values, values[:, 0]]) for values in maps)
    measured[:, 0] = np.float32(0.1)
    predicted[:, 1] = np.float32(0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = spatial_metrics(measured, predicted, square())
    assert all(np.isnan(values[0]) for values in found.values())
    assert found["moran_predicted"][1] == 0  # says nothing of where the gene is
    assert found["moran_difference"][1] == abs(found["moran_measured"][1])
    assert np.isfinite(found["ssim"][1])
    np.testing.assert_allclose(found["moran_difference"], np.abs(found["moran_measured"] - found["moran_predicted"]))
    assert all(np.isfinite(values[2]) for values in found.values())


def test_a_smooth_prediction_is_told_by_morans_i() -> None:
    # Measured: gradient and noise; predicted: the gradient alone, which Pearson rewards and Moran's I does not.
    rng = np.random.default_rng(2)
    gradient = square()[:, :1] / 600
    measured = gradient + rng.normal(size=gradient.shape)
    found = spatial_metrics(measured, gradient, square())
    assert found["moran_predicted"] > found["moran_measured"] + 0.2
