"""A small workflow of real commands, one untouched run of it, and Snakemake on copies of its folder."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from stflow.data.demo import make_slide

from ..workflow.conftest import Tree

SLIDES = ("DEMO1A", "DEMO2A")
GENES = ("ERBB2", "GATA3", "FTL", "SCD", "CXCL9", "COL1A1")
CONFIG: dict[str, Any] = {
    "benchmarks": {"lab": {"root": "lab/bench", "manifest": "lab.csv"}},
    "encoders": ["classical"],
    "methods": ["mean", "ridge", "stflow"],
    "protocols": ["paper"],
    "seeds": [0],
    "training": {"device": "cpu"},
    "settings": {
        "stflow": {
            "hidden": 16, "edge_hidden": 16, "layers": 1, "epochs": 6, "regions_per_slide": 1,
            "standardise_features": True,
        }
    },
}  # fmt: skip
#: What is asked for. At the rate of the profile Snakemake stays up to 5 s longer than its last job.
COMMAND = ("table1", "scores", "--cores", "2", "--configfile", "lab.yaml", "--max-jobs-per-timespan", "100/1s")
GROUPS = ("tiles/mean", "classical/ridge", "classical/stflow")
_RUNS = [f"runs/lab/DEMO_IDC/{group}/default/paper/fold0/seed0" for group in GROUPS]
#: What each stage makes, below the results folder. All of it is promised to be the same bytes.
OUTPUTS: dict[str, tuple[str, ...]] = {
    "counts": tuple(f"slides/lab/{slide}.h5ad" for slide in SLIDES),
    "tile": tuple(f"tiles/lab/{slide}.h5" for slide in SLIDES),
    "embed": tuple(f"features/classical/lab/{slide}.h5" for slide in SLIDES),
    "train": tuple(f"{run}/{name}" for run in _RUNS for name in ("model.safetensors", "history.csv")),
    "predict": tuple(f"{run}/predictions.h5ad" for run in _RUNS),
    "evaluate": tuple(f"metrics/lab/DEMO_IDC/{group}/default/paper.parquet" for group in GROUPS),
    "tables": tuple(f"tables/{name}.{suffix}" for name in ("table1", "scores") for suffix in ("csv", "md")),
}
#: How the message of a stage's jobs begins.
BEGINS = {"tile": "Cut the tiles", "embed": "Embed", "train": "Train", "predict": "Predict", "evaluate": "Score"}
#: What hangs is given up after this long; a busy machine may need minutes (s).
LONGEST_S = 1500.0
LOCKED = "Directory cannot be locked"


def stamp(path: Path) -> tuple[int, int]:
    """Inode and time of change: another pair is another file."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def descendants(pid: int) -> list[int]:
    """Processes below ``pid``, at this moment; children stand after their parents."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue  # it has ended meanwhile
            children.setdefault(int(parent), []).append(int(entry.name))
    found = list(children.get(pid, ()))
    for number in found:
        found += children.get(number, ())
    return found


def is_running(pid: int) -> bool:
    """Whether there is such a process, one that has ended and is not yet waited for aside."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(pids: Iterable[int]) -> None:
    """SIGKILL for those that are still there."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_for_end(pids: Iterable[int], seconds: float = LONGEST_S) -> None:
    """Wait until none of them runs."""
    until = time.monotonic() + seconds
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < until, f"still running: {left}"
        time.sleep(0.05)


def under_way(root: Path) -> set[str]:
    """Results of jobs that the Snakemake of a folder has begun and not ended, as its own marks say."""
    place = root / ".snakemake" / "incomplete"
    marks = (path.relative_to(place).parts for path in place.rglob("*") if path.is_file())
    texts = ("".join(part.removeprefix("@") for part in parts) for parts in marks)  # long names are cut up
    return {base64.urlsafe_b64decode(text).decode().removeprefix("results/") for text in texts}


class Call:
    """A running Snakemake, in a process group of its own; its output goes to a file."""

    def __init__(self, root: Path, words: Iterable[str], variables: dict[str, str]) -> None:
        own = {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", **variables}
        self.log = root / f"snakemake.{time.monotonic_ns()}.out"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                list(words), cwd=root, env={**os.environ, **own},
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.pid = self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str, seconds: float = LONGEST_S) -> None:
        """Wait until it has said ``text``, or has ended."""
        until = time.monotonic() + seconds
        while text not in self.output and self.process.poll() is None:
            assert time.monotonic() < until, self.output
            time.sleep(0.02)

    def end(self, seconds: float = LONGEST_S) -> int:
        """Its exit status."""
        return self.process.wait(timeout=seconds)


class Flow:
    """The untouched run, and what a trial does with a copy of it.

    Attributes
    ----------
    results
        Results folder of trials: always the same place, as some files say where they are.
    bytes
        File -> content in the untouched run.
    """

    config = CONFIG

    def __init__(self, root: Path) -> None:
        self.tree = Tree(root / "tree")
        self.root, self.results, self.kept = self.tree.root, self.tree.root / "results", root / "kept"
        for slide in SLIDES:
            make_slide("demo_hest", slide, self.root / "lab", size_um=700.0)
        dataset = self.root / "lab" / "bench" / "DEMO_IDC"
        (dataset / "var_50genes.json").write_text(json.dumps({"genes": list(GENES)}))
        rows = [f"DEMO_IDC,{slide},{slide[4]},*,0,{'test' if slide == 'DEMO2A' else 'train'}" for slide in SLIDES]
        (self.root / "lab.csv").write_text("\n".join(["dataset,slide,patient,protocol,fold,role", *rows]) + "\n")
        self.configure()
        code, output = self.run()
        assert code == 0, output
        self.bytes = {name: (self.results / name).read_bytes() for names in OUTPUTS.values() for name in names}
        for name in ("results", ".snakemake"):
            shutil.copytree(self.root / name, self.kept / name)

    def configure(self, **changes: Any) -> None:
        """Write the configuration."""
        (self.root / "lab.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}))

    def start(self, *arguments: str, within: Iterable[str] = (), **variables: str) -> Call:
        """Start Snakemake, through the command ``within``; without arguments what the untouched run was asked."""
        return Call(self.root, (*within, sys.executable, "-m", "snakemake", *(arguments or COMMAND)), variables)

    def run(self, *arguments: str, within: Iterable[str] = (), **variables: str) -> tuple[int, str]:
        """Exit status and output of a call."""
        call = self.start(*arguments, within=within, **variables)
        return call.end(), call.output

    @staticmethod
    def rules_run(output: str) -> Counter[str]:
        """How often a call of Snakemake ran each rule to its end."""
        return Counter(re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", output, re.MULTILINE))

    def restore(self) -> None:
        """The folder as the untouched run has left it, with the times of its files."""
        self.configure()
        for name in ("results", ".snakemake"):
            shutil.rmtree(self.root / name, ignore_errors=True)
            shutil.copytree(self.kept / name, self.root / name)

    def before(self, stage: str) -> None:
        """The folder as it is when all stages before ``stage`` have run."""
        self.restore()
        stages = list(OUTPUTS)
        for name in (name for later in stages[stages.index(stage) :] for name in OUTPUTS[later]):
            (self.results / name).unlink()
        if stages.index(stage) <= stages.index("embed"):
            shutil.rmtree(self.results / "features")
        if stages.index(stage) <= stages.index("train"):
            shutil.rmtree(self.results / "runs")

    def whole(self) -> dict[str, tuple[int, int]]:
        """File -> stamp, of those that are there with the bytes of the untouched run."""
        here = {name: self.results / name for name in self.bytes}
        return {
            name: stamp(path) for name, path in here.items() if path.exists() and path.read_bytes() == self.bytes[name]
        }

    def half_written(self) -> list[str]:
        """Files under their own names that are not what the untouched run wrote."""
        there = (name for name in self.bytes if (self.results / name).exists())
        return [name for name in there if (self.results / name).read_bytes() != self.bytes[name]]

    def upstream(self, stage: str) -> list[str]:
        """Files of the stages before ``stage``."""
        stages = list(OUTPUTS)
        return [name for earlier in stages[: stages.index(stage)] for name in OUTPUTS[earlier]]

    def partial(self) -> list[str]:
        """Files that somebody has begun and not renamed."""
        return [path.relative_to(self.root).as_posix() for path in self.results.rglob(".*.partial*")]
