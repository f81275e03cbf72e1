"""Rows of spots: a neighbour's values brought to every edge, and all rows made a few at a time where memory counts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def take(values: Tensor, rows: Tensor) -> Tensor:
    """``values[rows]`` of (M, ...) values and (m, K) rows, with the faster gradient: (m, K, ...)."""
    return values.index_select(0, rows.reshape(-1)).view(*rows.shape, *values.shape[1:])


def in_blocks(make: Callable[[slice], Tensor], n: int, block: int) -> Tensor:
    """``make`` of rows 0 to n - 1: of all at once while a gradient is kept, else of ``block`` after ``block`` rows.

    Parameters
    ----------
    make
        From a slice of the rows to (rows, ...).
    """
    if torch.is_grad_enabled() or n <= block:
        return make(slice(0, n))
    return torch.cat([make(slice(start, start + block)) for start in range(0, n, block)])
