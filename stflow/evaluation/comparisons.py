"""Tests between methods: paired, and corrected for their number.

Within a dataset the pairs are (fold, gene), values averaged over seeds, and the test is Wilcoxon's signed-rank test.
Genes of one fold share spots and patients, so they are not independent: a small p says that the difference is not the
luck of which genes were listed, on these slides. Whether it would hold for other patients is what the bootstrap's
interval says, and over datasets, which share nothing, Friedman's test and Wilcoxon's again (Demsar 2006, "Statistical
comparisons of classifiers over multiple data sets", JMLR 7; Benavoli, Corani and Mangili 2016, "Should we really use
post-hoc tests based on mean-ranks?", JMLR 17).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Fewest datasets for Wilcoxon's test over them: with five, no outcome has a two-sided p below 0.05.
MIN_DATASETS = 6
#: Fewest datasets, and fewest methods, for Friedman's test and what follows from it.
MIN_FRIEDMAN = 3
#: Level of the tests.
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Paired:
    """One test of paired values ``a - b``: number of pairs, median difference, share of pairs that ``a`` wins (a tie
    counts half), and the two-sided p."""

    n: int
    median: float
    won: float
    p: float


def signed_rank(a: np.ndarray, b: np.ndarray) -> Paired:
    """Wilcoxon's signed-rank test of paired values, ``(N,)`` each; pairs with a NaN are left out.

    Differences of zero keep their ranks (Pratt 1959), so that many ties speak for no difference. Without any difference
    at all, or without pairs, p is 1.
    """
    from scipy.stats import wilcoxon

    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    difference = difference[~np.isnan(difference)]
    if not len(difference):
        return Paired(0, float("nan"), float("nan"), 1.0)
    won = float(np.mean(difference > 0) + np.mean(difference == 0) / 2)
    p = float(wilcoxon(difference, zero_method="pratt").pvalue) if difference.any() else 1.0
    return Paired(len(difference), float(np.median(difference)), won, p)


def holm(p: Sequence[float]) -> np.ndarray:
    """p corrected for their number by Holm's step-down procedure (1979), in the same order."""
    from statsmodels.stats.multitest import multipletests

    return np.asarray(multipletests(p, method="holm")[1]) if len(p) else np.empty(0)


def pairwise(values: np.ndarray) -> dict[tuple[int, int], tuple[Paired, float]]:
    """(i, j) with i < j -> the test of columns i and j of (N, K) values, and its p by Holm over all pairs."""
    pairs = [(i, j) for i in range(values.shape[1]) for j in range(i + 1, values.shape[1])]
    tests = [signed_rank(values[:, i], values[:, j]) for i, j in pairs]
    corrected = holm([test.p for test in tests])
    return {pair: (test, float(p)) for pair, test, p in zip(pairs, tests, corrected, strict=True)}


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """(K,) mean rank of the columns of (N datasets, K methods) scores; 1 is the best, ties share their mean rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-values, axis=1)).mean(axis=0)


def friedman(values: np.ndarray) -> float:
    """p of Friedman's test that all columns of (N datasets, K >= 3 methods) scores are alike; 1 if no row differs."""
    from scipy.stats import friedmanchisquare

    if (values == values[:, :1]).all():
        return 1.0
    return float(friedmanchisquare(*values.T).pvalue)


def nemenyi(values: np.ndarray) -> np.ndarray:
    """(K, K) p of Nemenyi's test between the columns of (N datasets, K methods) scores, by their mean ranks."""
    from scikit_posthocs import posthoc_nemenyi_friedman

    return np.asarray(posthoc_nemenyi_friedman(values), dtype=np.float64)


def critical_difference(n_datasets: int, n_methods: int, alpha: float = ALPHA) -> float:
    """Least difference of mean ranks that Nemenyi's test calls significant (Demsar 2006, section 3.2.2)."""
    from scipy.stats import studentized_range

    q = studentized_range.ppf(1 - alpha, n_methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_methods * (n_methods + 1) / (6 * n_datasets)))
