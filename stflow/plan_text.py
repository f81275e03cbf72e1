"""The estimate of `stflow.plan_cost` for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path

from stflow.encoder_cost import GPU_GFLOPS
from stflow.job_resources import GPU_CORES
from stflow.plan_cost import Estimate, Stage, dry_run, estimate


def print_plan(config: Path | None, targets: Sequence[str], gpus: int, cores: int, json: bool) -> None:
    """Print what a call of Snakemake with these targets would take."""
    from stflow.config import load
    from stflow.workflow import Plan

    print("Snakemake plans; the default configuration takes it two minutes.", file=sys.stderr)
    said = dry_run(config, targets)
    found = estimate(Plan(load(config or Path("config/config.yaml"))), said, gpus)
    print(dumps(found.to_json(gpus, cores), indent=2) if json else to_text(found, gpus, cores))


def to_text(found: Estimate, gpus: int, cores: int) -> str:
    """The estimate as a table and a few lines."""
    jobs = sum(stage.jobs for stage in found.stages.values())
    if not jobs:
        return "Nothing to be done: all is made."
    lines = [f"{'stage':<26} {'jobs':>7} {'core-hours':>12} {'GPU-hours':>12}"]
    for name, stage in sorted(found.stages.items(), key=lambda item: -(item[1].core_h + item[1].gpu_h)):
        lines.append(f"{name:<26} {stage.jobs:>7,} {duration(stage.core_h):>12} {duration(stage.gpu_h):>12}")
    lines.append(f"{'all':<26} {jobs:>7,} {duration(found.core_h):>12} {duration(found.gpu_h):>12}")
    wall = duration(found.wall_h(gpus, cores))
    lines.append(f"at least {wall} on {gpus} GPU(s) and {cores} core(s)")
    lines += [f"disk: {kind} {size(n_bytes)}" for kind, n_bytes in sorted(found.disk.items())]
    if (download := found.download).total or download.unknown:
        guessed = f", of it {size(download.estimated)} estimated" if download.estimated else ""
        unknown = f"; {download.unknown:,} files whose size is not known" if download.unknown else ""
        lines.append(f"download: {size(download.total)}{guessed}{unknown}")
    lines += [_trainings(method, stage, found.sources[method]) for method, stage in sorted(found.trainings.items())]
    lines += [f"{name}: {source}" for name, source in sorted(found.sources.items()) if name not in found.trainings]
    if found.gpu_h:
        tera = f"{GPU_GFLOPS / 1000:.0f} TFLOP/s"
        lines.append(f"Assumed: a GPU trains as {GPU_CORES:.0f} cores do, and does {tera} on tiles. None was measured.")
    return "\n".join(lines)


def _trainings(method: str, stage: Stage, source: str) -> str:
    """A method's trainings, how long they take and where that comes from."""
    took = f"{duration(stage.gpu_h)} of a GPU" if stage.gpu_h else f"{duration(stage.core_h)} of a core"
    return f"{stage.jobs:,} trainings of {method}, {took}: {source}"


def duration(hours: float) -> str:
    """Hours with enough digits: 3,400 h, 1.2 h, 5.3 min, 0.8 s; ``-`` for none."""
    if hours == 0:
        return "-"
    for number, unit in ((hours, "h"), (hours * 60, "min")):
        if number >= 0.95:
            return f"{number:,.0f} {unit}" if number >= 100 else f"{number:.1f} {unit}"
    return f"{hours * 3600:.1f} s"


def size(n_bytes: float) -> str:
    """Bytes in words: 1.2 TB, 3.4 GB, 5.6 MB."""
    for scale, unit in ((1e12, "TB"), (1e9, "GB")):
        if n_bytes >= scale:
            return f"{n_bytes / scale:,.1f} {unit}"
    return f"{n_bytes / 1e6:.1f} MB"
