"""What is kept of several draws, and that the interval holds what it says it holds."""

from __future__ import annotations

import numpy as np
import pytest

from stflow.evaluation.crps import crps
from stflow.evaluation.ensemble import LAYERS, summarise
from stflow.evaluation.metrics import ensemble_metrics, ensemble_names


def test_mean_spread_limits_and_score_of_the_draws() -> None:
    rng = np.random.default_rng(0)
    draws, measured = rng.gamma(2.0, size=(20, 7, 3)).astype(np.float32), rng.gamma(2.0, size=(7, 3))
    found = summarise(draws, measured, 0.9)
    assert list(found) == ["mean", *LAYERS]
    assert {(values.dtype, values.shape) for values in found.values()} == {(np.dtype(np.float32), (7, 3))}
    np.testing.assert_allclose(found["mean"], draws.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found["std"], draws.std(axis=0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(found["crps"], crps(draws, measured), rtol=1e-5, atol=1e-6)
    ordered = np.sort(draws, axis=0)  # rank 0.05 x 21 = 1.05, counted from 1
    np.testing.assert_allclose(found["lower"], ordered[0] + 0.05 * (ordered[1] - ordered[0]), rtol=1e-5)
    np.testing.assert_allclose(found["upper"], ordered[-1] - 0.05 * (ordered[-1] - ordered[-2]), rtol=1e-5)


@pytest.mark.parametrize(("S", "interval"), [(19, 0.9), (20, 0.9), (50, 0.9), (4, 0.5)])
def test_the_interval_holds_its_share_of_further_draws(S: int, interval: float) -> None:
    n = 40_000
    values = np.random.default_rng(1).exponential(size=(S + 1, n, 1))
    found = summarise(values[1:], values[0], interval)
    inside = (found["lower"] <= values[0]) & (values[0] <= found["upper"])
    assert inside.mean() == pytest.approx(interval, abs=4 * np.sqrt(interval * (1 - interval) / n))


def test_equal_draws_have_no_spread() -> None:
    found = summarise(np.full((20, 2, 2), 0.7, dtype=np.float32), np.ones((2, 2)), 0.9)
    assert not found["std"].any()
    assert (found["lower"] == found["upper"]).all()
    np.testing.assert_allclose(found["crps"], 0.3, rtol=1e-6)


def test_scores_are_means_over_spots_and_name_the_level() -> None:
    measured = np.array([[1.0, 0.0], [2.0, 5.0], [3.0, 9.0]])
    lower, upper = np.array([[0.0, 0.0]] * 3), np.array([[2.0, 6.0]] * 3)
    scores = ensemble_metrics(measured, lower, upper, measured / 10, 0.9)
    assert tuple(scores) == ensemble_names(0.9) == ("crps", "coverage_90", "interval_width")
    np.testing.assert_allclose(scores["crps"], [0.2, 14 / 30])
    np.testing.assert_allclose(scores["coverage_90"], [2 / 3, 2 / 3])  # the limits belong to the interval
    np.testing.assert_allclose(scores["interval_width"], [2, 6])
    assert ensemble_names(0.975)[1] == "coverage_97.5"
