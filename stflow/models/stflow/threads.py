"""Compiled kernels on tensors: arrays without a copy, dropout as the kernels take it, rows shared between threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Fewest rows that are worth a thread of their own.
ROWS_PER_THREAD = 32


def is_compiled(x: Tensor) -> bool:
    """Whether there are kernels for tensors like this one: float32 on the CPU."""
    return x.device.type == "cpu" and x.dtype == torch.float32


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    """Tensors as contiguous arrays, without a copy where they are that already."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def rates(*p: float) -> tuple[np.ndarray, np.ndarray]:
    """Drop probabilities as thresholds of 16 random bits, and the factors that keep the mean."""
    thresholds = np.round(np.array(p) * 2**16)
    return thresholds.astype(np.uint32), (2**16 / (2**16 - thresholds)).astype(np.float32)


def keys(seed: int, n: int) -> np.ndarray:
    """n keys for the kernels' hash, (n,) uint32."""
    return np.random.SeedSequence(seed).generate_state(n)


def n_threads(n_rows: int) -> int:
    """Threads that so many rows are shared between."""
    return max(1, min(torch.get_num_threads(), n_rows // ROWS_PER_THREAD))


def run(kernel: Callable[..., None], n_rows: int, arguments: Sequence[Any], own: Sequence[np.ndarray] = ()) -> None:
    """Call ``kernel(lo, hi, *arguments, *own)`` on an equal share of the rows a thread.

    Parameters
    ----------
    kernel
        Compiled, and free of Python's lock.
    own
        Arrays of which each thread gets one entry, for what several threads would add to at one place; their length is
        the number of threads.
    """
    n = len(own[0]) if own else n_threads(n_rows)
    limits = [n_rows * part // n for part in range(n + 1)]
    calls = [(limits[part], limits[part + 1], *arguments, *(array[part] for array in own)) for part in range(n)]
    waiting = [_pool(n - 1).submit(kernel, *call) for call in calls[1:]]
    kernel(*calls[0])
    for call in waiting:
        call.result()


@cache
def _pool(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n, thread_name_prefix="stflow-kernel")
