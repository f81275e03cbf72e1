"""Which processor a job computes on, how many threads it uses, and how memory running out is recognised."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from stflow.errors import ResourceError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

#: glibc's ``mallopt`` parameters: give memory back to the system, and take it from the system, only above this.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_TOP_PAD = -1, -3, -2
_KEPT_BYTES = 1 << 30
_MMAP_BYTES = 1 << 25


def resolve(device: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``; imports torch unless the answer is given.

    Raises
    ------
    ResourceError
        ``cuda`` was asked for and is not there, or the name is unknown.
    """
    if device == "cpu":
        return "cpu"
    if device not in ("auto", "cuda"):
        raise ResourceError(f"no device {device!r}; choose auto, cpu or cuda.")
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "auto":
        return "cpu"
    build = torch.version.cuda
    why = f"torch {torch.__version__} finds no GPU" if build else f"torch {torch.__version__} is a CPU build"
    raise ResourceError(
        f"device cuda was asked for, but {why} (CUDA_VISIBLE_DEVICES="
        f"{os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}). Run with device auto or cpu, or see `stflow doctor`."
    )


def set_threads(threads: int) -> None:
    """Let every numerical library of this process use ``threads`` threads, loaded yet or not."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    # Idle threads of torch would spin on cores that the compiled kernels need (`stflow.models.stflow.threads`).
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    threadpool_limits(limits=threads)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


def get_threads() -> int:
    """Threads that a library without its own count may use: those of `set_threads`, else the environment's or all."""
    return int(os.environ.get(_THREAD_VARIABLES[0], "").partition(",")[0] or os.cpu_count() or 1)


@contextmanager
def ordered_sums(device: str) -> Iterator[None]:
    """Inside, PyTorch adds up in the same order in every run on the CPU, also with several threads.

    Without this the gradient of ``tensor[index]`` is summed by all threads at once, in whatever order they come, as
    soon as it has some ten thousand numbers: two fits with one seed then differ in their last bits. On a GPU nothing
    changes.
    """
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    of_memory = torch.utils.deterministic  # filling memory that is about to be written costs time and orders nothing
    fills = of_memory.fill_uninitialized_memory  # type: ignore[attr-defined]
    if device == "cpu":
        torch.use_deterministic_algorithms(True)
        of_memory.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        of_memory.fill_uninitialized_memory = fills  # type: ignore[attr-defined]


def keep_freed_memory() -> None:
    """Let the C library reuse freed blocks of up to a gigabyte instead of giving them back to the system.

    A training step on the CPU frees and takes hundreds of blocks of megabytes; each return costs the page faults of
    the next use, about a tenth of the step. Does nothing where the C library is not glibc.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TOP_PAD, _KEPT_BYTES >> 4)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that host or GPU memory ran out, whichever library raised it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "CUDA out of memory" in text or "can't allocate memory" in text or "CUBLAS_STATUS_ALLOC_FAILED" in text
    )
