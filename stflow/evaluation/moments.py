"""Moments of every slide, from which the pooled Pearson of any choice of slides follows without their spots.

A bootstrap draws slides again and again, some twice and some never; the pooled correlation of each draw is that of its
spots in one heap. Means, variances and the covariance of each slide say all that this needs (Chan, Golub and LeVeque
1983, "Algorithms for computing the sample variance: analysis and recommendations", The American Statistician 37:242).
"""

from __future__ import annotations

import numpy as np

from stflow.evaluation.metrics import as_pair, is_constant

#: Names in the metrics file, in the order of `moments` and of the arguments of `pooled_pearson`.
MOMENTS = ("mean_measured", "mean_predicted", "var_measured", "var_predicted", "cov")


def moments(measured: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """`MOMENTS` -> (G,) float64: means, population variances and covariance (ddof = 0) over spots.

    A gene that is the same at every spot has just that mean, and variance and covariance 0 to the last bit, so that
    `pooled_pearson` sees by comparison what is constant.

    Parameters
    ----------
    measured, predicted
        (N, G) log1p counts.
    """
    y, p = as_pair(measured, predicted)
    flat_y, flat_p = is_constant(y), is_constant(p)
    mean_y, mean_p = np.where(flat_y, y[0], y.mean(axis=0)), np.where(flat_p, p[0], p.mean(axis=0))
    y, p = y - mean_y, p - mean_p
    N = len(y)
    values = (
        mean_y,
        mean_p,
        np.einsum("ng,ng->g", y, y) / N,
        np.einsum("ng,ng->g", p, p) / N,
        np.einsum("ng,ng->g", y, p) / N,
    )
    return dict(zip(MOMENTS, values, strict=True))


def pooled_pearson(
    n: np.ndarray,
    mean_y: np.ndarray,
    mean_p: np.ndarray,
    var_y: np.ndarray,
    var_p: np.ndarray,
    cov: np.ndarray,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Pearson's r over the spots of several slides in one heap, as `stflow.evaluation.metrics.pearson` of these spots.

    Its policy too: NaN where the measurement is constant over the heap, else 0 where the prediction is.

    Parameters
    ----------
    n
        (S,) spots of each slide.
    mean_y, mean_p, var_y, var_p, cov
        (S, G) moments of each slide as `moments` gives them, measured ``y`` and predicted ``p``.
    weights
        How often each slide is in the heap: (S,), or (B, S) for B heaps at once; default: once each. What a slide that
        is in it 0 times holds does not matter, and may be NaN.

    Returns
    -------
    (G,), or (B, G) float64; NaN for a heap without spots, and where a slide in it has a moment that is NaN.
    """
    n = np.asarray(n, dtype=np.float64)
    S = len(n)
    slides = [np.asarray(values, dtype=np.float64) for values in (mean_y, mean_p, var_y, var_p, cov)]
    if any(values.shape != (S, *slides[0].shape[1:]) or values.ndim != 2 for values in slides):
        raise ValueError(f"moments {[values.shape for values in slides]} must be (S, G) each, S = {S} slides")
    times = np.ones(S) if weights is None else np.asarray(weights, dtype=np.float64)
    if times.shape[-1:] != (S,) or times.ndim > 2 or not (times >= 0).all():
        raise ValueError(f"weights {times.shape} must be (S,) or (B, S), S = {S} slides, and none below 0")

    share = np.atleast_2d(times) * n  # (B, S)
    total = share.sum(axis=1, keepdims=True)
    share = share / np.where(total > 0, total, 1)
    there = (share > 0).astype(np.float64)
    unknown = there @ np.any(np.isnan(slides), axis=0) > 0  # (B, G)
    mean_y, mean_p, var_y, var_p, cov = np.nan_to_num(slides)

    m_y, m_p = share @ mean_y, share @ mean_p
    v_y, v_p, c = share @ var_y, share @ var_p, share @ cov
    for s in range(S):  # slide by slide, as the differences of the means are to be squared, not those of the squares
        d_y, d_p, part = mean_y[s] - m_y, mean_p[s] - m_p, share[:, s, None]
        v_y += part * d_y**2
        v_p += part * d_p**2
        c += part * d_y * d_p

    scale = np.sqrt(v_y) * np.sqrt(v_p)
    zero = _constant(there, mean_p, var_p) | (scale == 0)
    r = np.where(zero, 0.0, np.clip(c / np.where(zero, 1, scale), -1, 1))
    r = np.where(unknown | _constant(there, mean_y, var_y) | (total == 0), np.nan, r)
    return r if times.ndim == 2 else r[0]


def _constant(there: np.ndarray, mean: np.ndarray, var: np.ndarray) -> np.ndarray:
    """(B, G) bool, one number at all spots of the heap, by comparison; ``there`` is (B, S), 1 for its slides."""
    found = there @ (var != 0) == 0
    for g in np.flatnonzero(found.any(axis=0)):
        low, high = (np.where(there > 0, mean[:, g], beyond) for beyond in (np.inf, -np.inf))
        found[:, g] &= low.min(axis=1) >= high.max(axis=1)
    return np.asarray(found)
