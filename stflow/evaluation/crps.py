"""The continuous ranked probability score of an ensemble: how well a handful of draws foretells one number.

In the unit of what is predicted, and lower is better; for a single draw it would be the absolute error.
"""

from __future__ import annotations

import numpy as np


def crps(draws: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Fair CRPS of S draws ``x_s`` for a measured ``y``: ``mean_s |x_s - y| - sum_st |x_s - x_t| / (2 S (S - 1))``.

    This is E|X - y| - E|X - X'| / 2 (Gneiting and Raftery 2007, equation 20) with the second mean over pairs of two
    draws, S (S - 1) of them, not over all S^2 (Ferro 2014): its expectation does not depend on S, so ensembles of
    other sizes compare. It may be slightly negative.

    Parameters
    ----------
    draws
        (S, ...) draws, S at least 2.
    measured
        (...) measured values.

    Returns
    -------
    (...) float64.
    """
    S = len(draws)
    if S < 2 or draws.shape[1:] != measured.shape:
        raise ValueError(f"draws {draws.shape} must be (S, *{measured.shape}), S > 1")
    distance, spread = np.zeros(measured.shape), np.zeros(measured.shape)
    # In order of size, the draw of rank r (from 0) is the larger one of r pairs and the smaller one of S - 1 - r.
    for rank, draw in enumerate(np.sort(draws, axis=0)):
        distance += np.abs(draw.astype(np.float64) - measured)
        spread += (2 * rank - (S - 1)) * draw.astype(np.float64)
    return distance / S - spread / (S * (S - 1))
