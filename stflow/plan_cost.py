"""What a call of Snakemake would do, counted before it starts: jobs by stage, core-hours, GPU-hours, disk, download.

Which jobs there are is Snakemake's own answer, a dry run; what is made already is not in it. A core-hour is an hour of
processor time of one core: a job of two busy threads takes two in an hour. A training's hours and epochs come from
finished trainings of its method below the results folder, where there are some, else from `stflow.job_resources`. What
a GPU is faster by is assumed. Sizes on disk follow from spots, features and genes.
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

from stflow import encoder_cost, plan_download
from stflow.errors import ConfigError
from stflow.job_resources import TILE_KB, JobResources
from stflow.layout import Run
from stflow.models import METHODS
from stflow.plan_download import Download
from stflow.search.estimate import Cost, Device, Load, cost_of, job_s, known_cost, measured, read_records

if TYPE_CHECKING:
    from stflow.workflow import Plan

#: Core-seconds of a job of stages that hardly depend on what they read, measured on the demo; `OTHER_S` of all others.
STAGE_S = {"evaluate": 0.5, "counts": 0.6, "splits": 0.4, "table_page": 0.4, "efficiency": 120.0}
OTHER_S = 2.0
#: Core-seconds of a tile that is cut (demo, 390 spots).
CUT_S = 2e-3
#: Core-seconds of a job before it computes; seconds of a GPU's, where CUDA starts too (assumed).
START_S, GPU_START_S = 2.0, 12.0
#: Stages whose jobs are priced one by one.
_ONE_BY_ONE = ("train", "predict", "embed", "embed_part", "tile", "search_slice", "search_rung")
#: Rules that only name what others make; so do those of a dataset, a method or a table of the paper.
GATHERING = frozenset(
    {
        *("all", "tiles", "downloads", "tissue", "features", "datasets", "exports", "pages", "biomarkers"),
        *("gene_groups", "tables_and_figures", "figure2", "table7", "table8"),
    }
)

_TRAIN = re.compile(r"^Job \d+: Train (\S+)\.$", re.MULTILINE)
_PREDICT = re.compile(r"^Job \d+: Predict with (\S+)\.$", re.MULTILINE)
_EMBED = re.compile(r"^Job \d+: Embed the tiles of ([^/\n]+)/(\S+) with (\S+)\.$", re.MULTILINE)
_EMBED_PART = re.compile(r"^Job \d+: Embed the tiles of (.+) of (\S+) with (\S+)\.$", re.MULTILINE)
_CUT = re.compile(r"^Job \d+: Cut the tiles of ([^/\n]+)/(\S+)\.$", re.MULTILINE)
_COUNTS = re.compile(r"^Job \d+: Read the counts of ([^/\n]+)/(\S+)\.$", re.MULTILINE)
_TRY = re.compile(r"^Job \d+: Try (?:candidates \S+ of rung (\d+)|\S+) on (\S+)\.$", re.MULTILINE)


@dataclass
class Stage:
    """Jobs of one rule, and what they take."""

    jobs: int = 0
    core_h: float = 0.0
    gpu_h: float = 0.0


@dataclass
class Estimate:
    """The whole of it. Sizes on disk in bytes by kind; ``trainings`` is their stage by method; ``sources``: where the
    hours of a method or a search come from, in words."""

    stages: dict[str, Stage] = field(default_factory=dict)
    disk: dict[str, float] = field(default_factory=dict)
    download: Download = field(default_factory=Download)
    trainings: dict[str, Stage] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def core_h(self) -> float:
        return sum(stage.core_h for stage in self.stages.values())

    @property
    def gpu_h(self) -> float:
        return sum(stage.gpu_h for stage in self.stages.values())

    def wall_h(self, gpus: int, cores: int) -> float:
        """A lower bound of the time on so many GPUs and cores: no job waits for another, and all cores are busy."""
        return max(self.gpu_h / gpus if gpus else 0.0, self.core_h / cores)

    def to_json(self, gpus: int, cores: int) -> dict[str, Any]:
        """All numbers as JSON holds them."""
        totals = {"core_h": self.core_h, "gpu_h": self.gpu_h, "wall_h_at_least": self.wall_h(gpus, cores)}
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
        GPUs there are; with none, or where the configuration says ``cpu``, their jobs count as core-hours.
    """
    return _Estimator(plan, gpus).estimate(said)


def job_counts(said: str) -> dict[str, int]:
    """Rule -> jobs, of a dry run's table."""
    table = said.partition("Job stats:")[2].partition("\n\n")[0]
    return {name: int(number) for name, number in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE) if name != "total"}


def gathering(plan: Plan) -> set[str]:
    """Rules of a plan without work of their own, which are no jobs."""
    named = plan.named_targets()
    return {*GATHERING, *plan.paper.tables, *(name for _, name in named), *(f"{kind}_{name}" for kind, name in named)}


