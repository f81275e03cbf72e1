"""What a call of Snakemake would do, told before it starts: jobs by stage, hours, disk, download.

Which jobs there are is Snakemake's own answer, a dry run; what is made already is not in it. A training's hours come
from finished trainings of its method below the results folder, where there are some, else from `stflow.job_resources`;
what a GPU is faster by is assumed there. Sizes on disk follow from spots, features and genes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from stflow.data.hub.lock import NAME as HUB_LOCK
from stflow.errors import ConfigError
from stflow.io import read_json
from stflow.job_resources import GPU_FACTOR, TILE_KB, JobResources
from stflow.layout import Run
from stflow.models import METHODS
from stflow.search.estimate import Cost, Device, measured, read_records

if TYPE_CHECKING:
    from stflow.workflow import Plan

#: CPU seconds of a job of stages that hardly depend on what they read, measured on the demo; `OTHER_S` of all others.
STAGE_S = {"evaluate": 0.5, "counts": 0.6, "splits": 0.4, "table_page": 0.4, "efficiency": 120.0}
OTHER_S = 2.0
#: CPU seconds: of a tile that is cut, and of a spot's features from an encoder without a network (demo, 390 spots).
TILE_S, CLASSICAL_S = 2e-3, 3e-3
#: CPU seconds of a tile and a parameter of a network: a ViT-L of 304 million encodes 1.3 tiles/s on two threads.
PARAMETER_S = 2 / 1.3 / 304e6
#: How much faster a GPU encodes than two CPU threads; assumed, as none was measured.
GPU_ENCODES = 300.0
#: Seconds of a job before it computes: on a GPU CUDA starts too (assumed).
START_S, GPU_START_S = 2.0, 12.0

_TRAIN = re.compile(r"^Job \d+: Train (\S+)\.$", re.MULTILINE)
_PREDICT = re.compile(r"^Job \d+: Predict with (\S+)\.$", re.MULTILINE)
_EMBED = re.compile(r"^Job \d+: Embed the tiles of ([^/\n]+)/(\S+) with (\S+)\.$", re.MULTILINE)
_EMBED_PART = re.compile(r"^Job \d+: Embed the tiles of (.+) of (\S+) with (\S+)\.$", re.MULTILINE)
_CUT = re.compile(r"^Job \d+: Cut the tiles of ([^/\n]+)/(\S+)\.$", re.MULTILINE)


@dataclass
class Stage:
    """Jobs of one rule, and what they take."""

    jobs: int = 0
    cpu_h: float = 0.0
    gpu_h: float = 0.0


@dataclass
class Estimate:
    """The whole of it. Sizes in bytes; ``download`` counts files whose size a lock knows, ``unknown`` the others."""

    stages: dict[str, Stage] = field(default_factory=dict)
    disk: dict[str, float] = field(default_factory=dict)
    download: float = 0.0
    unknown: int = 0
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def cpu_h(self) -> float:
        return sum(stage.cpu_h for stage in self.stages.values())

    @property
    def gpu_h(self) -> float:
        return sum(stage.gpu_h for stage in self.stages.values())

    def wall_h(self, gpus: int, cores: int) -> float:
        """A lower bound of the time on so many GPUs and cores: no job waits for another."""
        return max(self.gpu_h / gpus if gpus else 0.0, self.cpu_h / cores)

    def to_json(self, gpus: int, cores: int) -> dict[str, Any]:
        """All numbers as JSON holds them."""
        totals = {"cpu_h": self.cpu_h, "gpu_h": self.gpu_h, "wall_h_at_least": self.wall_h(gpus, cores)}
        return {**asdict(self), **totals, "jobs": sum(stage.jobs for stage in self.stages.values())}


def dry_run(config: Path | None, targets: Sequence[str]) -> str:
    """What Snakemake says that it would do, in the current folder.

    Raises
    ------
    ConfigError
        Snakemake refuses; its words.
    """
    words = [sys.executable, "-m", "snakemake", *targets, "--dry-run", "--cores", "1", "--quiet", "host", "reason"]
    words += [] if config is None else ["--configfile", str(config)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # nosec B603
    if done.returncode:
        raise ConfigError(f"Snakemake cannot plan this:\n{(done.stdout + done.stderr).strip()[-2000:]}")
    return done.stdout + done.stderr


def estimate(plan: Plan, said: str, gpus: int) -> Estimate:
    """The cost of the jobs of a dry run.

    Parameters
    ----------
    plan
        Of the same configuration.
    said
        The output of `dry_run`.
    gpus
        GPUs there are; with none, or where the configuration says ``cpu``, their jobs count as CPU time.
    """
    return _Estimator(plan, gpus).estimate(said)


def job_counts(said: str) -> dict[str, int]:
    """Rule -> jobs, of a dry run's table; rules without work of their own are left out."""
    table = said.partition("Job stats:")[2].partition("\n\n")[0]
    return {name: int(number) for name, number in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE) if name != "total"}


