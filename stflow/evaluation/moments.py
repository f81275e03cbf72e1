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
    total = share.sum(axis=1)
    share = share / np.where(total > 0, total, np.nan)[:, None]
    shape = (len(share), slides[0].shape[1])
    drawn = [s for s in range(S) if (share[:, s] > 0).any()]

    m_y, m_p = np.zeros(shape), np.zeros(shape)
    for s in drawn:
        m_y += _part(share[:, s], slides[0][s])
        m_p += _part(share[:, s], slides[1][s])
    v_y, v_p, c = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for s in drawn:
        mean_y_s, mean_p_s, var_y_s, var_p_s, cov_s = (values[s] for values in slides)
        v_y += _part(share[:, s], var_y_s + (mean_y_s - m_y) ** 2)
        v_p += _part(share[:, s], var_p_s + (mean_p_s - m_p) ** 2)
        c += _part(share[:, s], cov_s + (mean_y_s - m_y) * (mean_p_s - m_p))

    scale = np.sqrt(v_y) * np.sqrt(v_p)
    flat_y, flat_p = _constant(share, slides[0], slides[2]), _constant(share, slides[1], slides[3])
    zero = flat_p | (scale == 0)
    r = np.where(zero, 0.0, np.clip(c / np.where(zero, 1, scale), -1, 1))
    r = np.where(flat_y | (total == 0)[:, None], np.nan, r)
    return r if times.ndim == 2 else r[0]


def _part(share: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(B, G) a slide's part of a sum; 0 where it is not in the heap, even if its value is NaN."""
    return np.where(share[:, None] > 0, share[:, None] * values, 0)


def _constant(share: np.ndarray, mean: np.ndarray, var: np.ndarray) -> np.ndarray:
    """(B, G) bool: one number at all spots of the heap, by comparison; False where it is not known."""
    shape = (len(share), mean.shape[1])
    low, high, varies = np.full(shape, np.inf), np.full(shape, -np.inf), np.zeros(shape, dtype=bool)
    for s in range(len(mean)):
        there = share[:, s, None] > 0
        low = np.where(there, np.minimum(low, mean[s]), low)
        high = np.where(there, np.maximum(high, mean[s]), high)
        varies |= there & (var[s] != 0)
    return (low == high) & ~varies
