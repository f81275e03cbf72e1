"""Every score of a prediction, each defined once; docs/scores.md has them in one list with their sources.

``measured`` and ``predicted`` are (N spots, G genes) log1p counts. `METRICS` and the scores of `spatial_metrics` give
(G,) float64, one number a gene; `spotwise` gives (N,), one number a spot.

What has no number. A gene that was measured the same at every spot has no variation to explain: correlations, R2, the
ratio of variances, SSIM and Moran's I are undefined (NaN), whatever was predicted; such genes are left out of means and
counted. A *prediction* that is the same at every spot is another matter: for correlations and Moran's I the formula
gives 0 / 0, but a constant tells nothing of where a gene is expressed, so the score is 0. NaN would let a method that
gives up on hard genes leave them out of its mean. MSE and MAE are always defined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from stflow.evaluation.spatial import neighbours, windows

if TYPE_CHECKING:
    from scipy.sparse import csr_array


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


def mae(measured: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Mean absolute error over spots, in log1p counts; a few spots that are far off weigh less than in `mse`."""
    y, p = as_pair(measured, predicted)
    return np.mean(np.abs(y - p), axis=0)


def r2(measured: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Coefficient of determination: 1 - sum (y - p)^2 / sum (y - mean y)^2 (Kvålseth 1985, his first definition).

    1 at best, 0 for the measured mean at every spot, below 0 without limit for what is worse: it is no square. NaN
    where the measurement is constant.
    """
    y, p = as_pair(measured, predicted)
    return 1 - mse(y, p) / _variance(y)


def variance_ratio(measured: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """var(predicted) / var(measured) over spots: 1 is right, less is too smooth, 0 a constant prediction.

    The square of the ratio of standard deviations of Taylor (2001). NaN where the measurement is constant.
    """
    y, p = as_pair(measured, predicted)
    return np.where(is_constant(p), 0.0, p.var(axis=0)) / _variance(y)


#: Name in the metrics file -> function; of the spots of a slide, or of all slides of a fold pooled.
METRICS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "pearson": pearson,
    "spearman": spearman,
    "mse": mse,
    "mae": mae,
    "r2": r2,
    "variance_ratio": variance_ratio,
}

#: Name in the metrics file of the mean of `spotwise`, and the value of its column ``gene``.
SPOTWISE, ALL_GENES = "spotwise", "all"


def spotwise(measured: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(N,) Pearson's r over the genes of each spot; same policy on constants, of a spot in place of a gene."""
    return pearson(np.transpose(measured), np.transpose(predicted))


#: Names of `spatial_metrics`, of one slide each.
SPATIAL = ("ssim", "moran_measured", "moran_predicted", "moran_difference")

#: Constants of SSIM, K_1 and K_2 of Wang et al. (2004).
SSIM_K = (0.01, 0.03)


def spatial_metrics(measured: np.ndarray, predicted: np.ndarray, centres: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of the maps of one slide, `SPATIAL` -> (G,); all NaN where the spots lie at one place.

    ``moran_difference`` is |I of measured - I of predicted|.

    Parameters
    ----------
    measured, predicted
        (N, G) log1p counts of one slide.
    centres
        (N, 2) spot centres, x then y, in any unit.
    """
    y, p = as_pair(measured, predicted)
    graph = neighbours(centres)
    undefined = is_constant(y) | (graph.nnz == 0)
    of_y, of_p = morans_i(y, graph), np.where(is_constant(p), 0.0, morans_i(p, graph))
    of_p = np.where(undefined, np.nan, of_p)
    values = np.where(undefined, np.nan, ssim(y, p, windows(centres))), of_y, of_p, np.abs(of_y - of_p)
    return dict(zip(SPATIAL, values, strict=True))


def ssim(measured: np.ndarray, predicted: np.ndarray, window: csr_array) -> np.ndarray:
    """Structural similarity of the measured and the predicted map of each gene (Wang et al. 2004, equation 13).

    Spots stand for pixels, where they lie: means, variances and covariance around a spot are over the spots in its
    window, weighted by a Gaussian and normalised by the weights that are there (Knutsson and Westin 1993), and the mean
    is over spots. So the map needs no lattice, and what lies off the tissue has no part. The range L is that of the
    measurement on this slide, C_1 = (0.01 L)^2, C_2 = (0.03 L)^2. On a square array it is the usual SSIM of the picture
    away from its edges. A constant prediction has the number that the formula gives; a constant measurement has NaN.

    Parameters
    ----------
    measured, predicted
        (N, G).
    window
        (N, N) weights, see `stflow.evaluation.spatial.windows`.
    """
    y, p = as_pair(measured, predicted)
    C_1, C_2 = (np.square(k * np.where(is_constant(y), np.nan, np.ptp(y, axis=0))) for k in SSIM_K)
    mean_y, mean_p = y.mean(axis=0), p.mean(axis=0)
    y, p = y - mean_y, p - mean_p  # variances do not change, but lose no digits
    m_y, m_p = window @ y, window @ p
    v_y, v_p = window @ y**2 - m_y**2, window @ p**2 - m_p**2
    v_yp = window @ (y * p) - m_y * m_p
    m_y, m_p = m_y + mean_y, m_p + mean_p
    local = (2 * m_y * m_p + C_1) * (2 * v_yp + C_2) / ((m_y**2 + m_p**2 + C_1) * (v_y + v_p + C_2))
    return np.asarray(local.mean(axis=0))


def morans_i(values: np.ndarray, graph: csr_array) -> np.ndarray:
    """Moran's I: (N / sum w_ij) sum_ij w_ij z_i z_j / sum_i z_i^2, z = values - mean (Moran 1950; Cliff and Ord 1981).

    About -1 / (N - 1) for values without spatial order, towards 1 for a smooth map. NaN where the values are constant
    or no spot has a neighbour.

    Parameters
    ----------
    values
        (N, G).
    graph
        (N, N) weights w_ij, see `stflow.evaluation.spatial.neighbours`.
    """
    z = values - values.mean(axis=0)
    scale = np.where(is_constant(values), np.nan, np.einsum("ng,ng->g", z, z)) * (graph.sum() or np.nan)
    return len(z) * np.einsum("ng,ng->g", z, graph @ z) / scale


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


def _variance(values: np.ndarray) -> np.ndarray:
    """(G,) population variance, NaN where the values are constant."""
    found = values.var(axis=0)
    return np.where(is_constant(values) | (found == 0), np.nan, found)
