"""The score that chooses the epoch: the paper's, so that selection and report speak of the same thing."""

from __future__ import annotations

import numpy as np


def mean_pearson(measured: np.ndarray, predicted: np.ndarray) -> float:
    """Pearson's r a gene over all rows, averaged over genes.

    A gene that is constant on either side has no correlation; it counts as 0, so that a model cannot win by
    predicting fewer genes.

    Parameters
    ----------
    measured, predicted
        (N, G) log1p expression of the pooled spots.
    """
    x = measured.astype(np.float64)
    y = predicted.astype(np.float64)
    x -= x.mean(axis=0)
    y -= y.mean(axis=0)
    norm = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    # What is left of a constant column after centring is rounding, far below this.
    defined = norm > 1e-10 * max(len(x), 1)
    r = np.divide((x * y).sum(axis=0), norm, out=np.zeros(len(norm)), where=defined)
    return float(r.mean()) if len(r) else 0.0
