"""The path from prior to data: a straight line a spot and gene (equation 3 of the paper; algorithm 1, line 4)."""

from __future__ import annotations

from torch import Tensor


def interpolate(x_0: Tensor, x_1: Tensor, t: Tensor) -> Tensor:
    """``x_t = t x_1 + (1 - t) x_0``: the prior at t = 0, the data at t = 1.

    Parameters
    ----------
    x_0, x_1
        (M, G) prior and measured log1p expression.
    t
        (M, 1) time of every spot, in [0, 1].
    """
    return t * x_1 + (1 - t) * x_0
