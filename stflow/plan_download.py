"""How much a plan downloads: sizes that a lock knows, else estimates from what is published of slides and encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stflow.data.facts import slide_facts
from stflow.data.hub.lock import NAME as HUB_LOCK
from stflow.encoders import ENCODERS
from stflow.io import read_json
from stflow.job_resources import COUNTS_KB, TILE_KB
from stflow.search.estimate import HER2ST, spots_of

if TYPE_CHECKING:
    from stflow.workflow import Plan

#: Bytes of a count above zero in an h5ad file (a value, an index), and of any count and a spot's place in a CSV.
NONZERO_B, CSV_COUNT_B, CSV_PLACE_B = 8, 2, 60
#: KB of a spot in the picture of a slide: 100 um x 87 um at 0.5 um/px in three bytes, of which PNG keeps some half.
PICTURE_KB = 50.0
#: Bytes of a list of genes, and of a slide's metadata.
SMALL_B = 2_000.0
#: Genes of the demo's slides, and MB of one with its picture by format.
DEMO_GENES, DEMO_SLIDE_MB = 200, {"hest": 67.0, "stimage": 16.0}
#: Bytes of a parameter in a weights file, fp32.
PARAMETER_B = 4.0


@dataclass
class Download:
    """Bytes: ``known`` from locks and published sizes, ``estimated``; ``unknown`` counts files with neither."""

    known: float = 0.0
    estimated: float = 0.0
    unknown: int = 0

    @property
    def total(self) -> float:
        """All bytes that can be told."""
        return self.known + self.estimated


def of_hub(plan: Plan, runs: Callable[[str], bool] = lambda _: True) -> Download:
    """Files of the hub that are wanted and not here.

    Parameters
    ----------
    plan
        Of the configuration.
    runs
        Whether a rule has jobs; ``download_<number>`` are those of a repository.
    """
    found = Download()
    estimates: dict[Path, float] | None = None
    for number, wanted in enumerate(plan.downloads()):
        if not runs(f"download_{number}"):
            continue
        lock = wanted.root / HUB_LOCK
        entries = read_json(lock).get("files", {}) if lock.is_file() else {}
        for file in wanted.files:
            path = wanted.root / file
            if path.is_file():
                continue
            if file in entries and entries[file].get("bytes"):
                found.known += entries[file]["bytes"]
                continue
            estimates = _expected(plan) if estimates is None else estimates
            if path in estimates:
                found.estimated += estimates[path]
            else:
                found.unknown += 1
    return found


def of_her2st(plan: Plan, benchmark: str) -> float:
    """Bytes of her2st's files whose sections are not made yet; 0 where they come from a pack."""
    if plan.config.benchmarks[benchmark].pack is not None:
        return 0.0
    sections = read_json(HER2ST)["sections"]
    made = {name: plan.counts_files(benchmark, name) for name in plan.slides(benchmark)}
    missing = [name for name, paths in made.items() if not all(path.is_file() for path in paths)]
    return float(sum(file["bytes"] for name in missing for file in sections[name]["files"].values()))


def counts_b(plan: Plan, benchmark: str, slide: str) -> float:
    """Bytes of a slide's counts as a sparse matrix."""
    facts = slide_facts(benchmark).get((plan.dataset_of(benchmark, slide), slide))
    most = COUNTS_KB * 1000
    if plan.config.benchmarks[benchmark].source == "demo":
        most = DEMO_GENES * NONZERO_B
    return _spots(plan, benchmark, slide) * (most if facts is None else min(facts.genes * NONZERO_B, most))


def _spots(plan: Plan, benchmark: str, slide: str) -> float:
    return spots_of(plan, benchmark, plan.dataset_of(benchmark, slide), slide)


def _expected(plan: Plan) -> dict[Path, float]:
    """Bytes of the files that can be estimated."""
    found: dict[Path, float] = {}
    for benchmark in plan.sourced("hub"):
        for path in plan.hub_files(benchmark):
            found[path] = SMALL_B  # gene lists and metadata; what is larger follows
        for slide in plan.slides(benchmark):
            found |= _of_slide(plan, benchmark, slide)
    return found | _of_weights(plan)


def _of_slide(plan: Plan, benchmark: str, slide: str) -> dict[Path, float]:
    """The counts, places and tiles or picture of one slide."""
    spots = _spots(plan, benchmark, slide)
    facts = slide_facts(benchmark).get((plan.dataset_of(benchmark, slide), slide))
    ready = plan.formats[benchmark].tiles == "ready"
    tiles = spots if facts is None or facts.patches is None else facts.patches
    picture = tiles * TILE_KB * 1000 if ready else spots * PICTURE_KB * 1000
    found = dict.fromkeys(plan.image_files(benchmark, slide), picture)
    for path in plan.counts_files(benchmark, slide):
        if path.suffix == ".h5ad":
            found[path] = counts_b(plan, benchmark, slide)
        elif path.name.endswith("_count.csv") and facts is not None:
            found[path] = spots * facts.genes * CSV_COUNT_B
        elif path.name.endswith("_coord.csv"):
            found[path] = spots * CSV_PLACE_B
    return found


def _of_weights(plan: Plan) -> dict[Path, float]:
    """Weights files of all encoders that have a size; methods start from some of them."""
    found = {}
    for name in ENCODERS.names():
        kind = ENCODERS.get(name)
        if kind.weights is not None and kind.n_params:
            found[plan.config.weights_path(kind.weights)] = kind.n_params * PARAMETER_B
    return found
