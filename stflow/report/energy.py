"""What the jobs took: hours of wall time, of CPU cores and of GPUs, and from these an estimate of energy.

Each job that the workflow times leaves ``timings/<stage>/....tsv`` (`stflow.job`): wall and CPU time of its process,
from start to end, and the GPUs that it leased. A job counts as on a GPU, with its whole wall time, if the record of its
training or its features says so.

Energy is never measured here. It is an *estimate*: CPU time times the power of a busy core, and GPU wall time times
the power of a GPU in use, both of the configuration; memory, disks, cooling and idle time are not in it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from stflow.layout import Layout, Run

STAGES_OF_RUNS = ("train", "predict")
#: Columns of the cost table.
COLUMNS = ("stage", "of", "jobs", "wall_h", "cpu_h", "gpu_h", "energy_wh_estimate")


@dataclass(frozen=True, slots=True)
class Job:
    """One timed job: its stage, the method or encoder it is of (else empty), seconds, and whether it had a GPU."""

    stage: str
    of: str
    wall_s: float
    cpu_s: float
    on_gpu: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """Sum over jobs, hours."""

    n_jobs: int = 0
    wall_h: float = 0.0
    cpu_h: float = 0.0
    gpu_h: float = 0.0

    def __add__(self, job: Job) -> Cost:
        return replace(
            self,
            n_jobs=self.n_jobs + 1,
            wall_h=self.wall_h + job.wall_s / 3600,
            cpu_h=self.cpu_h + job.cpu_s / 3600,
            gpu_h=self.gpu_h + job.on_gpu * job.wall_s / 3600,
        )

    def energy_wh(self, cpu_watts: float, gpu_watts: float) -> float:
        """Estimate of the energy spent, Wh."""
        return self.cpu_h * cpu_watts + self.gpu_h * gpu_watts


def read_jobs(results: Path) -> Iterator[Job]:
    """Every timed job below a results folder, by path; files that hold no time are passed over."""
    layout = Layout(Path(results))
    root = layout.results / "timings"
    for path in sorted(root.rglob("*.tsv")):
        stage, *parts = path.relative_to(root).with_suffix("").parts
        seconds = _seconds(path)
        if seconds is None:
            continue
        of, on_gpu = _of(layout, stage, parts)
        yield Job(stage, of, *seconds, on_gpu)


def totals(jobs: Iterable[Job]) -> dict[tuple[str, str], Cost]:
    """(stage, method or encoder) -> what its jobs took, in the order of the stages' work."""
    found: dict[tuple[str, str], Cost] = {}
    for job in jobs:
        key = job.stage, job.of
        found[key] = found.get(key, Cost()) + job
    order = ("source", "tile", "embed", "search", *STAGES_OF_RUNS)
    place = {stage: number for number, stage in enumerate(order)}
    return dict(sorted(found.items(), key=lambda item: (place.get(item[0][0], len(order)), item[0])))


def summed(costs: Iterable[Cost]) -> Cost:
    """One cost of several."""
    every = list(costs)
    return Cost(
        sum(cost.n_jobs for cost in every),
        sum(cost.wall_h for cost in every),
        sum(cost.cpu_h for cost in every),
        sum(cost.gpu_h for cost in every),
    )


def rows(costs: dict[tuple[str, str], Cost], cpu_watts: float, gpu_watts: float) -> list[dict[str, Any]]:
    """`COLUMNS` of every stage and method, and of all together."""
    lines = [*costs.items(), (("all", ""), summed(costs.values()))]
    return [
        {
            "stage": stage,
            "of": of,
            "jobs": cost.n_jobs,
            "wall_h": cost.wall_h,
            "cpu_h": cost.cpu_h,
            "gpu_h": cost.gpu_h,
            "energy_wh_estimate": cost.energy_wh(cpu_watts, gpu_watts),
        }
        for (stage, of), cost in lines
    ]


def _seconds(path: Path) -> tuple[float, float] | None:
    """(wall, CPU) seconds of a job, over its repeats."""
    with path.open(newline="", encoding="utf-8") as handle:
        lines = list(csv.DictReader(handle, delimiter="\t"))
    wall = [value for line in lines if (value := _number(line.get("s"))) is not None]
    if not wall:
        return None
    cpu = [value for line in lines if (value := _number(line.get("cpu_time"))) is not None]
    return sum(wall), sum(cpu) if any(cpu) else sum(wall)


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _of(layout: Layout, stage: str, parts: Sequence[str]) -> tuple[str, bool]:
    """The method or encoder of a job, and whether it had a GPU."""
    if stage in STAGES_OF_RUNS:
        try:
            run = Run.parse("/".join(parts))
        except ValueError:
            return "", False
        return run.group.method, _trained_on_gpu(layout, run)
    if stage == "embed" and len(parts) == 3:
        return parts[0], _encoded_on_gpu(layout, parts[0], parts[1])
    return "", False


def _trained_on_gpu(layout: Layout, run: Run) -> bool:
    """Whether a run's record names a GPU; without a record of its own, that of the method as it is."""
    path = layout.run_json(run)
    if path.is_file():
        return str(json.loads(path.read_text(encoding="utf-8")).get("device", "")).startswith("cuda")
    beside = layout.run_json(run.of_variant("default"))
    return beside.is_file() and str(json.loads(beside.read_text(encoding="utf-8")).get("device", "")).startswith("cuda")


@cache
def _encoded_on_gpu(layout: Layout, encoder: str, benchmark: str) -> bool:
    """Whether an encoder's features of a benchmark were made on a GPU, by the first file that is there."""
    from stflow.io import open_h5, reading

    for path in sorted((layout.results / "features" / encoder / benchmark).glob("*.h5"))[:1]:
        with open_h5(path) as handle, reading(path):
            return not str(handle.attrs.get("machine", "cpu")).startswith("cpu")
    return False
