"""Every score of one gene over spots, each defined once.

All take ``measured`` and ``predicted`` (N, G) log1p counts and give (G,) float64, one number a gene.

What has no number. A gene that was measured the same at every spot has no variation to explain: Pearson and Spearman
are undefined (NaN), whatever was predicted; such genes are left out of means and counted. A *prediction* that is the
same at every spot is another matter: the formula gives 0 / 0, but a constant tells nothing of where a gene is
expressed, so the score is 0. NaN would let a method that gives up on hard genes leave them out of its mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np


def pearson(measured: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Pearson's r over spots: cov(measured, predicted) / (sd sd); the paper's score.

    0 where the prediction is constant, NaN where the measurement is (see the module).
    """
    y, p = as_pair(measured, predicted)
    flat_y, flat_p = is_constant(y), is_constant(p)
    y, p = y - y.mean(axis=0), p - p.mean(axis=0)
    scale = np.linalg.norm(y, axis=0) * np.linalg.norm(p, axis=0)
    defined = ~(flat_y | flat_p) & (scale > 0)
    r = np.einsum("ng,ng->g", y, p) / np.where(defined, scale, 1)
    return np.where(flat_y, np.nan, np.where(defined, np.clip(r, -1, 1), 0.0))


def spearman(measured: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Spearman's rho: Pearson's r of the ranks over spots, ties at their mean rank; same policy on constants."""
    y, p = as_pair(measured, predicted)
    return pearson(_ranks(y), _ranks(p))


def mse(measured: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Mean squared error over spots, in squared log1p counts; sees scale and blur, which correlations do not."""
    y, p = as_pair(measured, predicted)
    return np.mean((y - p) ** 2, axis=0)


#: Name in the metrics file -> function.
METRICS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "pearson": pearson,
    "spearman": spearman,
    "mse": mse,
}


#: How the metric of coverage begins; the nominal level in percent follows.
COVERAGE = "coverage_"


def coverage_name(interval: float) -> str:
    """Name of the metric that says how many measured values an interval holds; its nominal level in percent."""
    return f"{COVERAGE}{100 * interval:g}"


def ensemble_names(interval: float) -> tuple[str, str, str]:
    """Metrics of predictions with several samples, in the order of `ensemble_metrics`."""
    return "crps", coverage_name(interval), "interval_width"


def ensemble_metrics(
    measured: np.ndarray, lower: np.ndarray, upper: np.ndarray, crps: np.ndarray, interval: float
) -> dict[str, np.ndarray]:
    """Scores of predictions with several samples, name -> (G,).

    ``crps`` is the mean over spots, lower is better; ``coverage_90`` the share of measured values in [lower, upper],
    0.9 if the spread is right; ``interval_width`` the mean of upper - lower. All inputs but ``interval`` are (N, G).
    """
    y, low = as_pair(measured, lower)
    _, high = as_pair(measured, upper)
    values = (
        np.mean(crps, axis=0, dtype=np.float64),
        np.mean((low <= y) & (y <= high), axis=0),
        np.mean(high - low, axis=0),
    )
    return dict(zip(ensemble_names(interval), values, strict=True))


def as_pair(measured: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64, (N, G) with one spot at least; ValueError if they are not of one such shape."""
    y, p = np.asarray(measured, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if y.shape != p.shape or y.ndim != 2 or len(y) == 0:
        raise ValueError(f"measured {y.shape} and predicted {p.shape} must be equal, (N spots, G genes), N > 0")
    return y, p


def _ranks(values: np.ndarray) -> np.ndarray:
    """(N, G) ranks from 1 of each column, ties at their mean rank (SciPy has this too, but loads for half a second)."""
    ranks = np.empty(values.shape)
    for g in range(values.shape[1]):
        _, group, count = np.unique(values[:, g], return_inverse=True, return_counts=True)
        ranks[:, g] = (np.cumsum(count) - (count - 1) / 2)[group]
    return ranks


def is_constant(values: np.ndarray) -> np.ndarray:
    """(G,) bool: the same number at every spot, by comparison, as a computed variance of it may not be just 0."""
    return values.max(axis=0) == values.min(axis=0)
