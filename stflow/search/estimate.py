"""How long a search takes, told before it starts: trials by rung, and hours from what an epoch costs.

An epoch costs a time a spot of the training and select slides. It comes from finished trainings of the method below the
results folder, where there are some; else from `KNOWN`. Early stopping is left out, so the last rung may take less.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any, Literal

from stflow.data.facts import slide_facts
from stflow.errors import IntegrityError
from stflow.io import open_h5, read_json, reading
from stflow.job import read_timing
from stflow.plan_search import NOTHING_TO_SEARCH, Case
from stflow.search.space import Rung, Scalar, Space

if TYPE_CHECKING:
    from stflow.layout import Run
    from stflow.workflow import Plan

Device = Literal["cpu", "cuda"]

#: Spots of a slide of which nothing is known yet; the median of STImage-1K4M's seven organs is 2,096.
UNKNOWN_SPOTS = 2000
#: Spots of a slide of the demo: 374 to 400.
DEMO_SPOTS = 390
#: What is published of her2st's sections.
HER2ST = Path(__file__).resolve().parents[2] / "resources" / "her2st.json"
#: Share of a slide that chooses the epoch where there is one training slide, and of training patients elsewhere.
HELD_OUT = 0.2
#: Finished trainings that are looked at, at most.
MOST_RECORDS = 300


@dataclass(frozen=True, slots=True)
class Load:
    """What one fold's trainings learn from."""

    spots: float
    slides: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What training a method costs on one worker: a GPU (its seconds), or a core (core-seconds, processor time).

    Attributes
    ----------
    spot_s, slide_s
        Seconds an epoch: a spot, and a slide whatever its size.
    start_s
        Seconds a job before its first epoch.
    source
        Where the numbers come from, in words.
    neighbours, neighbour_share
        ``spot_s`` is for this many neighbours; one more adds this share of it (processor time at 4, 8 and 25).
    regions
        Regions a slide and epoch that the numbers are for; 0 where the method has none.
    """

    spot_s: float
    slide_s: float
    start_s: float
    source: str
    neighbours: int = 0
    neighbour_share: float = 0.0
    regions: int = 0

    def epoch_s(self, fold: Load, candidates: Iterable[dict[str, Scalar]] = ({},)) -> float:
        """Seconds of an epoch on one fold, the mean over candidates."""
        return self.spot_s * fold.spots * self.times(candidates) + self.slide_s * fold.slides

    def times(self, candidates: Iterable[dict[str, Scalar]]) -> float:
        """Mean of what a spot costs candidates, in units of the settings that were measured."""
        asked = [float(settings.get("neighbours", self.neighbours)) for settings in candidates]
        return mean(max(1 + self.neighbour_share * (k - self.neighbours), 0.1) for k in asked)


#: (method, device) -> what it costs, at the paper's settings with 1024 features and 50 genes.
KNOWN: Mapping[tuple[str, Device], Cost] = {
    ("stflow", "cpu"): Cost(
        spot_s=1.6e-3,  # 10 regions of N/2 spots on average, 0.16 ms a spot and step on each of two cores
        slide_s=0.0,
        start_s=7.0,
        source="Measured on a CPU (docs/stflow.md, Speed).",
        neighbours=8,
        neighbour_share=0.065,
        regions=10,
    ),
    ("stflow", "cuda"): Cost(
        spot_s=20e-6,
        slide_s=0.25,  # 10 steps of 25 ms, which starting some thousand kernels takes
        start_s=15.0,
        source="Assumed, not measured: there is no finished training on a GPU below the results folder yet.",
        neighbours=8,
        neighbour_share=0.065,
        regions=10,
    ),
}


def estimate(plan: Plan, workers: int) -> str:
    """The estimate as text.

    Parameters
    ----------
    plan
        Of the configuration.
    workers
        GPUs; cores where trainings run on the CPU.
    """
    cases = plan.search.cases()
    if not cases:
        return NOTHING_TO_SEARCH
    parts = []
    for method in plan.search.methods():
        parts.append("\n".join(_method(plan, [case for case in cases if case.method == method], workers)))
    return "\n\n".join(parts)


def _method(plan: Plan, cases: list[Case], workers: int) -> Iterable[str]:
    """Lines of one method."""
    from stflow.models import METHODS

    method, search = cases[0].method, plan.search
    folds = [(case, fold) for case in cases for fold in search.folds(case.benchmark, case.dataset)]
    loads = [load(plan, case, fold) for case, fold in folds]
    datasets = dict.fromkeys((case.benchmark, case.dataset) for case in cases)
    n, encoders = len(search.space(method)), ", ".join(search.encoders())
    yield f"Search of {method}: {n:,} candidates on {len(folds)} folds of {len(datasets)} datasets with {encoders}"
    on_gpu = plan.options.device(METHODS.get(method)) != "cpu"
    settings = plan.config.settings_of(method)
    regions = int(getattr(settings, "regions_per_slide", 0))
    cost = cost_of(plan.layout.results, method, ("cuda", "cpu") if on_gpu else ("cpu",), regions)
    own = getattr(settings, "epochs", None)
    every = search.rungs(method)
    yield f"  {'rung':>4} {'epochs':>6} {'candidates':>10} {'trials':>8} {'jobs':>6} {'hours':>9}"
    total = 0.0
    for number, rung in enumerate(every):
        jobs = search.jobs(method, number) * len(folds)
        told = "?"
        if cost is not None and own is not None:
            hours = _hours(cost, rung, rung.epochs or own, loads, jobs, search.space(method))
            total, told = total + hours, f"{hours:,.1f}"
        trials = rung.candidates * len(folds)
        yield f"  {number:>4} {rung.epochs or own or '?':>6} {rung.candidates:>10,} {trials:>8,} {jobs:>6,} {told:>9}"
    if cost is None or own is None:
        yield f"  How long a training of {method} takes is not known: finish one, and ask again."
        return
    worker = "GPU" if on_gpu else "core"
    yield f"  {total:,.0f} {worker} hours: {_days(total, workers)} on {workers} {worker}(s)"
    if len(every) > 1:
        full = Rung(every[0].candidates, own)
        n_jobs = full.candidates * len(folds)
        hours = _hours(cost, full, own, loads, n_jobs, search.space(method))
        yield f"  in full, without halving: {hours:,.0f} hours, {_days(hours, workers)} on {workers}"
    spot, slide = f"{cost.spot_s * 1e6:,.0f} us a spot", f"{cost.slide_s * 1e3:.0f} ms a slide"
    yield f"  An epoch: {spot} and {slide}; the start of a job: {cost.start_s:.0f} s. Early stopping is left out."
    yield f"  {cost.source}"


def job_s(plan: Plan, run: Run, rung: int, cost: Cost) -> float:
    """Seconds of one worker for a job of a rung of the search, on average: its candidates' epochs on a run's fold."""
    group, method = run.group, run.group.method
    every, case = plan.search.rungs(method), Case(group.benchmark, group.dataset, group.encoder, method)
    epochs = every[rung].epochs or int(getattr(plan.config.settings_of(method), "epochs", 1))
    epoch_s = cost.epoch_s(load(plan, case, run.fold), plan.search.space(method).candidates())
    return every[rung].candidates * epochs * epoch_s / plan.search.jobs(method, rung) + cost.start_s


def _hours(cost: Cost, rung: Rung, epochs: int, loads: list[Load], jobs: int, space: Space) -> float:
    """Hours of one worker for a rung on all folds."""
    candidates = space.candidates()
    epoch_s = sum(cost.epoch_s(fold, candidates) for fold in loads)
    return (rung.candidates * epochs * epoch_s + jobs * cost.start_s) / 3600


def _days(hours: float, workers: int) -> str:
    """Wall time of so many workers."""
    wall = hours / workers
    return f"{wall / 24:.1f} days" if wall >= 48 else f"{wall:.1f} hours"


def load(plan: Plan, case: Case, fold: int) -> Load:
    """Spots and slides of one fold's training and select slides."""
    chosen = plan.folds[case.benchmark, case.dataset, "clean"][fold]
    names = chosen.train if chosen.select_by == "region" else (*chosen.train, *chosen.select)
    return Load(sum(spots_of(plan, case.benchmark, case.dataset, name) for name in names), len(chosen.train))


