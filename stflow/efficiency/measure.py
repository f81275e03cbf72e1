"""Stage `efficiency`: one method at every number of spots, smallest first, each in a process of its own.

``efficiency/<method>/<variant>.csv`` has a line a measurement, see `COLUMNS`; the JSON beside it says on what machine
and with which settings. Where one size does not fit into memory or takes too long, larger ones are not tried.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from stflow.device import set_threads
from stflow.efficiency.worker import OUT_OF_MEMORY, default_settings, measure
from stflow.errors import IntegrityError, ResourceError
from stflow.io import SCHEMA_VERSION, write_json, write_text
from stflow.models import METHODS

#: method, variant; what: predict or train; ended: ok, out of memory, over the limit or not tried; seconds: the median
#: of ``repeats``, and the least; MB: what the process held before and at most, of the GPU's memory on a GPU.
COLUMNS = (
    *("method", "variant", "what", "spots", "ended", "seconds", "least_seconds", "repeats"),
    *("idle_mb", "peak_mb", "device", "processor", "threads"),
)
#: What a measurement imports: torch, whose import takes seconds, and what methods use beside it.
_IMPORTED_BEFORE = ("torch", "numba", "h5py", "scipy.sparse", "scipy.spatial", "stflow.efficiency.worker")
OVER_LIMIT, NOT_TRIED = "over the limit", "not tried"


@dataclass(frozen=True, slots=True)
class Work:
    """What is measured: a method, the sizes of its input and output, runs, threads, device, and the limits.

    ``device`` is auto, cpu or cuda; ``limit_s`` seconds a process, ``limit_gb`` of memory on a CPU.
    """

    method: str
    features: int
    genes: int
    repeats: int
    threads: int
    device: str
    limit_s: float
    limit_gb: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """A line of a measurements file; numbers are None where it did not end well."""

    method: str
    variant: str
    what: str
    spots: int
    ended: str
    seconds: float | None
    repeats: int
    memory_mb: float | None
    device: str
    processor: str
    threads: int


def measure_method(work: Work, spots: Sequence[int], what: Sequence[str], csv_path: Path, json_path: Path) -> None:
    """Measure one method and write both files.

    Raises
    ------
    ResourceError
        A measurement that failed for another reason than time or memory.
    """
    set_threads(work.threads)  # the processes' libraries read it when they are imported
    method, _, variant = work.method.partition("/")
    rows: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    for kind in what:
        failed = False
        for n in sorted(set(spots)):
            row: dict[str, Any] = {"method": method, "variant": variant or "default", "what": kind, "spots": n}
            found = {"ended": NOT_TRIED} if failed else in_a_process(work, kind, n)
            failed = found["ended"] != "ok"
            facts |= {name: found[name] for name in ("device", "processor", "torch") if name in found}
            rows.append({**row, **found, "repeats": work.repeats, "threads": work.threads})
            print(f"stflow efficiency: {work.method} {kind}: {n:,} spots, {_told(found)}", file=sys.stderr, flush=True)
    for row in rows:
        row |= {name: row.get(name, facts.get(name, "")) for name in ("device", "processor")}
    write_text(csv_path, _to_csv(rows))
    settings = default_settings(METHODS.get(method), variant)
    facts |= {
        "schema": SCHEMA_VERSION,
        "method": work.method,
        "settings": settings.model_dump(mode="json"),
        "features": work.features,
        "genes": work.genes,
        "limit_s": work.limit_s,
        "limit_gb": work.limit_gb,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    write_json(json_path, facts)


def in_a_process(work: Work, what: str, n: int) -> dict[str, Any]:
    """One measurement; see `stflow.efficiency.worker.measure`."""
    job = {"method": work.method, "what": what, "n": n, "features": work.features, "genes": work.genes}
    job |= {"repeats": work.repeats, "threads": work.threads, "device": work.device, "limit_gb": work.limit_gb}
    code, found = alone(job, work.limit_s)
    if code is None:
        return {"ended": OVER_LIMIT}
    if code == -signal.SIGKILL:  # as the system does to a process that it has no memory for
        return {"ended": OUT_OF_MEMORY}
    if code or found is None:
        raise ResourceError(
            f"measuring {work.method} ({what}) on {n:,} spots failed with {code}: its message is above. "
            "Leave the method out of efficiency.methods, or mend what it says."
        )
    return found


def alone(job: Mapping[str, Any], limit_s: float) -> tuple[int | None, dict[str, Any] | None]:
    """Exit code and result of a job in a new process; no code if it took more than ``limit_s`` and was ended.

    The process is forked from one that has imported the libraries and done nothing else, as importing torch anew
    takes longer than what is measured.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED_BEFORE))
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, dict(job)))
    process.start()
    sender.close()
    process.join(limit_s)
    if process.is_alive():
        process.kill()
        process.join()
        return None, None
    try:
        return process.exitcode, receiver.recv()
    except EOFError:  # it ended before it had a result
        return process.exitcode, None


def _send(sender: Connection, job: dict[str, Any]) -> None:
    sender.send(measure(**job))


def read_measurements(path: Path) -> list[Measurement]:
    """Read a measurements file.

    Raises
    ------
    IntegrityError
        It is missing or is not one.
    """
    if not Path(path).is_file():
        raise IntegrityError(f"{path} does not exist. Run `stflow efficiency` first.")
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return [_measurement(row) for row in rows]
    except (KeyError, ValueError, TypeError) as error:
        raise IntegrityError(f"{path} is not a file of measurements ({error}). Delete it and run again.") from error


def _measurement(row: dict[str, str]) -> Measurement:
    peak, idle = (float(row[name]) if row[name] else None for name in ("peak_mb", "idle_mb"))
    over_idle = None if peak is None or idle is None else peak - (0.0 if row["device"] == "cuda" else idle)
    return Measurement(
        method=row["method"],
        variant=row["variant"],
        what=row["what"],
        spots=int(row["spots"]),
        ended=row["ended"],
        seconds=float(row["seconds"]) if row["seconds"] else None,
        repeats=int(row["repeats"]),
        memory_mb=over_idle,
        device=row["device"],
        processor=row["processor"],
        threads=int(row["threads"]),
    )


def _to_csv(rows: Sequence[dict[str, Any]]) -> str:
    from stflow.report.render import to_csv

    return to_csv(COLUMNS, [{**dict.fromkeys(COLUMNS), **row} for row in rows])


def _told(found: dict[str, Any]) -> str:
    if found["ended"] != "ok":
        return str(found["ended"])
    return f"{found['seconds']:.3g} s, {found['peak_mb']:,.0f} MB at most, {found['idle_mb']:,.0f} before"