class _Estimator:
    def __init__(self, plan: Plan, gpus: int) -> None:
        self._plan, self._needs = plan, JobResources(plan)
        self._has_gpus = gpus > 0 and plan.config.training.device != "cpu"
        self._cost, self._n_params = cache(self._cost_of), cache(self._count_params)
        self._found = Estimate()

    def estimate(self, said: str) -> Estimate:
        found = self._found
        for name, jobs in job_counts(said).items():
            stage = found.stages[name] = Stage(jobs)
            if name not in ("train", "predict", "embed", "embed_part", "tile"):
                stage.cpu_h = jobs * STAGE_S.get(name, OTHER_S) / 3600
        for run in map(Run.parse, _TRAIN.findall(said)):
            self._add_run("train", run, self._train_s(run), self._model_bytes(run))
        for run in map(Run.parse, _PREDICT.findall(said)):
            spots, _ = self._needs.spots(run, "test")
            work = self._needs.work(run)
            samples = getattr(self._needs.settings(run), "samples", 1)
            seconds = work.predict_ms * samples * spots / 1000 * self._share(run)
            self._add_run("predict", run, seconds, spots * 8 * self._needs.genes(run))
        for benchmark, slide, encoder in _EMBED.findall(said):
            self._add_features("embed", benchmark, [slide], encoder)
        for slides, benchmark, encoder in _EMBED_PART.findall(said):
            if "embed_part" in found.stages:
                self._add_features("embed_part", benchmark, slides.split(", "), encoder)
        for benchmark, slide in _CUT.findall(said):
            spots = self._needs.spots_of_slide(benchmark, slide)
            found.stages["tile"].cpu_h += spots * TILE_S / 3600
            self._keep("tiles", spots * TILE_KB * 1000)
        self._add_downloads(said)
        return found

    def _keep(self, kind: str, size: float) -> None:
        self._found.disk[kind] = self._found.disk.get(kind, 0.0) + size

    def _add_run(self, stage: str, run: Run, seconds: float, size: float) -> None:
        """A training or prediction; ``seconds`` are of a CPU, or of a GPU where its method uses one."""
        on_gpu = self._has_gpus and METHODS.get(run.group.method).needs_gpu
        known = self._found.stages[stage]
        if on_gpu:
            from_runs = stage == "train" and self._cost(run.group.method, run.group.variant) is not None
            known.gpu_h += (GPU_START_S + (seconds if from_runs else seconds / GPU_FACTOR)) / 3600
            known.cpu_h += GPU_START_S / 3600
        else:
            known.cpu_h += (START_S + seconds) / 3600
        self._keep("models" if stage == "train" else "predictions", size)

    def _train_s(self, run: Run) -> float:
        spots, _ = self._needs.spots(run, "train")
        epochs = getattr(self._needs.settings(run), "epochs", 1)
        cost = self._cost(run.group.method, run.group.variant)
        self._found.sources[run.group.method] = cost.source if cost else "docs/resources.md, as none is finished here."
        epoch_s = cost.spot_s if cost else self._needs.work(run).epoch_ms / 1000 * self._share(run)
        return epoch_s * epochs * spots

    def _share(self, run: Run) -> float:
        """How much smaller a run's network is than that of its method's defaults, by parameters; at most 1."""
        sizes = self._needs.dim(run.group.encoder) or 0, self._needs.genes(run)
        own = self._n_params(run.group.method, run.group.variant, *sizes)
        cls = METHODS.get(run.group.method)
        default = cls.n_params(cls.Settings(), *sizes) if own else None
        return min(own / default, 1.0) if own and default else 1.0

    def _cost_of(self, method: str, variant: str) -> Cost | None:
        """What finished trainings of a variant took on what would be used now; None where there is none."""
        device: Device = "cuda" if self._has_gpus and METHODS.get(method).needs_gpu else "cpu"
        records = [
            record
            for record in read_records(self._plan.layout.results, method)
            if record["status"] == "ok" and Run.parse(record["run"]).group.variant == variant
        ]
        if (found := measured(records, device)) is not None:
            return found
        # A method without epochs: all its time counts as one.
        ended = [record for record in records if record["device"] == device and not record["fit"].get("epochs")]
        took = [record["seconds"] / sum(record["spots"].values()) for record in ended]
        return Cost(median(took), 0.0, 0.0, f"Measured: median of {len(took)} finished trainings.") if took else None

    def _model_bytes(self, run: Run) -> float:
        """Of a network's parameters; other models are small beside them."""
        n_features, n_genes = self._needs.dim(run.group.encoder) or 0, self._needs.genes(run)
        count = self._n_params(run.group.method, run.group.variant, n_features, n_genes)
        return 4.0 * (n_features * n_genes if count is None else count)

    def _count_params(self, method: str, variant: str, n_features: int, n_genes: int) -> int | None:
        return METHODS.get(method).n_params(self._plan.config.settings_of(method, variant), n_features, n_genes)

    def _add_features(self, stage: str, benchmark: str, slides: Iterable[str], encoder: str) -> None:
        name = self._plan.encoders.names[encoder]
        spots = sum(self._needs.spots_of_slide(benchmark, slide) for slide in slides)
        seconds = spots * ((name.kind.n_params or 0) * PARAMETER_S or CLASSICAL_S)
        known = self._found.stages[stage]
        if self._has_gpus and name.kind.needs_gpu:
            known.gpu_h += (GPU_START_S + seconds / 2 / GPU_ENCODES) / 3600  # two threads for each second
            known.cpu_h += (GPU_START_S + spots * TILE_S) / 3600
        else:
            known.cpu_h += (START_S + seconds) / 3600
        self._keep("features", spots * 4.0 * (self._needs.dim(encoder) or 0))

    def _add_downloads(self, said: str) -> None:
        """Files that are wanted and not here: their size if a lock beside them knows it."""
        if not any(name.startswith("download_") for name in job_counts(said)):
            return
        for wanted in self._plan.downloads():
            lock = wanted.root / HUB_LOCK
            entries = read_json(lock).get("files", {}) if lock.is_file() else {}
            for file in wanted.files:
                if (wanted.root / file).is_file():
                    continue
                if file in entries and entries[file].get("bytes"):
                    self._found.download += entries[file]["bytes"]
                else:
                    self._found.unknown += 1