def spots_of(plan: Plan, benchmark: str, dataset: str, slide: str) -> float:
    """Spots of a slide: as its file says, or as published, or a guess; a broken file is for its reader to tell.

    Of the demo's and of her2st's sections it is known what will be made of them.
    """
    path = plan.layout.slide(benchmark, slide)
    if path.is_file():
        with suppress(IntegrityError), open_h5(path, whole=False) as handle, reading(path):
            return int(handle["uns/stflow/n_spots"][()])
    source = plan.config.benchmarks[benchmark].source
    if source == "demo":
        return DEMO_SPOTS
    if source == "her2st" and slide in (sections := _her2st()):
        return sections[slide]
    facts = slide_facts(benchmark).get((dataset, slide))
    return facts.spots if facts is not None else UNKNOWN_SPOTS


@cache
def _her2st() -> dict[str, int]:
    """Section -> spots, as published."""
    return {name: facts["n_spots"] for name, facts in read_json(HER2ST)["sections"].items()}


def cost_of(results: Path, method: str, devices: Iterable[Device], regions: int = 0) -> Cost | None:
    """What training a method costs: as finished trainings say, else as known, for the first device that has either."""
    wanted = list(devices)
    records = list(read_records(results, method))
    for device in wanted:
        known = known_cost(method, device, regions)
        if (found := measured(records, device)) is not None:
            share = (known.neighbours, known.neighbour_share) if known else (0, 0.0)
            return replace(found, neighbours=share[0], neighbour_share=share[1])
        if known is not None:
            return known
    return None


