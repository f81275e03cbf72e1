"""How much of a training job is the model, and how much is around it.

    python benchmarks/job_share.py results/her2st

Reads the ``run.json`` of every STFlow run below a results folder; prints, a benchmark and protocol, the median seconds
of each phase, and the share of everything but the training steps.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

PHASES = ("start-up", "imports", "reading", "preparation", "steps", "selection", "checkpoints", "writing", "other")


def main(results: Path) -> None:
    jobs: dict[tuple[str, str], list[dict[str, float]]] = {}
    for path in sorted(results.glob("runs/*/*/*/stflow/*/*/fold*/seed*/run.json")):
        benchmark, *_, protocol = path.relative_to(results / "runs").parts[:6]
        record = json.loads(path.read_text())
        phases = record["seconds_by_phase"]
        phases["other"] = record["seconds"] + phases["start-up"] - sum(phases.values())
        jobs.setdefault((benchmark, protocol), []).append(phases)
    if not jobs:
        sys.exit(f"{results} holds no STFlow run")
    print("| benchmark | protocol | runs |", " | ".join(PHASES), "| not the model |")
    print("| --- | --- | ---: |", " | ".join("---:" for _ in PHASES), "| ---: |")
    for (benchmark, protocol), phases in jobs.items():
        medians = [statistics.median(job.get(phase, 0.0) for job in phases) for phase in PHASES]
        share = statistics.median(1 - job["steps"] / sum(job.values()) for job in phases)
        cells = " | ".join(f"{seconds:.2f}" for seconds in medians)
        print(f"| {benchmark} | {protocol} | {len(phases)} | {cells} | {share:.0%} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
