"""Each metric against SciPy or its definition, and the policy on constants."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

from stflow.evaluation.metrics import METRICS, mse, pearson, spearman

N, G = 57, 6


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    measured = np.log1p(rng.poisson(1.0, (N, G)))
    return measured, (0.4 * measured + rng.normal(size=(N, G)))


def test_pearson_is_scipys(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = [stats.pearsonr(*columns).statistic for columns in zip(*(array.T for array in pair), strict=True)]
    np.testing.assert_allclose(pearson(*pair), expected, rtol=1e-12)


def test_spearman_is_scipys_with_ties(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = [stats.spearmanr(*columns).statistic for columns in zip(*(array.T for array in pair), strict=True)]
    np.testing.assert_allclose(spearman(*pair), expected, rtol=1e-12)


def test_mse_is_its_definition(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = [sum((y - p) ** 2 for y, p in zip(pair[0][:, g], pair[1][:, g], strict=True)) / N for g in range(G)]
    np.testing.assert_allclose(mse(*pair), expected, rtol=1e-12)


@pytest.mark.parametrize("metric", [pearson, spearman])
def test_a_constant_prediction_scores_zero_and_a_constant_measurement_nothing(metric) -> None:
    rng = np.random.default_rng(1)
    measured = rng.normal(size=(N, 4))
    predicted = rng.normal(size=(N, 4))
    predicted[:, 0] = np.float32(0.1)  # not exact in binary: its computed variance may not be just 0
    measured[:, 1] = 0.3
    measured[:, 2] = predicted[:, 2] = 0.7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score = metric(measured, predicted)
    assert score[0] == 0
    assert np.isnan(score[1])
    assert np.isnan(score[2])
    assert 0 < abs(score[3]) < 1


def test_pearson_ignores_shift_and_scale_and_mse_does_not(pair: tuple[np.ndarray, np.ndarray]) -> None:
    measured, predicted = pair
    np.testing.assert_allclose(pearson(measured, 3 * predicted + 100), pearson(measured, predicted), rtol=1e-9)
    np.testing.assert_allclose(pearson(measured, -predicted), -pearson(measured, predicted), rtol=1e-12)
    assert (mse(measured, 3 * predicted + 100) > mse(measured, predicted)).all()


def test_a_perfect_prediction_scores_one_in_single_precision_too() -> None:
    measured = np.random.default_rng(2).normal(size=(1000, 3)).astype(np.float32) * 1e-3 + 5
    np.testing.assert_allclose(pearson(measured, measured), 1)
    assert (pearson(measured, measured) <= 1).all()


@pytest.mark.parametrize("metric", METRICS.values())
def test_the_order_of_spots_does_not_matter(metric, pair: tuple[np.ndarray, np.ndarray]) -> None:
    order = np.random.default_rng(3).permutation(N)
    np.testing.assert_allclose(metric(pair[0][order], pair[1][order]), metric(*pair), rtol=1e-10)


@pytest.mark.parametrize("metric", METRICS.values())
def test_shapes_that_do_not_fit_are_refused(metric) -> None:
    with pytest.raises(ValueError, match="must be equal"):
        metric(np.zeros((5, 2)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="N > 0"):
        metric(np.zeros((0, 2)), np.zeros((0, 2)))
