"""Hierarchical bootstrap of a score: patients, their slides, genes and seeds are drawn anew, with replacement.

One resample of a dataset: as many patients as it has, over all folds; of each drawn patient as many slides as it has;
as many genes as its folds have together; as many seeds as the method has. The statistic is the table's own score on
that resample: r of a gene over the drawn slides of a fold pooled, mean over the drawn genes, mean over folds, mean over
the drawn seeds. A fold counts by how many of its spots were drawn, next to how many it has: that is 1 without
resampling, it leaves out a fold of which nothing was drawn, and where a fold is one patient it makes the mean over
folds the ordinary bootstrap's mean over patients.

A patient belongs to the folds that test it. All methods of a dataset, and both protocols, share the same resamples, so
differences have intervals too. Intervals are percentiles of the resampled scores. Patients and genes are crossed, and
resampling both is known to err on the wide side (Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics
1); few patients err on the narrow side. docs/statistics.md has the coverage that came out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stflow.evaluation.group_scores import GroupScores
from stflow.seeds import numpy_generator

#: How many resamples, and what share of them an interval holds.
N_RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Resamples:
    """B resamples of one dataset, the same for every method on it.

    ``slides`` (S) and ``genes`` (G) name the columns of ``slide_counts`` (B, S) and ``gene_counts`` (B, G): how often
    each was drawn. ``names`` are those of the random generators.
    """

    slides: tuple[str, ...]
    genes: tuple[str, ...]
    slide_counts: np.ndarray
    gene_counts: np.ndarray
    names: tuple[str, ...]

    def of_slides(self, slides: Sequence[str]) -> np.ndarray:
        """(B, len(slides)) how often each of some slides was drawn."""
        return self.slide_counts[:, [self.slides.index(name) for name in slides]]

    def of_genes(self, genes: Sequence[str]) -> np.ndarray:
        """(B, len(genes)) how often each of some genes was drawn."""
        return self.gene_counts[:, [self.genes.index(name) for name in genes]]

    def of_seeds(self, n: int) -> np.ndarray:
        """(B, n) how often each of ``n`` seeds was drawn; methods with as many seeds have the same draws."""
        rng = numpy_generator(0, "bootstrap", "seeds", n, *self.names)
        return rng.multinomial(n, np.full(n, 1 / n), size=len(self.slide_counts))


def draw_resamples(
    patients: Mapping[str, str], genes: Sequence[str], *names: str, n_resamples: int = N_RESAMPLES
) -> Resamples:
    """Resamples of a dataset.

    Parameters
    ----------
    patients
        Slide -> patient of every slide that is tested.
    genes
        Genes of all folds, each once.
    names
        Names of the random generator: benchmark and dataset, so that no other dataset changes these draws.
    n_resamples
        How many.
    """
    rng = numpy_generator(0, "bootstrap", *names)
    slides = tuple(patients)
    own: dict[str, list[int]] = {}
    for place, slide in enumerate(slides):
        own.setdefault(patients[slide], []).append(place)
    drawn = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=n_resamples)
    slide_counts = np.zeros((n_resamples, len(slides)), dtype=np.int64)
    for times, places in zip(drawn.T, own.values(), strict=True):
        # Each time that a patient is drawn, its slides are drawn anew; all times add up to one multinomial.
        k = len(places)
        slide_counts[:, places] = rng.multinomial(times * k, np.full(k, 1 / k))
    gene_counts = rng.multinomial(len(genes), np.full(len(genes), 1 / len(genes)), size=n_resamples)
    return Resamples(slides, tuple(genes), slide_counts, gene_counts, names)


def resampled_scores(scores: GroupScores, resamples: Resamples) -> np.ndarray:
    """(B,) the score of a group on every resample; NaN where one holds no gene with a correlation."""
    total = np.zeros((len(scores.seeds), len(resamples.slide_counts)))
    weight = np.zeros_like(total)
    for fold in scores.folds:
        counts = resamples.of_slides(fold.slides)
        share = counts @ fold.n / fold.n.sum()  # (B,)
        by_seed = _mean_over_genes(fold.pooled(counts), resamples.of_genes(fold.genes))  # (R, B)
        defined = ~np.isnan(by_seed)
        total += np.where(defined, by_seed * share, 0.0)
        weight += np.where(defined, share, 0.0)
    with np.errstate(invalid="ignore"):  # 0 / 0 where nothing was drawn
        by_seed = total / weight
    seeds = resamples.of_seeds(len(scores.seeds))  # (B, R)
    return np.einsum("rb,br->b", by_seed, seeds) / len(scores.seeds)


def _mean_over_genes(r: np.ndarray, gene_counts: np.ndarray) -> np.ndarray:
    """(R, B) mean over the drawn genes, ``gene_counts`` (B, G), that have a correlation, of r (R, B, G)."""
    count = np.einsum("bg,rbg->rb", gene_counts, ~np.isnan(r))
    total = np.einsum("bg,rbg->rb", gene_counts, np.nan_to_num(r, nan=0.0))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def interval(draws: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Lower and upper end of the percentile interval of resampled values; NaN if none of them has a value."""
    known = draws[~np.isnan(draws)]
    if not len(known):
        return float("nan"), float("nan")
    lower, upper = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)
