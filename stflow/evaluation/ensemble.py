"""Several draws of one slide's expression, as what is kept of them: mean, spread, an interval, and their CRPS."""

from __future__ import annotations

import numpy as np

from stflow.evaluation.crps import crps

#: Layers of a predictions file beside ``measured`` where several draws were made.
LAYERS = ("std", "lower", "upper", "crps")


def summarise(draws: np.ndarray, measured: np.ndarray, interval: float) -> dict[str, np.ndarray]:
    """Mean of the draws, and `LAYERS`.

    Parameters
    ----------
    draws
        (S, N, G) draws, S at least 2.
    measured
        (N, G) measured expression.
    interval
        Share between ``lower`` and ``upper``, the empirical quantiles at (1 - interval) / 2 and (1 + interval) / 2.
        Quantile q stands at rank q (S + 1), so that a measured value which is one more draw of the same kind lies
        inside with probability ``interval``, up to (S - 1) / (S + 1), where the limits are the smallest and the
        largest draw. Ranks spread from the first draw to the last would hold 81 % in "90 %" limits of 20 draws.

    Returns
    -------
    (N, G) float32 by name: ``mean``, ``std`` (ddof 1), ``lower``, ``upper``, ``crps``.
    """
    limits = np.array([1 - interval, 1 + interval]) / 2
    lower, upper = np.quantile(draws, limits, axis=0, method="weibull")
    found = {
        "mean": draws.mean(axis=0, dtype=np.float64),
        "std": draws.std(axis=0, ddof=1, dtype=np.float64),
        "lower": lower,
        "upper": upper,
        "crps": crps(draws, measured),
    }
    return {name: values.astype(np.float32) for name, values in found.items()}
