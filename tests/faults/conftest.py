"""One untouched run, the process that runs stages, and the book in which every trial is written."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .flow import Flow

STAGES = ("tile", "embed", "train", "predict", "evaluate", "aggregate")
RUN = "runs/B/D/classical/stflow/default/clean/fold0/seed0"
#: What each stage makes, below the results folder; all of it is promised to be the same bytes.
OUTPUTS: dict[str, tuple[str, ...]] = {
    "tile": tuple(f"tiles/B/S{i}.h5" for i in (1, 2, 3)),
    "embed": tuple(f"features/classical/B/S{i}.h5" for i in (1, 2, 3)),
    "train": (f"{RUN}/model.safetensors", f"{RUN}/history.csv"),
    "predict": (f"{RUN}/predictions.h5ad",),
    "evaluate": ("metrics.parquet",),
    "aggregate": ("scores.csv",),
}
#: What a stage writes last beside that; it holds times, and so is not compared.
ALSO = {"train": (f"{RUN}/run.json",)}


@dataclass
class Trial:
    """survived: the rerun ends equal to the untouched run. lost: whole files that the fault destroyed although it did
    not aim at them. recomputed: whole files that the rerun made again.
    """

    kind: str
    stage: str
    number: int
    survived: bool
    lost: int
    recomputed: int
    struck: bool


class Book:
    """All trials of a session."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []

    def table(self) -> str:
        """Markdown: one line a kind and stage."""
        groups: dict[tuple[str, str], list[Trial]] = defaultdict(list)
        for trial in self.trials:
            groups[trial.kind, trial.stage].append(trial)
        lines = ["| kind | stage | trials | struck | survived | lost | recomputed |", "|---|---|--:|--:|--:|--:|--:|"]
        for (kind, stage), trials in [*groups.items(), (("all", ""), self.trials)]:
            sums = [sum(getattr(t, name) for t in trials) for name in ("struck", "survived", "lost", "recomputed")]
            lines.append(f"| {kind} | {stage} | {len(trials)} | {' | '.join(map(str, sums))} |")
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """``path``.md and ``path``.csv."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".md").write_text(self.table())
        with path.with_suffix(".csv").open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(Trial.__dataclass_fields__))
            writer.writeheader()
            writer.writerows(asdict(trial) for trial in self.trials)


class Bench:
    """The untouched run and the process that forks stages."""

    def __init__(self, root: Path, book: Book) -> None:
        self.root, self.whole, self.book = root, root / "whole", book
        self.said = ""  # what the last rerun said
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "VIPS_CONCURRENCY": "1"}
        script = Path(__file__).with_name("stages.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(root / "warm-up")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=environment,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        for stage in ("make", *STAGES):
            done = self.run(stage, self.whole)
            assert done["code"] == 0, done["output"]
        self.bytes = {name: (self.whole / name).read_bytes() for names in OUTPUTS.values() for name in names}
        self.seconds = {stage: self.run(stage, self.before(stage))["seconds"] for stage in STAGES}

    def run(self, stage: str, results: Path, **fault: Any) -> dict[str, Any]:
        """Run one stage in a process of its own; gives code, output and seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"stage": stage, "results": str(results), **fault}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def before(self, stage: str) -> Path:
        """A folder in which all stages before ``stage`` have run."""
        folder = self.root / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.whole, folder)
        for name in (name for later in STAGES[STAGES.index(stage) :] for name in all_of(later)):
            (folder / name).unlink()
        if stage in ("tile", "embed"):
            shutil.rmtree(folder / "features")
        return folder

    def finish(self, kind: str, stage: str, number: int, folder: Path, struck: bool) -> Trial:
        """Rerun what is missing, as the workflow does, compare, and write the trial down."""
        upstream = [name for earlier in STAGES[: STAGES.index(stage)] for name in OUTPUTS[earlier]]
        there = [name for name in OUTPUTS[stage] if (folder / name).exists()]
        half = [name for name in there if (folder / name).read_bytes() != self.bytes[name]]
        lost = sum(not (folder / name).exists() for name in upstream)
        stamps = {name: stamp(folder / name) for name in [*upstream, *there] if (folder / name).exists()}
        outputs = []
        for later in STAGES[STAGES.index(stage) :]:
            if not all((folder / name).exists() for name in all_of(later)):
                outputs.append(self.run(later, folder)["output"])
        self.said = "\n".join(outputs)
        recomputed = sum(not (folder / name).exists() or stamp(folder / name) != was for name, was in stamps.items())
        equal = all(
            (folder / name).exists() and (folder / name).read_bytes() == data for name, data in self.bytes.items()
        )
        left = [str(path) for path in folder.rglob(".*.partial*")]
        trial = Trial(kind, stage, number, equal and not half and not left, lost, recomputed, struck)
        self.book.trials.append(trial)
        assert trial.survived, (trial, half, left, outputs)
        return trial


def all_of(stage: str) -> tuple[str, ...]:
    """Files without which a stage has not ended."""
    return (*OUTPUTS[stage], *ALSO.get(stage, ()))


def stamp(path: Path) -> tuple[int, int]:
    """Inode and time of change: another pair is another file."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


@pytest.fixture(scope="session")
def book() -> Iterator[Book]:
    """At the end its table is written to the path of ``FAULT_TABLE``, without its suffix."""
    made = Book()
    yield made
    if path := os.environ.get("FAULT_TABLE"):
        made.write(Path(path))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory, book: Book) -> Iterator[Bench]:
    """Made once."""
    made = Bench(tmp_path_factory.mktemp("faults"), book)
    yield made
    assert made.process.stdin is not None
    made.process.stdin.close()
    made.process.wait()


@pytest.fixture(scope="session")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Flow:
    """A small workflow and its untouched run (`flow.Flow`), made once."""
    return Flow(tmp_path_factory.mktemp("flow"))


@pytest.fixture
def enter(book: Book) -> Callable[..., Trial]:
    """``enter(kind, stage, number, survived=..., lost=..., recomputed=..., struck=...)`` writes a trial down."""

    def add(kind: str, stage: str, number: int, **seen: Any) -> Trial:
        trial = Trial(kind, stage, number, **seen)
        book.trials.append(trial)
        return trial

    return add


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Seeded by the test's name."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture(scope="session")
def outputs() -> dict[str, tuple[str, ...]]:
    """What each stage makes."""
    return OUTPUTS
