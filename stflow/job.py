"""What surrounds every job of the workflow: the GPUs that it holds, and a record of what it took."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stflow.io import write_text
from stflow.lease import lease

#: Columns of the timing file, as Snakemake's ``benchmark`` names those that it has too: wall time (s), largest resident
#: memory (MB), CPU time (s); GPUs that were leased, and the most memory that torch took on them (MB).
TIMING_COLUMNS = ("s", "max_rss", "cpu_time", "gpus", "max_gpu_mb")

_LOADED = time.monotonic()
_KB_PER_UNIT = 1 if sys.platform != "darwin" else 1 / 1024


@contextmanager
def surrounded(n_gpus: int, timing: Path | None) -> Iterator[None]:
    """Lease GPUs for a job and, if it succeeds, write what it took.

    Parameters
    ----------
    n_gpus
        GPUs that the job asked for.
    timing
        Tab-separated file for one row of `TIMING_COLUMNS`; none is written for None. Times count from the start of
        the process; the wait for a lease is left out.
    """
    asked = time.monotonic()
    with lease(n_gpus) as gpus:
        waited = time.monotonic() - asked
        yield
        if timing is not None:
            own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = sum(usage.ru_utime + usage.ru_stime for usage in (own, others))
            peak_mb = max(own.ru_maxrss, others.ru_maxrss) * _KB_PER_UNIT / 1024
            seconds = _process_age_s() - waited
            row = (f"{seconds:.3f}", f"{peak_mb:.1f}", f"{cpu:.3f}", str(len(gpus)), f"{_gpu_memory_mb():.1f}")
            write_text(timing, "\t".join(TIMING_COLUMNS) + "\n" + "\t".join(row) + "\n")


def read_timing(path: Path) -> dict[str, float]:
    """A timing file's last row by column, of those that are numbers; empty where there is no such file or row.

    Snakemake's own ``benchmark`` files are read too; what it could not measure (``NA``, ``-``) is left out.
    """
    if not path.is_file():
        return {}
    head, *rows = path.read_text(encoding="utf-8").splitlines() or [""]
    numbers: dict[str, float] = {}
    for name, cell in zip(head.split("\t"), rows[-1].split("\t") if rows else (), strict=False):
        with suppress(ValueError):
            numbers[name] = float(cell)
    return numbers if {"s", "cpu_time"} <= numbers.keys() and numbers["s"] > 0 else {}


def _process_age_s() -> float:
    """Seconds since this process began, or, where the system does not tell, since this module was loaded."""
    try:
        begun = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(begun) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.monotonic() - _LOADED


def _gpu_memory_mb() -> float:
    """Most memory that torch took on this process's GPUs; 0 if it used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0.0
    return sum(torch.cuda.max_memory_allocated(number) for number in range(torch.cuda.device_count())) / 2**20
