"""What the statistics stand on: of each group, pooled r by fold, seed and gene, and the moments that r is made of.

A group's metrics file has, for every test slide, the moments of the measured and the predicted values of its spots.
From these the pooled Pearson correlation of any multiset of slides follows without the predictions
(`stflow.evaluation.moments`), which is what a bootstrap over patients needs, and what compares two protocols on
slides that both test.

Only whole seeds are kept: those whose runs have a score in every fold, as in table 1.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stflow.errors import IntegrityError, SplitError
from stflow.evaluation.aggregate import RUN_NAME, read_metrics
from stflow.evaluation.evaluate import POOLED
from stflow.evaluation.moments import MOMENTS, pooled_pearson
from stflow.io import reading
from stflow.layout import Group

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class FoldScores:
    """One fold of a group.

    ``slides`` (S) and ``genes`` (G) are names; ``n`` (S,) spots a slide; ``moments`` (R, 5, S, G) by seed, in the order
    of `MOMENTS`; ``pearson`` (R, G) pooled over the fold's test spots, NaN where a gene was measured constant.
    """

    fold: int
    slides: tuple[str, ...]
    genes: tuple[str, ...]
    n: np.ndarray
    moments: np.ndarray
    pearson: np.ndarray

    def pooled(self, counts: np.ndarray) -> np.ndarray:
        """(R, B, G) pooled r by seed of B heaps of slides; ``counts`` (B, S) says how often each slide is in a heap.

        NaN for a heap without spots, and where a gene is measured constant over it, as `pooled_pearson` has it.
        """
        found = np.empty((len(self.moments), len(counts), len(self.genes)))
        for r, moments in zip(found, self.moments, strict=True):
            # A gene that varies on every slide varies in every heap, and then r takes five products of matrices. The
            # others need to be looked at value by value.
            vary = np.asarray((moments[2:4] > 0).all(axis=(0, 1)))  # (G,)
            r[:, vary] = _heaps(self.n, moments[..., vary], counts)
            mean_y, mean_p, var_y, var_p, cov = moments[..., ~vary]
            r[:, ~vary] = pooled_pearson(self.n, mean_y, mean_p, var_y, var_p, cov, counts)
        return found

    def part(self, slides: Collection[str], genes: Collection[str]) -> FoldScores:
        """The same fold on some of its slides and genes, r pooled over those slides."""
        s = [index for index, name in enumerate(self.slides) if name in slides]
        g = [index for index, name in enumerate(self.genes) if name in genes]
        few = replace(
            self,
            slides=tuple(self.slides[index] for index in s),
            genes=tuple(self.genes[index] for index in g),
            n=self.n[s],
            moments=self.moments[:, :, s][..., g],
            pearson=self.pearson[:, g],
        )
        return few if len(s) == len(self.slides) else replace(few, pearson=few.pooled(np.ones((1, len(s))))[:, 0])


@dataclass(frozen=True, eq=False)
class GroupScores:
    """All folds of a group; no seed is whole where ``seeds`` is empty, and then there is no fold. ``failed`` counts the
    runs without a score."""

    group: Group
    seeds: tuple[int, ...]
    folds: tuple[FoldScores, ...]
    n_failed: int

    @property
    def by_seed(self) -> np.ndarray:
        """(R,) mean over folds of the mean over genes, as `stflow.evaluation.aggregate.seed_scores`."""
        return np.mean([mean_defined(fold.pearson) for fold in self.folds], axis=0)

    @property
    def by_fold(self) -> np.ndarray:
        """(F,) mean over seeds of the mean over genes."""
        return np.array([mean_defined(fold.pearson).mean() for fold in self.folds])

    @property
    def score(self) -> float:
        """The group's score in table 1."""
        return float(self.by_seed.mean())

    @property
    def slides(self) -> tuple[str, ...]:
        """Test slides of all folds, each once."""
        return tuple(dict.fromkeys(slide for fold in self.folds for slide in fold.slides))

    @property
    def genes(self) -> tuple[str, ...]:
        """Genes of all folds, each once."""
        return tuple(dict.fromkeys(gene for fold in self.folds for gene in fold.genes))

    def by_patient(self, patients: Mapping[str, str]) -> np.ndarray:
        """(P,) mean over seeds and genes of r over one patient's test spots; over folds, if several test the patient.

        Parameters
        ----------
        patients
            Slide -> patient.
        """
        found: dict[str, list[float]] = {}
        for fold in self.folds:
            own: dict[str, list[str]] = {}
            for slide in fold.slides:
                own.setdefault(patients[slide], []).append(slide)
            for patient, slides in own.items():
                score = mean_defined(fold.part(slides, fold.genes).pearson).mean()
                found.setdefault(patient, []).append(float(score))
        return np.array([np.mean(scores) for scores in found.values()])


