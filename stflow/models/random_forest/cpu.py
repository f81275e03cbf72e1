"""Forests on the CPU: draws, threads, and the form in which the kernel wants features and targets.

Why the kernel is our own: no kept library ends in minutes. Seconds of one core's time a tree, depth 16, all features
tried at a node, on spots x features (a busy machine; ``benchmarks/forest.py`` compares with scikit-learn):

                                         2,400 x 80   1,600 x 1,280   10,000 x 1,024
    `kernels`, 128 bins                       0.008            0.08             0.35
    scikit-learn-intelex 2026.2, 128 bins     0.05             0.96             3.6
    scikit-learn 1.9.1 on the same bins       0.10             1.5              6.2
    XGBoost 3.2, 128 bins                     0.24             3.3
    LightGBM 4.7, 128 bins                    1.4

Histogram libraries look at every bin of every feature at every node, and a tree without a limit on leaves has
thousands of nodes of few spots. Of 10,000 spots x 1,024 features, 50 genes x 70 trees cost 1,220 s of one core, about
ten minutes on two (from the first six genes); the first forest on a machine compiles, another 7 s.

It scores as scikit-learn's exact forest of the same limits does: on her2st's three clean folds (EfficientNet-Lite0,
10 genes, 20 trees) .121 and .121 under two seeds against .108 and .122; the predictions of the two correlate by .65,
those of two seeds by .67 here and .68 there. It took a 12th of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

from stflow.device import get_threads
from stflow.models.random_forest import kernels
from stflow.models.random_forest.trees import Tree
from stflow.seeds import numpy_generator

if TYPE_CHECKING:
    from stflow.models.random_forest import RandomForestSettings


def grow_forests(
    bins: np.ndarray, y: np.ndarray, settings: RandomForestSettings, seeds: Sequence[int]
) -> tuple[list[list[Tree]], dict[str, object]]:
    """A forest for each column of targets.

    Parameters
    ----------
    bins
        (N, D) uint8 bins of the features.
    y
        (N, G) targets.
    settings
        Limits of the trees.
    seeds
        A seed a target. A tree's draws depend on its seed and its number in the forest alone, its sums are of
        integers, and so neither the number of threads nor the order of spots' sums changes a bit.

    Returns
    -------
    The trees of each forest, and facts for run.json.
    """
    threads = get_threads()
    words = Words.of(bins)
    targets = [Target.of(column) for column in y.T]

    def grow(gene: int, number: int) -> Tree:
        return grow_tree(words, targets[gene], settings, numpy_generator(seeds[gene], number))

    jobs = [(gene, number) for gene in range(len(seeds)) for number in range(settings.trees)]
    with ThreadPoolExecutor(threads, thread_name_prefix="stflow-forest") as pool:
        trees = list(pool.map(lambda job: grow(*job), jobs))
    forests = [trees[start : start + settings.trees] for start in range(0, len(trees), settings.trees)]
    return forests, {"library": "stflow's own kernel", "numba": numba.__version__, "threads": threads}


@dataclass(frozen=True, slots=True)
class Words:
    """Bins of eight features as one 64-bit word, twice: a large node reads spot after spot of one word, a small one
    word after word of few spots, and each finds its next read in the cache."""

    by_group: np.ndarray  # (D / 8, N) uint64
    by_spot: np.ndarray  # (N, >= D / 8) uint64
    n_features: int
    n_bins: int

    @classmethod
    def of(cls, bins: np.ndarray) -> Words:
        """Words of (N, D) uint8 bins."""
        N, D = bins.shape
        # An odd number of cache lines a spot: else the same word of all spots falls into a few places of the cache.
        lines = -(-D // 64) | 1
        by_spot = np.zeros((N, 8 * lines), dtype=np.uint64)
        by_spot.view(np.uint8)[:, :D] = bins
        return cls(np.ascontiguousarray(by_spot[:, : -(-D // 8)].T), by_spot, D, int(bins.max()) + 1)


@dataclass(frozen=True, slots=True)
class Target:
    """One gene in whole steps of ``step`` above ``lowest``, so that sums are exact.

    A spot's count of draws stands above bit ``shift`` and its steps below it: one addition adds both.
    """

    steps: np.ndarray  # (N,) uint64
    shift: int
    lowest: float
    step: float

    @classmethod
    def of(cls, y: np.ndarray) -> Target:
        """(N,) values to within 2^-32 of their range, or 2^-(64 - 2 log2 N) where that is coarser."""
        count_bits = len(y).bit_length()
        bits = min(32, 64 - 2 * count_bits)
        lowest, highest = float(y.min()), float(y.max())
        step = (highest - lowest) / (2**bits - 1) or 1.0
        steps = np.rint((y.astype(np.float64) - lowest) / step).astype(np.uint64)
        return cls(steps, 64 - count_bits, lowest, step)


def grow_tree(words: Words, target: Target, settings: RandomForestSettings, rng: np.random.Generator) -> Tree:
    """One tree on spots drawn by ``rng``."""
    N = len(target.steps)
    times = draws(N, rng) if settings.bootstrap else np.ones(N, dtype=np.uint64)
    spots = np.flatnonzero(times).astype(np.uint32)
    packed = times[spots] << np.uint64(target.shift) | times[spots] * target.steps[spots]
    most = min(2 * len(spots) - 1, 2 ** (min(settings.depth, 62) + 1) - 1)
    feature, cut, after = (np.empty(most, dtype=kind) for kind in (np.int16, np.uint8, np.int32))
    means = np.empty((most + 1) // 2)
    n_nodes, n_leaves = kernels.grow(
        words.by_group.ravel(),
        words.by_spot.ravel(),
        N,
        words.n_features,
        words.n_bins,
        spots,
        packed,
        target.steps[spots],
        target.shift,
        1 / np.maximum(1.0, np.arange(N + 1)),
        settings.depth,
        settings.min_samples_leaf,
        max(1, int(settings.max_features * words.n_features)),
        rng.integers(2**64, dtype=np.uint64),
        feature,
        cut,
        after,
        means,
    )
    value = (target.lowest + target.step * means[:n_leaves]).astype(np.float32)
    return Tree(feature[:n_nodes].copy(), cut[:n_nodes].copy(), after[:n_nodes].copy(), value)


def draws(N: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) uint64: how often each of N spots is among N drawn with replacement."""
    return np.bincount(rng.integers(N, size=N), minlength=N).astype(np.uint64)
