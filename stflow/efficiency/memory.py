"""What a process holds, and held at most: of its own memory on a CPU, of the GPU's on a GPU."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

_STATUS, _CLEAR, _PAGES = (Path("/proc/self") / name for name in ("status", "clear_refs", "statm"))


def held_mb(device: str, *, peak: bool) -> float:
    """What is held, or was held at most since `forget_peak`, MB; NaN where the system does not tell."""
    if device == "cuda":
        import torch

        return (torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()) / 1e6
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM" if peak else "VmRSS"):
                return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def forget_peak(device: str) -> None:
    """Give back what is free and begin the peak anew, so that what was held while a slide was made does not count."""
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return
    with suppress(AttributeError, OSError, TypeError):  # a C library other than glibc
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):  # a system that does not let it: the peak is then since the process began
        _CLEAR.write_text("5")


def limit_memory(limit_gb: float) -> None:
    """Refuse this process what goes beyond ``limit_gb``, as a machine without swap would. Needs Linux, else nothing."""
    import resource

    if not _PAGES.is_file():
        return
    used, resident = (int(word) * resource.getpagesize() for word in _PAGES.read_text().split()[:2])
    allowed = used - resident + int(limit_gb * 1e9)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (allowed if hard < 0 else min(allowed, hard), hard))
