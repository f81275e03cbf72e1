"""Each metric against SciPy, scikit-learn or its definition, and the policy on constants."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score

from stflow.evaluation.metrics import METRICS, mae, mse, pearson, r2, spearman, spotwise, variance_ratio

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


def test_mae_and_r2_are_scikit_learns(pair: tuple[np.ndarray, np.ndarray]) -> None:
    columns = list(zip(*(array.T for array in pair), strict=True))
    np.testing.assert_allclose(mae(*pair), [mean_absolute_error(*both) for both in columns], rtol=1e-12)
    np.testing.assert_allclose(r2(*pair), [r2_score(*both) for both in columns], rtol=1e-12)


def test_r2_is_0_for_the_measured_mean_and_falls_without_limit(pair: tuple[np.ndarray, np.ndarray]) -> None:
    measured, _ = pair
    np.testing.assert_allclose(r2(measured, measured), 1)
    mean = np.broadcast_to(measured.mean(axis=0), measured.shape)
    np.testing.assert_allclose(r2(measured, mean), 0, atol=1e-12)
    # Off by a shift b: 1 - b^2 / var.
    np.testing.assert_allclose(r2(measured, measured + 10), 1 - 100 / measured.var(axis=0), rtol=1e-12)


def test_the_best_r2_of_a_line_through_the_prediction_is_the_square_of_pearson(pair) -> None:
    measured, predicted = pair
    fits = [stats.linregress(predicted[:, g], measured[:, g]) for g in range(G)]
    fitted = np.column_stack([fit.intercept + fit.slope * predicted[:, g] for g, fit in enumerate(fits)])
    np.testing.assert_allclose(r2(measured, fitted), pearson(measured, predicted) ** 2, atol=1e-12)


def test_variance_ratio_is_the_square_of_the_scale(pair: tuple[np.ndarray, np.ndarray]) -> None:
    measured, predicted = pair
    np.testing.assert_allclose(variance_ratio(measured, 7 - 0.5 * measured), 0.25)
    expected = [np.var(predicted[:, g]) / np.var(measured[:, g]) for g in range(G)]
    np.testing.assert_allclose(variance_ratio(measured, predicted), expected, rtol=1e-12)


def test_spotwise_is_pearson_over_the_genes_of_a_spot(pair: tuple[np.ndarray, np.ndarray]) -> None:
    measured, predicted = pair
    measured = measured.copy()
    measured[3], predicted[5] = 0, 0.7  # a spot without counts, and one predicted alike for all genes
    found = spotwise(measured, predicted)
    assert found.shape == (N,)
    assert np.isnan(found[3])
    assert found[5] == 0
    for n in (0, 1, 20):
        assert found[n] == pytest.approx(stats.pearsonr(measured[n], predicted[n]).statistic)


@pytest.mark.parametrize("metric", [r2, variance_ratio])
def test_shares_of_the_measured_variance_are_undefined_without_one(metric) -> None:
    rng = np.random.default_rng(4)
    measured, predicted = rng.normal(size=(2, N, 3))
    measured[:, 0] = np.float32(0.1)  # not exact in binary: its computed variance may not be just 0
    predicted[:, 1] = np.float32(0.1)
    measured[:, 2] = predicted[:, 2] = 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score = metric(measured, predicted)
    assert np.isnan(score[[0, 2]]).all()
    if metric is variance_ratio:
        assert score[1] == 0
    else:  # a constant is never better than the mean
        assert score[1] == pytest.approx(1 - mse(measured, predicted)[1] / measured[:, 1].var())
        assert score[1] < 0


def test_errors_of_a_constant_measurement_are_defined() -> None:
    measured, predicted = np.full((4, 1), 2.0), np.array([[1.0], [2.0], [3.0], [6.0]])
    assert mae(measured, predicted) == 6 / 4
    assert mse(measured, predicted) == 18 / 4


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
