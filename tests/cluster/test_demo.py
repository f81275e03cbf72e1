"""The whole demo here, on eight devices that are only named, and on SLURM: the same bytes.

Takes half an hour and more on two cores, so it runs only where it is asked for: ``make test-cluster DEMO=1``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from .conftest import digest

ROOT = Path(__file__).parents[2]
#: All that is promised to be the same bytes; tables with times, and pages that show them, are left out.
MADE = ("tiles/**/*.h5", "features/**/*.h5", "genes/**/*.json", "splits/**/*.csv", "runs/**/model.safetensors")
MADE += ("runs/**/history.csv", "runs/**/predictions.h5ad", "metrics/**/*.parquet", "tables/*.csv", "tables/*.md")
MADE += ("figures/**/*.png", "figures/**/*.pdf", "figures/**/*.svg", "figures/**/*.csv")
TIMED = ("efficiency", "figure5", "methods", "table6", "runs", "summary", "provenance")
#: A small cluster keeps no accounts; no more than six jobs at a time on few cores.
OURS = (
    *("--workflow-profile", "workflow/profiles/slurm", "--slurm-no-account", "--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10", "--jobs", "6"),
)

pytestmark = pytest.mark.skipif(not os.environ.get("DEMO"), reason="takes half an hour: make test-cluster DEMO=1")


def made(folder: Path) -> dict[str, str]:
    """Name -> hash of all that is compared."""
    results = folder / "results" / "demo"
    paths = sorted({path for kind in MADE for path in results.glob(kind) if path.parent.name != ".kept"})
    return {str(path.relative_to(results)): digest(path) for path in paths if not path.stem.startswith(TIMED)}


def run(folder: Path, *words: str, **variables: str) -> float:
    """Run the demo in a copy of the project; the seconds it took."""
    for name in ("stflow", "workflow", "config", "resources", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    begun = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--configfile",
        "config/demo.yaml",
        "--config",
        "training={device: auto}",
    ]
    with (folder / "out").open("w") as out:
        done = subprocess.run(
            [*command, *words], cwd=folder, stdout=out, stderr=out, check=False,
            env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", **variables},
        )  # fmt: skip
    assert done.returncode == 0, (folder / "out").read_text()[-4000:]
    return time.monotonic() - begun


def most_at_once(record: Path, devices: int) -> tuple[int, int]:
    """Leases taken, and most devices taken at the same time; fails where two jobs had one."""
    now: Counter[str] = Counter()
    taken = most = 0
    for event in sorted(map(json.loads, record.read_text().splitlines()), key=lambda event: event["time"]):
        taken += event["event"] == "taken"
        now[event["gpu"]] += 1 if event["event"] == "taken" else -1
        assert now[event["gpu"]] in (0, 1), "two jobs on one GPU"
        most = max(most, sum(now.values()))
    assert set(now) == {str(number) for number in range(devices)}, "a device was never used"
    return taken, most


@pytest.mark.usefixtures("slurm")
def test_the_whole_demo_gives_the_same_bytes(tmp_path: Path) -> None:
    here, eight, there = (tmp_path / name for name in ("here", "eight", "slurm"))
    print(f"here: {run(here, '--cores', '2'):.0f} s", flush=True)
    expected = made(here)
    assert len(expected) > 250

    named = {"STFLOW_LEASE_RECORD": str(eight.with_suffix(".jsonl")), "STFLOW_LEASES": str(tmp_path / "leases8")}
    seconds = run(eight, "--cores", "16", "--resources", "gpu=8", CUDA_VISIBLE_DEVICES="0,1,2,3,4,5,6,7", **named)
    taken, most = most_at_once(eight.with_suffix(".jsonl"), 8)
    print(f"eight devices: {seconds:.0f} s, {taken} leases, {most} at once", flush=True)
    assert most == 8
    assert made(eight) == expected

    named = {"STFLOW_LEASE_RECORD": str(there.with_suffix(".jsonl")), "STFLOW_LEASES": str(tmp_path / "leases2")}
    seconds = run(there, *OURS, **named)
    taken, _ = most_at_once(there.with_suffix(".jsonl"), 2)
    submitted = len(re.findall(r"Job \d+ has been submitted with SLURM jobid", (there / "out").read_text()))
    print(f"SLURM: {seconds:.0f} s, {submitted} submissions, {taken} leases; {len(expected)} files", flush=True)
    assert made(there) == expected
