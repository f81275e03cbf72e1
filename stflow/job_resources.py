"""Memory and time that jobs ask a cluster for: from spots, features, genes and method, not one number for all.

What is asked is what a job of this size is expected to hold, times a margin, and twice as much with every attempt after
a failure. A wrong guess so costs a second attempt and not the run. Where the constants come from: docs/resources.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import TYPE_CHECKING

from stflow.layout import TILES, Run
from stflow.models import METHODS
from stflow.search.estimate import spots_of

if TYPE_CHECKING:
    from stflow.workflow import Plan

#: A process with all libraries, MB (the demo's trainings hold 480 to 740), and with CUDA on top.
LIBRARIES_MB, CUDA_MB = 900, 2500
#: Of each spot of a slide while its counts are read: 10,000 genes seen, a value and an index of 4 bytes each.
COUNTS_KB = 80.0
#: A tile of 224 x 224 px in three bytes.
TILE_KB = 150.5
#: Room beside what is expected, and the step that requests are rounded up to.
MARGIN, STEP_MB = 1.5, 500
#: Minutes of any training or prediction beside its computing: start-up, reading, a slow disk.
START_MIN = 15
#: How much faster a GPU is than two CPU threads: assumed, as none was measured; low, so that a limit is not too short.
GPU_FACTOR = 10.0
#: Longest time that is asked for, minutes: two days, the limit of many partitions.
LONGEST_MIN = 2880


@dataclass(frozen=True, slots=True)
class Work:
    """What a method holds and takes beside its data, at 1024 features and 50 genes.

    Attributes
    ----------
    train_kb, predict_kb
        Memory of a spot of the largest slide while it trains or predicts, KB.
    epoch_ms, predict_ms
        Time of a spot of all slides for one epoch, and of a test spot, two CPU threads, ms.
    fixed_mb
        Memory whatever the slide.
    """

    train_kb: float
    predict_kb: float
    epoch_ms: float
    predict_ms: float
    fixed_mb: float = 0.0


#: Measured for STFlow, TRIPLEX and HisToGene (docs/baselines.md, time and memory of the slide-wise methods), on the
#: largest slide of each; the others are spot-wise and were measured on the demo.
WORK: Mapping[str, Work] = {
    "stflow": Work(train_kb=90, predict_kb=35, epoch_ms=1.6, predict_ms=0.4),
    "triplex": Work(train_kb=2600, predict_kb=120, epoch_ms=21, predict_ms=5),
    "histogene": Work(train_kb=400, predict_kb=100, epoch_ms=8, predict_ms=5),
    "bleep": Work(train_kb=20, predict_kb=20, epoch_ms=0.3, predict_ms=0.2),
    "random_forest": Work(train_kb=40, predict_kb=10, epoch_ms=60, predict_ms=0.5),
}
#: Of methods that are not named above.
SPOTWISE = Work(train_kb=20, predict_kb=20, epoch_ms=0.5, predict_ms=0.5)
#: Where whole tiles go through a network: 128 MB a tile in a batch of 128 (docs/baselines.md).
ON_TILES = Work(train_kb=20, predict_kb=20, epoch_ms=250, predict_ms=60, fixed_mb=17_000)


def growing(base: float) -> Callable[..., int]:
    """A resource that doubles with each attempt, for rules whose need hardly depends on what they read."""
    return lambda wildcards, attempt: ceil(base * 2 ** (attempt - 1))


class JobResources:
    """What the jobs of a plan ask for.

    All answers are for one attempt: memory in MB, time in minutes.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        # Thousands of runs ask for the same slides and the same folds.
        self.spots_of_slide = cache(self._spots_of)
        self._data = cache(self._data_of)

    def train_mb(self, run: Run, attempt: int = 1) -> int:
        """Memory of a training: its slides' features, expression and tiles, and the method's working room."""
        all_spots, largest = self.spots(run, "train")
        work = self.work(run)
        held_kb = all_spots * self._spot_kb(run) + largest * (COUNTS_KB + self._with_genes(work.train_kb, run))
        return self._asked_mb(run, held_kb / 1000 + work.fixed_mb, attempt)

    def predict_mb(self, run: Run, attempt: int = 1) -> int:
        """Memory of a prediction: the test slides, and several samples of each where they are drawn."""
        all_spots, largest = self.spots(run, "test")
        work = self.work(run)
        samples = getattr(self.settings(run), "samples", 1)
        drawn_kb = 8 * self.genes(run) * samples / 1000
        held_kb = all_spots * self._spot_kb(run) + largest * (COUNTS_KB + drawn_kb + work.predict_kb)
        return self._asked_mb(run, held_kb / 1000 + work.fixed_mb / 4, attempt)

    def train_min(self, run: Run, attempt: int = 1) -> int:
        """Time of a training with all its epochs; one without epochs counts as one."""
        all_spots, _ = self.spots(run, "train")
        epochs = getattr(self.settings(run), "epochs", 1)
        return self._asked_min(run, self.work(run).epoch_ms * epochs * all_spots, attempt)

    def predict_min(self, run: Run, attempt: int = 1) -> int:
        """Time of a prediction."""
        all_spots, _ = self.spots(run, "test")
        samples = getattr(self.settings(run), "samples", 1)
        return self._asked_min(run, self.work(run).predict_ms * samples * all_spots, attempt)

    def slides_mb(self, benchmark: str, slides: Iterable[str], attempt: int = 1) -> int:
        """Memory of a job that reads counts of slides, one at a time, with a sparse matrix of them all at its end."""
        spots = [self.spots_of_slide(benchmark, slide) for slide in slides]
        expected = LIBRARIES_MB + (max(spots, default=0) * COUNTS_KB + sum(spots) * COUNTS_KB / 5) / 1000
        return _rounded(MARGIN * expected * 2 ** (attempt - 1))

    # -- parts -------------------------------------------------------------------------------------------------

    def _asked_mb(self, run: Run, held_mb: float, attempt: int) -> int:
        gpu = self._plan.options.gpus(METHODS.get(run.group.method))
        return _rounded(MARGIN * (LIBRARIES_MB + CUDA_MB * gpu + held_mb) * 2 ** (attempt - 1))

    def _asked_min(self, run: Run, milliseconds: float, attempt: int) -> int:
        # On `auto` a job may find itself on a CPU; only where CUDA is demanded is a GPU counted on.
        on_gpu = self._plan.config.training.device == "cuda" and METHODS.get(run.group.method).needs_gpu
        minutes = milliseconds / 60_000 / (GPU_FACTOR if on_gpu else 1.0)
        return min(ceil((START_MIN + MARGIN * minutes) * 2 ** (attempt - 1)), LONGEST_MIN)

    def settings(self, run: Run) -> object:
        """The settings of a run's method and variant."""
        return self._plan.config.settings_of(run.group.method, run.group.variant)

    def work(self, run: Run) -> Work:
        """What a run's method holds and takes."""
        group = run.group
        if METHODS.get(group.method).reads_tiles(self._plan.config.settings_of(group.method, group.variant)):
            return WORK.get(group.method, ON_TILES) if group.method == "histogene" else ON_TILES
        return WORK.get(group.method, SPOTWISE)

    def genes(self, run: Run) -> int:
        """Genes that a run predicts, as configured; a list of the user's own may have others."""
        return self._plan.n_genes(run.group.benchmark)

    def _with_genes(self, kb: float, run: Run) -> float:
        """Working memory of a spot, of which a part grows with the genes: states and gradients of the last layers."""
        return kb + 0.05 * max(self.genes(run) - 50, 0)

    def _spot_kb(self, run: Run) -> float:
        """What a spot of every slide is held as: features twice (as read, as used), expression twice, its tile."""
        dim = self.dim(run.group.encoder)
        return (TILE_KB if dim is None else 8 * dim / 1000) + 8 * self.genes(run) / 1000

    def dim(self, encoder: str) -> int | None:
        """Numbers a spot that an encoder gives; None where tiles themselves are read."""
        if encoder == TILES:
            return None
        name = self._plan.encoders.names[encoder]
        return name.kind.dim * (8 if name.symmetries == "views" else 1)  # the eight symmetries, side by side

    def spots(self, run: Run, role: str) -> tuple[float, float]:
        """Spots of all slides that a run's job reads, ``train`` or ``test``, and of the largest."""
        group = run.group
        return self._data(group.benchmark, group.dataset, group.protocol, run.fold, role)

    def _spots_of(self, benchmark: str, slide: str) -> float:
        return spots_of(self._plan, benchmark, self._plan.dataset_of(benchmark, slide), slide)

    def _data_of(self, benchmark: str, dataset: str, protocol: str, fold: int, role: str) -> tuple[float, float]:
        """Spots of all slides that a job reads, and of the largest."""
        chosen = self._plan.folds[benchmark, dataset, protocol][fold]
        names = chosen.test if role == "test" else tuple(dict.fromkeys((*chosen.train, *chosen.select)))
        spots = [self.spots_of_slide(benchmark, slide) for slide in names]
        return sum(spots), max(spots)


def _rounded(megabytes: float) -> int:
    return ceil(megabytes / STEP_MB) * STEP_MB
