"""The fair CRPS is the mean over pairs, and estimates the score of the distribution that the draws come from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from stflow.evaluation.crps import crps


@pytest.mark.parametrize("S", [2, 3, 20])
def test_is_the_double_loop_over_draws(S: int) -> None:
    rng = np.random.default_rng(S)
    draws, measured = rng.normal(size=(S, 4, 3)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    draws[:, 0, 0] = draws[0, 0, 0]  # equal draws: the absolute error
    expected = np.zeros((4, 3))
    for i in range(4):
        for g in range(3):
            x, y = draws[:, i, g].astype(float), float(measured[i, g])
            pairs = sum(abs(x[s] - x[t]) for s in range(S) for t in range(S))
            expected[i, g] = sum(abs(x[s] - y) for s in range(S)) / S - pairs / (2 * S * (S - 1))
    found = crps(draws, measured)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found[0, 0] == pytest.approx(abs(float(draws[0, 0, 0]) - float(measured[0, 0])))


@pytest.mark.parametrize("S", [2, 5, 20])
def test_is_the_gaussian_s_on_average_whatever_the_number_of_draws(S: int) -> None:
    """Closed form for N(m, s) and y: s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), z = (y - m) / s."""
    n, m, s = 40_000, 1.0, 2.0
    for y in (1.0, 4.5):
        z = (y - m) / s
        expected = s * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
        found = crps(np.random.default_rng(0).normal(m, s, (S, n)), np.full(n, y))
        assert found.mean() == pytest.approx(expected, abs=4 * found.std() / np.sqrt(n))


def test_other_shapes_and_a_single_draw_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(S, "):
        crps(np.zeros((1, 3)), np.zeros(3))
    with pytest.raises(ValueError, match=r"must be \(S, "):
        crps(np.zeros((5, 3)), np.zeros(4))
