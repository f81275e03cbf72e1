"""The workflow on a real SLURM: the same bytes as here, a GPU a job, and what happens when nodes and daemons end."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from .conftest import digest

ROOT = Path(__file__).parents[2]
#: A part of the demo; two rows ask for a GPU, three jobs of each at a time could have one.
CONFIG = {
    "results": "results",
    "benchmarks": {"demo_stimage": {"source": "demo", "format": "stimage", "split_by_slide": True}},
    "encoders": ["classical"],
    "methods": ["mean", "ridge", "mlp", "stflow"],
    "protocols": ["paper", "clean"],
    "seeds": [0, 1],
    "training": {"device": "auto"},
    "settings": {
        "mlp": {"epochs": 3, "hidden": 32},
        "stflow": {"epochs": 2, "layers": 1, "heads": 1, "regions_per_slide": 2, "hidden": 32},
    },
}
#: What this cluster needs beside the profile: it keeps no accounts, and a test does not wait for minutes.
OURS = (
    *("--slurm-no-account", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"),
    *("--latency-wait", "10"),
)
MADE = ("tiles/**/*.h5", "features/**/*.h5", "genes/**/*.json", "runs/**/model.safetensors", "runs/**/history.csv")
MADE += ("runs/**/predictions.h5ad", "metrics/**/*.parquet", "tables/table1.*")


def copy_of_the_project(folder: Path) -> Path:
    for name in ("stflow", "workflow", "config", "resources", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "part.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


def snakemake(folder: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """Start Snakemake; its output goes to ``out`` in the folder."""
    with (folder / "out").open("w") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", **variables},
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )


def said(folder: Path) -> str:
    return (folder / "out").read_text()


def made(folder: Path) -> dict[str, str]:
    results = folder / "results"
    return {str(path.relative_to(results)): digest(path) for kind in MADE for path in sorted(results.glob(kind))}


@pytest.mark.usefixtures("slurm")
def test_the_same_bytes_and_a_gpu_for_each_job(tmp_path: Path) -> None:
    here, there = (copy_of_the_project(tmp_path / name) for name in ("here", "there"))
    begun = time.monotonic()
    words = ("table1", "--configfile", "part.yaml")
    assert snakemake(here, *words, "--cores", "2").wait() == 0, said(here)[-3000:]
    alone = time.monotonic() - begun
    record = there / "leases.jsonl"
    leases = {"STFLOW_LEASE_RECORD": str(record), "STFLOW_LEASES": str(tmp_path / "leases")}
    profile = ("--workflow-profile", "workflow/profiles/slurm")
    begun = time.monotonic()
    assert snakemake(there, *words, *profile, *OURS, **leases).wait() == 0, said(there)[-5000:]
    print(f"{alone:.0f} s here, {time.monotonic() - begun:.0f} s on SLURM")
    assert len(made(here)) > 60
    assert made(here) == made(there)

    events = sorted(map(json.loads, record.read_text().splitlines()), key=lambda event: event["time"])
    now: Counter[str] = Counter()
    for event in events:
        now[event["gpu"]] += 1 if event["event"] == "taken" else -1
        assert now[event["gpu"]] in (0, 1), "two jobs on one GPU"
    trainings = 2 * 4 * 2  # methods, folds of both protocols, seeds
    assert len(events) >= 2 * trainings
    assert {event["gpu"] for event in events} == {"0", "1"}, "one of the GPUs was never used"
    submitted = re.findall(r"Job (\d+) has been submitted with SLURM jobid", said(there))
    assert len(submitted) < len(re.findall(r"^Finished jobid", said(there), re.MULTILINE)), (
        "small jobs share submissions"
    )


SUBMIT = """#!/bin/sh
# As a cluster's own would be: jobs with GPUs to one partition, the others to another.
gpus=$1; shift
if [ "$gpus" -gt 0 ]; then exec sbatch --parsable --partition=gpu --gpus="$gpus" "$@"; fi
exec sbatch --parsable --partition=cpu "$@"
"""


@pytest.mark.usefixtures("slurm")
def test_any_submit_command(tmp_path: Path) -> None:
    """The generic profile, with `sbatch` behind a script as the command: one target, from slides to its scores."""
    here, there = (copy_of_the_project(tmp_path / name) for name in ("here", "there"))
    target = "results/metrics/demo_stimage/DEMO_Breast/classical/mlp/default/paper.parquet"
    words = (target, "--configfile", "part.yaml")
    assert snakemake(here, *words, "--cores", "2").wait() == 0, said(here)[-3000:]
    (there / "submit.sh").write_text(SUBMIT)
    ask = "--mem={resources.mem_mb} --time={resources.runtime} --cpus-per-task={threads} --output=slurm-%j.out"
    generic = ("--workflow-profile", "workflow/profiles/generic", "--latency-wait", "10")
    generic += ("--cluster-generic-submit-cmd", f"sh submit.sh {{resources.gpu}} {ask}")
    generic += ("--cluster-generic-cancel-cmd", "scancel")
    record = there / "leases.jsonl"
    leases = {"STFLOW_LEASE_RECORD": str(record), "STFLOW_LEASES": str(tmp_path / "leases")}
    assert snakemake(there, *words, *generic, **leases).wait() == 0, said(there)[-5000:]
    assert (there / target).is_file()
    assert made(here) == made(there)
    assert {json.loads(line)["gpu"] for line in record.read_text().splitlines()} <= {"0", "1"}
    assert len(list(there.glob("slurm-*.out"))) > 10, "every job was submitted"


def small(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start the workflow of seconds on the cluster."""
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("small.smk"), folder / "Snakefile")
    options = ("--executor", "slurm", "--jobs", "20", "--default-resources", "slurm_partition=cpu", "--retries", "2")
    return snakemake(folder, *words, *options, "--slurm-requeue", *OURS)


def began(folder: Path, numbers: Sequence[int]) -> list[str]:
    """Nodes on which each job began, in order."""
    paths = [folder / f"began{number}.txt" for number in numbers]
    return [path.read_text().strip() for path in paths if path.exists()]


@pytest.mark.usefixtures("slurm")
def test_a_job_over_its_memory_is_tried_again_with_more(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert small(folder).wait() == 0, said(folder)[-3000:]
    assert (folder / "heavy.txt").read_text().strip() == "1600"
    assert "Trying to restart job" in said(folder)


def test_a_node_that_dies_has_its_jobs_run_elsewhere(slurm, wait_for, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = small(folder, "--config", "long=4", "--forcerun", "long")
    wait_for(lambda: len(began(folder, range(4))) == 4, 60)
    nodes = began(folder, range(4))
    dead = nodes[0]
    slurm.kill_node(dead)
    try:
        assert process.wait(240) == 0, said(folder)[-3000:]
    finally:
        slurm.start_node(dead)
    on_dead = [number for number, node in enumerate(nodes) if node == dead]
    assert on_dead
    for number in range(4):
        assert (folder / f"long{number}.txt").read_text() == "done\n"
    for node in began(folder, on_dead):
        assert node.split("\n")[-1] != dead


def test_the_controller_may_restart(slurm, wait_for, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = small(folder, "--config", "long=3")
    wait_for(lambda: len(began(folder, range(3))) == 3, 60)
    slurm.kill("slurmctld")
    time.sleep(3)
    slurm.start_controller()
    assert process.wait(240) == 0, said(folder)[-3000:]
    assert [(folder / f"long{number}.txt").read_text() for number in range(3)] == ["done\n"] * 3
    assert all("\n" not in text for text in began(folder, range(3))), "no job ran twice"