class _Estimator:
    def __init__(self, plan: Plan, gpus: int) -> None:
        self._plan, self._needs = plan, JobResources(plan)
        self._has_gpus = gpus > 0 and plan.config.training.device != "cpu"
        self._cost, self._n_params = cache(self._cost_of), cache(self._count_params)
        self._records, self._searched = cache(self._read_records), cache(self._search_cost)
        self._found = Estimate()
        self._epochs_known: dict[str, list[bool]] = {}

    def estimate(self, said: str) -> Estimate:
        found, left_out = self._found, gathering(self._plan)
        for name, jobs in job_counts(said).items():
            if name not in left_out:
                stage = found.stages[name] = Stage(jobs)
                stage.core_h = 0.0 if name in _ONE_BY_ONE else jobs * STAGE_S.get(name, OTHER_S) / 3600
        for run in map(Run.parse, _TRAIN.findall(said)):
            self._add("train", run, self._train_s(run))
            self._keep("models", self._model_bytes(run))
        for run in map(Run.parse, _PREDICT.findall(said)):
            self._add("predict", run, self._start_s(run) + self._on_worker(run, self._needs.predict_core_s(run)))
            self._keep("predictions", self._needs.spots(run, "test")[0] * 8 * self._needs.genes(run))
        for rung, name in _TRY.findall(said):
            run = Run.parse(name)
            self._add("search_rung" if rung else "search_slice", run, self._trials_s(run, int(rung or 0)))
        for benchmark, slide, encoder in _EMBED.findall(said):
            self._add_features("embed", benchmark, [slide], encoder)
        for slides, benchmark, encoder in _EMBED_PART.findall(said):
            if "embed_part" in found.stages:
                self._add_features("embed_part", benchmark, slides.split(", "), encoder)
        for benchmark, slide in _CUT.findall(said):
            spots = self._needs.spots_of_slide(benchmark, slide)
            found.stages["tile"].core_h += spots * CUT_S / 3600
            self._keep("tiles", spots * TILE_KB * 1000)
        for benchmark, slide in _COUNTS.findall(said):
            self._keep("slide files (counts, places)", plan_download.counts_b(self._plan, benchmark, slide))
        self._add_downloads(said)
        self._tell_epochs()
        return found

    def _keep(self, kind: str, size: float) -> None:
        self._found.disk[kind] = self._found.disk.get(kind, 0.0) + size

    # -- trainings and predictions: seconds of a core, or of a GPU where the method uses one --------------------

    def _on_gpu(self, method: str) -> bool:
        return self._has_gpus and METHODS.get(method).needs_gpu

    def _start_s(self, run: Run) -> float:
        return GPU_START_S if self._on_gpu(run.group.method) else START_S

    def _on_worker(self, run: Run, core_s: float) -> float:
        """Seconds of what takes so many core-seconds at the size of the method's defaults."""
        return core_s * self._share(run) / (self._needs.gpu_cores(run) if self._on_gpu(run.group.method) else 1.0)

    def _add(self, stage: str, run: Run, seconds: float) -> None:
        method, counted = run.group.method, [self._found.stages[stage]]
        if stage == "train":
            counted.append(self._found.trainings.setdefault(method, Stage()))
            counted[-1].jobs += 1
        for known in counted:
            known.core_h += seconds / 3600  # beside a GPU one core is busy giving it work
            known.gpu_h += seconds / 3600 if self._on_gpu(method) else 0.0

    def _train_s(self, run: Run) -> float:
        method = run.group.method
        epochs, cost = self._epochs(run), self._cost(method, run.group.variant)
        if cost is not None:
            self._found.sources[method] = cost.source
            return cost.start_s + cost.spot_s * epochs * self._needs.spots(run, "train")[0]
        self._found.sources.setdefault(method, "docs/resources.md, as none is finished here.")
        return self._start_s(run) + self._epoch_s(run) * epochs

    def _epoch_s(self, run: Run) -> float:
        """Seconds of an epoch of a method of which none is finished."""
        if not self._on_gpu(run.group.method):
            return self._on_worker(run, self._needs.epoch_core_s(run))
        regions = int(getattr(self._needs.settings(run), "regions_per_slide", 0))
        group = run.group
        assumed = known_cost(group.method, "cuda", regions)
        if assumed is None:
            return self._on_worker(run, self._needs.epoch_core_s(run))
        spots = self._needs.fold_spots(group.benchmark, group.dataset, group.protocol, run.fold)
        return assumed.epoch_s(Load(self._needs.spots(run, "train")[0], len(spots.train)))

    def _epochs(self, run: Run) -> float:
        """Median of finished trainings of the same method, variant and dataset; without any the most there may be."""
        group, most = run.group, self._needs.epochs(run)
        found = self._records(group.method).get((group.variant, group.benchmark, group.dataset), [])
        ended = [record["fit"]["epochs"] for record in found if record["fit"].get("epochs")]
        if most > 1:
            self._epochs_known.setdefault(group.method, []).append(bool(ended))
        return min(median(ended), most) if ended else most

    def _tell_epochs(self) -> None:
        """Add to the sources for how many trainings it is known when they stop."""
        for method, known in self._epochs_known.items():
            if any(known):
                told = f"Epochs: median of finished ones of the dataset for {sum(known)} of {len(known)}, else all."
            else:
                told = "Epochs: all, a bound from above, as early stopping is not foreseen."
            self._found.sources[method] += f" {told}"

    def _trials_s(self, run: Run, rung: int) -> float:
        """Seconds of a job of the search, as `stflow search estimate` has them where it knows the method."""
        cost = self._searched(run.group.method)
        if cost is None:
            spots = self._needs.spots(run, "train")[0]
            cost = Cost(
                self._epoch_s(run) / spots, 0.0, self._start_s(run), "docs/resources.md, as none is finished here."
            )
        self._found.sources[f"search of {run.group.method}"] = cost.source
        return job_s(self._plan, run, rung, cost)

    def _search_cost(self, method: str) -> Cost | None:
        regions = int(getattr(self._plan.config.settings_of(method), "regions_per_slide", 0))
        return cost_of(self._plan.layout.results, method, (self._device(method),), regions)

    def _device(self, method: str) -> Device:
        return "cuda" if self._on_gpu(method) else "cpu"

    def _share(self, run: Run) -> float:
        """How much smaller a run's network is than that of its method's defaults, by parameters; at most 1."""
        sizes = self._needs.dim(run.group.encoder) or 0, self._needs.genes(run)
        own = self._n_params(run.group.method, run.group.variant, *sizes)
        cls = METHODS.get(run.group.method)
        default = cls.n_params(cls.Settings(), *sizes) if own else None
        return min(own / default, 1.0) if own and default else 1.0

    def _read_records(self, method: str) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
        """(variant, benchmark, dataset) -> its finished trainings."""
        found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for record in read_records(self._plan.layout.results, method):
            if record["status"] == "ok":
                group = Run.parse(record["run"]).group
                found.setdefault((group.variant, group.benchmark, group.dataset), []).append(record)
        return found

    def _cost_of(self, method: str, variant: str) -> Cost | None:
        """What finished trainings of a variant took on what would be used now; None where there is none."""
        device = self._device(method)
        kept = self._records(method).items()
        records = [record for (of, *_), found in kept if of == variant for record in found]
        if (found := measured(records, device)) is not None:
            return found
        # A method without epochs: all its time counts as one.
        ended = [record for record in records if record["device"] == device and not record["fit"].get("epochs")]
        cores = [record["cores"] if device == "cpu" else 1.0 for record in ended]
        took = [n * record["seconds"] / sum(record["spots"].values()) for n, record in zip(cores, ended, strict=True)]
        return Cost(median(took), 0.0, 0.0, f"Measured: median of {len(took)} finished trainings.") if took else None

    def _model_bytes(self, run: Run) -> float:
        """Of a network's parameters; other models are small beside them."""
        n_features, n_genes = self._needs.dim(run.group.encoder) or 0, self._needs.genes(run)
        count = self._n_params(run.group.method, run.group.variant, n_features, n_genes)
        return 4.0 * (n_features * n_genes if count is None else count)

    def _count_params(self, method: str, variant: str, n_features: int, n_genes: int) -> int | None:
        return METHODS.get(method).n_params(self._plan.config.settings_of(method, variant), n_features, n_genes)

    # -- features and files ------------------------------------------------------------------------------------

    def _add_features(self, stage: str, benchmark: str, slides: Iterable[str], encoder: str) -> None:
        name = self._plan.encoders.names[encoder]
        spots = sum(self._needs.spots_of_slide(benchmark, slide) for slide in slides)
        known = self._found.stages[stage]
        if self._has_gpus and name.kind.needs_gpu:
            seconds = GPU_START_S + encoder_cost.gpu_s(name, spots)
            known.gpu_h += seconds / 3600
            known.core_h += (seconds + spots * encoder_cost.TILE_S) / 3600
        else:
            known.core_h += (START_S + encoder_cost.core_s(name, spots)) / 3600
        self._keep("features", spots * 4.0 * (self._needs.dim(encoder) or 0))

    def _add_downloads(self, said: str) -> None:
        """Files that are wanted and not here."""
        rules = job_counts(said)
        self._found.download = found = plan_download.of_hub(self._plan, rules.__contains__)
        for name in self._plan.sourced("her2st"):
            if f"source_{name}_section" in rules:
                found.known += plan_download.of_her2st(self._plan, name)
        if found.total:
            self._keep("downloaded files", found.total)
        for name in self._plan.sourced("demo"):
            if made := rules.get(f"source_{name}_slide", 0):
                size = plan_download.DEMO_SLIDE_MB[self._plan.config.benchmarks[name].format]
                self._keep("made slides (pictures, counts)", made * size * 1e6)