def to_text(found: Estimate, gpus: int, cores: int) -> str:
    """The estimate for a terminal."""
    jobs = sum(stage.jobs for stage in found.stages.values())
    if not jobs:
        return "Nothing to be done: all is made."
    lines = [f"{'stage':<24} {'jobs':>7} {'CPU h':>9} {'GPU h':>9}"]
    for name, stage in sorted(found.stages.items(), key=lambda item: -(item[1].cpu_h + item[1].gpu_h)):
        lines.append(f"{name:<24} {stage.jobs:>7,} {stage.cpu_h:>9.2f} {stage.gpu_h:>9.2f}")
    lines.append(f"{'all':<24} {jobs:>7,} {found.cpu_h:>9.2f} {found.gpu_h:>9.2f}")
    wall = found.wall_h(gpus, cores)
    lines.append(f"at least {wall:.1f} h on {gpus} GPU(s) and {cores} core(s)")
    lines += [f"disk: {kind} {size / 1e9:.2f} GB" for kind, size in sorted(found.disk.items())]
    if found.download or found.unknown:
        unknown = f", and {found.unknown:,} files whose size the hub has not told yet" if found.unknown else ""
        lines.append(f"download: {found.download / 1e9:.2f} GB{unknown}")
    lines += [f"trainings of {method}: {source}" for method, source in sorted(found.sources.items())]
    assumed = f"A GPU trains {GPU_FACTOR:.0f} and encodes {GPU_ENCODES:.0f} times as fast as two CPU threads: assumed."
    return "\n".join([*lines, assumed] if found.gpu_h else lines)


def print_plan(config: Path | None, targets: Sequence[str], gpus: int, cores: int, json: bool) -> None:
    """Print what a call of Snakemake with these targets would take."""
    from json import dumps

    from stflow.config import load
    from stflow.workflow import Plan

    print("Snakemake plans; the default configuration takes it two minutes.", file=sys.stderr)
    said = dry_run(config, targets)
    found = estimate(Plan(load(config or Path("config/config.yaml"))), said, gpus)
    print(dumps(found.to_json(gpus, cores), indent=2) if json else to_text(found, gpus, cores))
