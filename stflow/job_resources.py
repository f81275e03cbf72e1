"""Memory and time that jobs ask a cluster for: from spots, features, genes and method, not one number for all.

What is asked is what a job of this size is expected to hold, times a margin, and twice as much with every attempt after
a failure. A wrong guess so costs a second attempt and not the run. Times are core-seconds, the processor time of one
core, until a limit in minutes is made of them. Where the constants come from: docs/resources.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import TYPE_CHECKING

from stflow import encoder_cost
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
#: Minutes of any training, prediction or encoding beside its computing: start-up, reading, a slow disk.
START_MIN = 15
#: Cores that a GPU is as fast as in training and prediction: assumed, as none was measured; low, so that a limit is not
#: too short.
GPU_CORES = 20.0
#: Threads that a time limit counts on: with more a job is hardly faster on a few thousand spots.
MOST_THREADS = 2
#: Seconds of a tile that is cut: 2 ms of one core on the demo, and room for a slow disk and compressed slides.
CUT_S = 10e-3
#: Longest time that is asked for, minutes: two days, the limit of many partitions.
LONGEST_MIN = 2880
#: Trees a gene of the forest that was measured, on all of 1024 features and 50 genes.
FOREST_TREES = 70
#: Sampling steps of STFlow that its prediction was measured with.
SAMPLING_STEPS = 5
#: Share of the one training slide that chooses the epoch, where there is no other.
HELD_OUT = 0.2


@dataclass(frozen=True, slots=True)
class Work:
    """What a method holds and takes beside its data, at 1024 features and 50 genes.

    Times are of one core (processor time): core-ms.

    Attributes
    ----------
    train_kb, predict_kb
        Memory of a spot of the largest slide while it trains or predicts, KB.
    step_ms
        Core-ms of a spot in a training step; of a method without regions a spot is in one step an epoch.
    predict_ms
        Core-ms of a spot that is predicted.
    step_pair_us, predict_pair_us
        Core-us of a pair of spots of the same region or slide, where each looks at all others.
    fixed_mb
        Memory whatever the slide.
    """

    train_kb: float
    predict_kb: float
    step_ms: float
    predict_ms: float
    step_pair_us: float = 0.0
    predict_pair_us: float = 0.0
    fixed_mb: float = 0.0


#: Memory as in docs/baselines.md, time and memory of the slide-wise methods; times on one thread: docs/resources.md.
WORK: Mapping[str, Work] = {
    "stflow": Work(train_kb=90, predict_kb=35, step_ms=0.3, predict_ms=0.3),
    "triplex": Work(2600, 120, step_ms=15, predict_ms=3.5, step_pair_us=2.0, predict_pair_us=0.2),
    "histogene": Work(400, 100, step_ms=0.7, predict_ms=0.3, step_pair_us=0.8, predict_pair_us=0.2),
    "bleep": Work(train_kb=20, predict_kb=20, step_ms=0.1, predict_ms=0.2),
    "mlp": Work(train_kb=20, predict_kb=20, step_ms=0.1, predict_ms=0.05),
    "stnet": Work(train_kb=20, predict_kb=20, step_ms=0.05, predict_ms=0.05),
    "random_forest": Work(train_kb=40, predict_kb=10, step_ms=120, predict_ms=1.0),
}
#: Of methods that are not named above.
SPOTWISE = Work(train_kb=20, predict_kb=20, step_ms=0.8, predict_ms=0.1)
#: Where whole tiles go through a network: 128 MB a tile in a batch of 128 (docs/baselines.md).
ON_TILES = Work(train_kb=20, predict_kb=20, step_ms=250, predict_ms=60, fixed_mb=17_000)


@dataclass(frozen=True, slots=True)
class FoldSpots:
    """Spots of each slide of a fold, by what it is for; ``development`` as in `stflow.data.splits.Fold`."""

    train: tuple[float, ...]
    select: tuple[float, ...]
    test: tuple[float, ...]
    development: tuple[float, ...]


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
        self._data, self.fold_spots = cache(self._data_of), cache(self._fold_spots)

    def train_mb(self, run: Run, attempt: int = 1) -> int:
        """Memory of a training: its slides' features, expression and tiles, and the method's working room."""
        all_spots, largest = self.spots(run, "train")
        work = self.work(run)
        most = getattr(self.settings(run), "region_spots", None) or largest
        working_kb = min(most, largest) * self._with_genes(work.train_kb, run)
        # The score that chooses the epoch sees whole slides, however small the regions are.
        held_kb = all_spots * self._spot_kb(run) + largest * COUNTS_KB + max(working_kb, largest * work.predict_kb)
        return self._asked_mb(run, held_kb / 1000 + work.fixed_mb, attempt)

    def predict_mb(self, run: Run, attempt: int = 1) -> int:
        """Memory of a prediction: the test slides, and several samples of each where they are drawn."""
        all_spots, largest = self.spots(run, "test")
        work = self.work(run)
        drawn_kb = 8 * self.genes(run) * self.samples(run) / 1000
        held_kb = all_spots * self._spot_kb(run) + largest * (COUNTS_KB + drawn_kb + work.predict_kb)
        return self._asked_mb(run, held_kb / 1000 + work.fixed_mb / 4, attempt)

    def train_min(self, run: Run, attempt: int = 1) -> int:
        """Time of a training with all its epochs; one without epochs counts as one."""
        return self._asked_min(run, self.epoch_core_s(run) * self.epochs(run), attempt)

    def predict_min(self, run: Run, attempt: int = 1) -> int:
        """Time of a prediction."""
        return self._asked_min(run, self.predict_core_s(run), attempt)

    def tile_min(self, benchmark: str, slide: str, attempt: int = 1) -> int:
        """Time of cutting a slide's tiles."""
        return _minutes(self.spots_of_slide(benchmark, slide) * CUT_S, attempt)

    def embed_min(self, encoder: str, benchmark: str, slides: Iterable[str], attempt: int = 1) -> int:
        """Time of a job that encodes slides; one that asks the scheduler for a GPU has it."""
        encoders, name = self._plan.encoders, self._plan.encoders.names[encoder]
        tiles = sum(self.spots_of_slide(benchmark, slide) for slide in slides)
        if encoders.uses_gpu(encoder):
            seconds = encoder_cost.gpu_s(name, tiles)
        else:
            seconds = encoder_cost.core_s(name, tiles) / self._plan.config.embedding.threads
        return _minutes(seconds, attempt)

    # -- core-seconds ------------------------------------------------------------------------------------------

    def epochs(self, run: Run) -> int:
        """Most epochs of a training."""
        return int(getattr(self.settings(run), "epochs", 1))

    def epoch_core_s(self, run: Run) -> float:
        """Core-seconds of an epoch at the size of the method's defaults: its steps, and the score that chooses."""
        work, settings, group = self.work(run), self.settings(run), run.group
        spots = self.fold_spots(group.benchmark, group.dataset, group.protocol, run.fold)
        often, most = getattr(settings, "regions_per_slide", None), getattr(settings, "region_spots", None)
        whole = often is None or getattr(settings, "sample", "") == "section"
        learns_from = spots.train if METHODS.get(group.method).selects else spots.development
        steps = 0.0
        for n in learns_from:
            seen, pairs = _region(n, most, whole=whole)
            steps += (often or 1) * (seen * work.step_ms + pairs * work.step_pair_us / 1000)
        every = getattr(settings, "select_every", None)
        score = 0.0 if every is None else _prediction_ms(work, spots.select, self._steps(run)) / every
        return (steps + score) * self._forest(run) / 1000

    def predict_core_s(self, run: Run) -> float:
        """Core-seconds of a prediction at the size of the method's defaults."""
        group = run.group
        spots = self.fold_spots(group.benchmark, group.dataset, group.protocol, run.fold)
        often = self._steps(run) * self.samples(run) * self._forest(run)
        return _prediction_ms(self.work(run), spots.test, often) / 1000

    def gpu_cores(self, run: Run) -> float:
        """Cores that a GPU is as fast as; on whole tiles as in encoding, which is the same arithmetic."""
        return encoder_cost.GPU_GFLOPS / encoder_cost.CORE_GFLOPS if self.work(run) is ON_TILES else GPU_CORES

    def samples(self, run: Run) -> int:
        """Samples that a prediction is the mean of."""
        return int(getattr(self.settings(run), "samples", 1))

    def slides_mb(self, benchmark: str, slides: Iterable[str], attempt: int = 1) -> int:
        """Memory of a job that reads counts of slides, one at a time, with a sparse matrix of them all at its end."""
        spots = [self.spots_of_slide(benchmark, slide) for slide in slides]
        expected = LIBRARIES_MB + (max(spots, default=0) * COUNTS_KB + sum(spots) * COUNTS_KB / 5) / 1000
        return _rounded(MARGIN * expected * 2 ** (attempt - 1))

    def _steps(self, run: Run) -> float:
        """Sampling steps of a prediction in units of those that `WORK` is for."""
        return float(getattr(self.settings(run), "steps", SAMPLING_STEPS)) / SAMPLING_STEPS

    def _forest(self, run: Run) -> float:
        """Trees and features of a forest in units of those that `WORK` is for; 1 for other methods."""
        settings = self.settings(run)
        if not hasattr(settings, "trees"):
            return 1.0
        seen = (self.dim(run.group.encoder) or 0) * getattr(settings, "max_features", 1.0)
        return float(settings.trees / FOREST_TREES * self.genes(run) / 50 * seen / 1024)

    # -- parts -------------------------------------------------------------------------------------------------

    def _asked_mb(self, run: Run, held_mb: float, attempt: int) -> int:
        gpu = self._plan.options.gpus(METHODS.get(run.group.method))
        return _rounded(MARGIN * (LIBRARIES_MB + CUDA_MB * gpu + held_mb) * 2 ** (attempt - 1))

    def _asked_min(self, run: Run, core_s: float, attempt: int) -> int:
        # On `auto` a job may find itself on a CPU; only where CUDA is demanded is a GPU counted on.
        training = self._plan.config.training
        on_gpu = training.device == "cuda" and METHODS.get(run.group.method).needs_gpu
        return _minutes(core_s / (self.gpu_cores(run) if on_gpu else min(training.threads, MOST_THREADS)), attempt)

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
        return encoder_cost.dim(self._plan.encoders.names[encoder])

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

    def _fold_spots(self, benchmark: str, dataset: str, protocol: str, fold: int) -> FoldSpots:
        chosen = self._plan.folds[benchmark, dataset, protocol][fold]
        train, select, test, development = (
            tuple(self.spots_of_slide(benchmark, slide) for slide in names)
            for names in (chosen.train, chosen.select, chosen.test, chosen.development)
        )
        if chosen.select_by == "region":
            train, select = tuple((1 - HELD_OUT) * n for n in train), tuple(HELD_OUT * n for n in train)
        return FoldSpots(train, select, test, development)


def _region(n: float, most: float | None, *, whole: bool) -> tuple[float, float]:
    """Mean spots and pairs of spots of a training step on a slide of ``n`` spots, ``most`` at most.

    A region is floor(u n) spots, u uniform; ``whole``: all of the slide.
    """
    share = min(most or n, n) / n
    if whole:
        return share * n, (share * n) ** 2
    return n * (share - share**2 / 2), n**2 * (share**2 - 2 * share**3 / 3)


def _prediction_ms(work: Work, slides: Iterable[float], times: float) -> float:
    """Core-ms of the prediction of slides of so many spots, so many times."""
    return times * sum(n * work.predict_ms + n**2 * work.predict_pair_us / 1000 for n in slides)


def _minutes(seconds: float, attempt: int) -> int:
    return min(ceil((START_MIN + MARGIN * seconds / 60) * 2 ** (attempt - 1)), LONGEST_MIN)


def _rounded(megabytes: float) -> int:
    return ceil(megabytes / STEP_MB) * STEP_MB
