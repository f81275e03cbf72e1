"""What starting a job costs, and what is left of it where jobs are forked from a process that has the libraries.

    python benchmarks/job_start.py results/demo config/demo.yaml --repeats 3 --out benchmarks/out/job_start

Runs jobs of a finished results folder again, in a copy of links: each as a process of its own and through the server
of `stflow.preload`, in turn. Prints wall and CPU seconds (medians) of both, and their ratio. The CPU time of the
command that hands a job over is counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from output import save

from stflow.config import load
from stflow.layout import Run
from stflow.preload.client import ADDRESS_VARIABLE, SWITCH_VARIABLE
from stflow.preload.server import start
from stflow.workflow import Plan

METHODS = ("mean", "ridge", "random_forest", "stflow")
COMMAND = [sys.executable, "-c", "from stflow.preload.client import main; main()"]


def jobs(plan: Plan, results: Path) -> dict[str, list[str]]:
    """Name -> words of the command line, of some jobs of every kind."""
    found: dict[str, list[str]] = {}
    for method in METHODS:
        groups = plan.groups(method=method)
        if not groups:
            continue
        run: Run = plan.runs(groups[0])[0]
        common = ["--results", str(results), "--run", str(run), "--threads", "1"]
        found[f"train {method}"] = ["train", *common, *shlex.split(plan.options.training(run))]
        found[f"predict {method}"] = ["predict", *common, *shlex.split(plan.options.prediction(run))]
        if method == "stflow":
            folds = ",".join(map(str, plan.fold_numbers(groups[0])))
            seeds = ",".join(map(str, plan.seeds(method)))
            out = str(results / "metrics.parquet")
            words = ["--results", str(results), "--group", str(groups[0]), "--folds", folds, "--seeds", seeds]
            found["evaluate stflow"] = ["evaluate", *words, "--out", out]
    return found


def measure(words: list[str], environment: Mapping[str, str], timing: Path) -> tuple[float, float]:
    """(wall, CPU) seconds of one job."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*COMMAND, "--timing", str(timing), *words], env=environment, check=True, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if ADDRESS_VARIABLE in environment:  # the job was not our child, the command was
        cpu += float(timing.read_text().splitlines()[1].split("\t")[2])
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/job_start"))
    options = parser.parse_args()
    plan = Plan(load(options.config))
    preloaded = {**os.environ, "OMP_NUM_THREADS": "1"}
    plain = {**preloaded, SWITCH_VARIABLE: "off"}
    server = start(preloaded)
    if server is None:
        sys.exit("no server on this system")
    begun = time.perf_counter()
    while not Path(preloaded[ADDRESS_VARIABLE]).exists():
        time.sleep(0.05)
    print(f"server ready after {time.perf_counter() - begun:.1f} s")
    rows = []
    with tempfile.TemporaryDirectory(dir=options.results.parent) as folder:
        copy = Path(folder) / "results"
        shutil.copytree(options.results, copy, copy_function=os.link)
        for name, words in jobs(plan, copy).items():
            times: dict[str, list[tuple[float, float]]] = {"own": [], "preloaded": []}
            for _ in range(options.repeats):
                for kind, environment in (("own", plain), ("preloaded", preloaded)):
                    times[kind].append(measure(words, environment, Path(folder) / "timing.tsv"))
            row: dict[str, object] = {"job": name}
            for number, what in enumerate(("wall", "cpu")):
                own, ours = (statistics.median(pair[number] for pair in times[kind]) for kind in times)
                row |= {f"{what}_own_s": own, f"{what}_preloaded_s": ours, f"{what}_ratio": own / ours}
            rows.append(row)
    lines = ["| job | wall, own process, s | preloaded, s | ratio | CPU, own process, s | preloaded, s | ratio |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        job, *numbers = row.values()
        lines.append(f"| {job} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |")
    save(options.out, rows, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
