"""Tests between methods on cases whose answer is known, and how often they are wrong where methods are equal."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from stflow.evaluation.comparisons import (
    critical_difference,
    friedman,
    holm,
    mean_ranks,
    nemenyi,
    pairwise,
    signed_rank,
)


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def _little_garbage() -> Iterator[None]:
    """statsmodels collects garbage at every correction, among all objects there are; a simulation corrects often."""
    gc.freeze()
    yield
    gc.unfreeze()


def test_two_identical_methods_do_not_differ() -> None:
    values = np.random.default_rng(0).normal(size=40)
    test = signed_rank(values, values)
    assert (test.n, test.median, test.won, test.p) == (40, 0.0, 0.5, 1.0)
    assert friedman(np.repeat(values[:, None], 3, axis=1)) == 1.0


def test_a_shifted_method_differs_by_the_shift() -> None:
    values = np.random.default_rng(1).normal(size=40)
    test = signed_rank(values + 0.1, values)
    assert test.median == pytest.approx(0.1)
    assert test.won == 1.0
    assert test.p < 1e-6
    assert signed_rank(values, values + 0.1).won == 0.0


def test_small_samples_have_the_exact_p() -> None:
    assert signed_rank(np.arange(1.0, 7.0), np.zeros(6)).p == pytest.approx(2 / 2**6)
    assert signed_rank(np.array([1.0, 2, 3, 4, -5]), np.zeros(5)).p == pytest.approx(20 / 2**5)


def test_three_tied_methods() -> None:
    values = np.random.default_rng(2).normal(size=(30, 1)).repeat(3, axis=1)
    found = pairwise(values)
    assert list(found) == [(0, 1), (0, 2), (1, 2)]
    assert all(test.p == p_holm == 1.0 for test, p_holm in found.values())
    np.testing.assert_array_equal(mean_ranks(values), [2, 2, 2])
    np.testing.assert_allclose(nemenyi(values), np.ones((3, 3)))


def test_two_tied_and_one_shifted() -> None:
    values = np.random.default_rng(3).normal(size=(30, 1)) + np.array([0.0, 0.0, 0.5])
    found = pairwise(values)
    assert found[0, 1][1] == 1.0
    assert max(found[0, 2][1], found[1, 2][1]) < 0.001
    np.testing.assert_array_equal(mean_ranks(values), [2.5, 2.5, 1])
    assert friedman(values) < 0.001
    p = nemenyi(values)
    assert p[0, 1] == pytest.approx(1)
    assert max(p[0, 2], p[1, 2]) < 0.001
    np.testing.assert_allclose(p, p.T)


def test_pairs_without_a_value_are_left_out() -> None:
    a, b = np.array([0.1, np.nan, 0.3, 0.4]), np.array([0.0, 0.2, np.nan, 0.4])
    assert signed_rank(a, b).n == 2
    assert signed_rank(a, b).won == 0.75
    nothing = signed_rank(np.array([np.nan]), np.array([1.0]))
    assert (nothing.n, nothing.p) == (0, 1.0)


def test_holm_steps_down() -> None:
    # Holm 1979 by hand: 0.01 x 4, then the larger of that and 0.02 x 3, and so on; never above 1.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.02]), [0.04, 0.06, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.6]), [1.0, 1.0])
    assert holm([]).size == 0


def test_the_critical_difference_is_demsars() -> None:
    # Demsar 2006: table 5(a), q of 2, 3, 4 and 10 methods; the example of section 3.2.2, four methods on 14 datasets.
    for n_methods, q in ((2, 1.960), (3, 2.343), (4, 2.569), (10, 3.164)):
        scale = np.sqrt(n_methods * (n_methods + 1) / (6 * 14))
        assert critical_difference(14, n_methods) / scale == pytest.approx(q, abs=0.001)
    assert critical_difference(14, 4) == pytest.approx(1.25, abs=0.005)


def test_the_best_has_rank_one() -> None:
    np.testing.assert_array_equal(mean_ranks(np.array([[0.9, 0.5, 0.1], [0.8, 0.9, 0.7]])), [1.5, 1.5, 3])


@pytest.mark.usefixtures("_little_garbage")
def test_equal_methods_are_told_apart_in_one_family_of_tests_of_twenty() -> None:
    rng, n_rounds = np.random.default_rng(4), 200
    wrong = [min(p for _, p in pairwise(rng.normal(size=(50, 4))).values()) < 0.05 for _ in range(n_rounds)]
    error = np.sqrt(0.05 * 0.95 / n_rounds)
    assert np.mean(wrong) < 0.05 + 3 * error
    uncorrected = [min(t.p for t, _ in pairwise(rng.normal(size=(50, 4))).values()) < 0.05 for _ in range(n_rounds)]
    assert np.mean(uncorrected) > 0.05 + 3 * error, "six tests at 5 % each: without correction it is three times that"


def test_friedman_is_wrong_about_equal_methods_once_in_twenty() -> None:
    rng = np.random.default_rng(5)
    rate = np.mean([friedman(rng.normal(size=(17, 6))) < 0.05 for _ in range(600)])
    assert 0.02 < rate < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)