def known_cost(method: str, device: Device, regions: int = 0) -> Cost | None:
    """What `KNOWN` has of a method, for so many regions a slide and epoch; 0: as they are."""
    known = KNOWN.get((method, device))
    if known is None or not regions or not known.regions:
        return known
    scale = regions / known.regions
    return replace(known, spot_s=known.spot_s * scale, slide_s=known.slide_s * scale)


def read_records(results: Path, method: str) -> Iterator[dict[str, Any]]:
    """What finished trainings of a method have recorded; broken files are left out.

    ``cores`` is added: how many were busy on average, by the job's timing, and by its threads where there is none.
    """
    for path in sorted(results.glob(f"runs/*/*/*/{method}/*/*/*/*/run.json"))[:MOST_RECORDS]:
        with suppress(IntegrityError):
            record = read_json(path)
            run = path.parent.relative_to(results / "runs").as_posix()
            took = read_timing(results / "timings" / "train" / f"{run}.tsv")
            yield {**record, "cores": took["cpu_time"] / took["s"] if took else record.get("threads", 1)}


def measured(records: Iterable[Mapping[str, Any]], device: Device) -> Cost | None:
    """Median cost over records of `read_records` on a device; None where there is none with epochs.

    On a CPU in core-seconds: wall time by the cores that were busy. On a GPU in seconds of it.
    """
    spot_s, start_s = [], []
    for record in records:
        if record["status"] != "ok" or record["device"] != device or not record["fit"].get("epochs"):
            continue
        seconds, spots = record["seconds_by_phase"], record["spots"]
        cores = record["cores"] if device == "cpu" else 1.0
        busy = seconds.get("steps", 0.0) + seconds.get("selection", 0.0)
        spot_s.append(cores * busy / (record["fit"]["epochs"] * (spots["train"] + spots["select"])))
        start_s.append(cores * max(record["seconds"] - busy, 0.0))
    if not spot_s:
        return None
    source = f"Measured: median of {len(spot_s)} finished trainings ({device})."
    return Cost(median(spot_s), 0.0, median(start_s), source)