def _heaps(n: np.ndarray, moments: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(B, G) `pooled_pearson` for genes that vary on every slide: the same sums as products of matrices."""
    spots = counts * n
    with np.errstate(invalid="ignore"):  # 0 / 0 in a heap without spots
        share = spots / spots.sum(axis=1, keepdims=True)  # (B, S)
    mean_y, mean_p, var_y, var_p, cov = moments
    # Means count from the middle of the slides', so that little is lost where squares are subtracted.
    y, p = mean_y - mean_y.mean(axis=0), mean_p - mean_p.mean(axis=0)
    m_y, m_p = share @ y, share @ p
    v_y, v_p = share @ (var_y + y**2) - m_y**2, share @ (var_p + p**2) - m_p**2
    return np.asarray(np.clip((share @ (cov + y * p) - m_y * m_p) / np.sqrt(v_y * v_p), -1, 1))


def mean_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def read_groups(paths: Iterable[Path]) -> list[GroupScores]:
    """The groups of some metrics files, one file at a time in memory.

    Raises
    ------
    IntegrityError
        A file that is missing, cut short, or made before moments were kept.
    """
    return [group for path in paths for group in groups_in(read_metrics([path]), str(path))]


def groups_in(metrics: pd.DataFrame, where: str = "these metrics") -> list[GroupScores]:
    """The groups of long metrics; ``where`` names them in an error."""
    rows = metrics[metrics["metric"].isin(["pearson", *MOMENTS])]
    found = rows.groupby(RUN_NAME, sort=False, observed=True)
    return [_group(Group(*map(str, name)), part, where) for name, part in found]


def _group(group: Group, rows: pd.DataFrame, where: str) -> GroupScores:
    pooled = rows[(rows["metric"] == "pearson") & (rows["slide"] == POOLED)]
    # A run's score is NaN if the run failed, or if no gene of the fold has a correlation.
    runs = pooled.groupby(["fold", "seed"], sort=True)["value"].count().unstack("seed", fill_value=0)
    seeds = tuple(int(seed) for seed in runs.columns[(runs > 0).all(axis=0)])
    n_failed = len(pooled.loc[pooled["status"] != "ok", ["fold", "seed"]].drop_duplicates())
    whole = rows[rows["seed"].isin(seeds)]
    folds = tuple(
        _fold(fold, whole[whole["fold"] == fold], seeds, where) for fold in sorted(map(int, whole["fold"].unique()))
    )
    return GroupScores(group, seeds, folds, n_failed)


def _fold(fold: int, rows: pd.DataFrame, seeds: Sequence[int], where: str) -> FoldScores:
    """One fold's rows as arrays; slides and genes keep the order of the file."""
    by_slide = rows[(rows["slide"] != POOLED) & rows["metric"].isin(MOMENTS)]
    pooled = rows[(rows["slide"] == POOLED) & (rows["metric"] == "pearson")]
    genes, slides = pooled["gene"].unique(), by_slide["slide"].unique()
    moments = np.full((len(seeds), len(MOMENTS), len(slides), len(genes)), np.nan)
    place = (
        _places(by_slide["seed"], seeds), _places(by_slide["metric"], MOMENTS),
        _places(by_slide["slide"], slides), _places(by_slide["gene"], genes),
    )  # fmt: skip
    moments[place] = by_slide["value"]
    if not len(slides) or np.isnan(moments).any():
        raise IntegrityError(
            f"{where} lacks means, variances and covariances by slide of fold {fold}. Delete it and run `evaluate`."
        )
    pearson = np.full((len(seeds), len(genes)), np.nan)
    pearson[_places(pooled["seed"], seeds), _places(pooled["gene"], genes)] = pooled["value"]
    n = by_slide.drop_duplicates("slide")["n_spots"].to_numpy()
    return FoldScores(fold, tuple(map(str, slides)), tuple(map(str, genes)), n, moments, pearson)


def _places(values: pd.Series, names: Sequence[int] | Sequence[str] | np.ndarray) -> np.ndarray:
    """(N,) where each value stands among ``names``."""
    import pandas as pd

    return np.asarray(pd.Categorical(values, categories=list(names)).codes)


@dataclass(frozen=True, slots=True)
class Cohort:
    """The slides of one dataset: slide -> patient, and (protocol, fold, role) -> slides, as they were run."""

    patients: Mapping[str, str]
    roles: Mapping[tuple[str, int, str], tuple[str, ...]]


def read_cohorts(records: Iterable[Path]) -> dict[tuple[str, str], Cohort]:
    """(benchmark, dataset) -> its slides, of some `stflow.data.split_record` files; a benchmark is its file's name.

    Raises
    ------
    SplitError
        A file that is missing.
    """
    patients: dict[tuple[str, str], dict[str, str]] = {}
    roles: dict[tuple[str, str], dict[tuple[str, int, str], list[str]]] = {}
    for path in map(Path, records):
        if not path.is_file():
            raise SplitError(f"{path} is missing. Run `splits` for {path.stem}.")
        with path.open(newline="", encoding="utf-8") as handle, reading(path, "Run `splits` again."):
            for row in csv.DictReader(handle):
                if row["role"] == "none":
                    continue
                key = path.stem, row["dataset"]
                patients.setdefault(key, {})[row["slide"]] = row["patient"]
                role = row["protocol"], int(row["fold"]), row["role"]
                roles.setdefault(key, {}).setdefault(role, []).append(row["slide"])
    return {key: Cohort(of, {role: tuple(names) for role, names in roles[key].items()}) for key, of in patients.items()}
