"""Our numbers for the paper's tables: from long metrics to a mean and a spread over seeds, a key."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

from stflow.evaluation.aggregate import GROUP, read_metrics, run_scores, seed_scores
from stflow.layout import TILES
from stflow.report.paper.grid import AVERAGE, Key

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Score:
    """Mean over seeds, population standard deviation over them (NaN with one), how many, and why it is not a number."""

    mean: float
    std: float
    n_seeds: int
    reason: str = ""


@dataclass
class Scores:
    """All numbers of one protocol: (benchmark, dataset, encoder, method, variant, gene) -> seed -> score."""

    seeds: dict[tuple[str, ...], dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    failed: dict[tuple[str, ...], str] = field(default_factory=dict)

    def get(self, key: Key, *, any_encoder: bool = False) -> Score | None:
        """The number of a key; None if nothing of it was run.

        With ``any_encoder`` a method that ran on one other encoder alone is taken as it ran.
        """
        if key.dataset == AVERAGE:
            return self._average(key, any_encoder)
        found = self._seeds(key, any_encoder)
        if found is None:
            return None
        name, seeds = found
        return _score(seeds.values(), self.failed.get(name, ""))

    def encoders(self, method: str) -> dict[str, list[str]]:
        """Benchmark -> the encoders that a method's default ran on, in their order."""
        found: dict[str, list[str]] = {}
        for benchmark, _, encoder, name, variant, _ in self.seeds:
            if (name, variant) == (method, "default") and encoder not in found.setdefault(benchmark, []):
                found[benchmark].append(encoder)
        return found

    def datasets(self) -> dict[str, list[str]]:
        """Benchmark -> its datasets that were run, in their order."""
        found: dict[str, list[str]] = {}
        for benchmark, dataset, *_ in self.seeds:
            if dataset not in found.setdefault(benchmark, []):
                found[benchmark].append(dataset)
        return found

    def _seeds(self, key: Key, any_encoder: bool) -> tuple[tuple[str, ...], dict[int, float]] | None:
        name = (key.benchmark, key.dataset, key.encoder, key.method, key.variant, key.gene)
        if name in self.seeds:
            return name, self.seeds[name]
        others = [other for other in self.seeds if (other[:2], other[3:]) == (name[:2], name[3:])]
        if len(others) == 1 and (any_encoder or others[0][2] == TILES):
            return others[0], self.seeds[others[0]]
        return None

    def _average(self, key: Key, any_encoder: bool) -> Score | None:
        """The mean over datasets, seed by seed: of the seeds that all datasets have."""
        parts = [self._seeds(replace(key, dataset=name, over=()), any_encoder) for name in key.over]
        found = [part for part in parts if part is not None]
        if not found:
            return None
        if len(found) < len(parts):
            return Score(math.nan, math.nan, 0, f"{len(found)} of {len(parts)} datasets run")
        seeds = sorted(set.intersection(*(set(part[1]) for part in found)))
        reasons = [self.failed[name] for name, _ in found if name in self.failed]
        return _score([fmean(part[1][seed] for part in found) for seed in seeds], reasons[0] if reasons else "")


def _score(values: Iterable[float], reason: str) -> Score:
    """Over the seeds that have a number."""
    numbers = [value for value in values if not math.isnan(value)]
    if not numbers:
        return Score(math.nan, math.nan, 0, reason or "undefined")
    return Score(fmean(numbers), pstdev(numbers) if len(numbers) > 1 else math.nan, len(numbers))


def read_scores(metrics: Sequence[Path], genes: Iterable[str] = ()) -> dict[str, Scores]:
    """Protocol -> numbers: pooled Pearson, its mean over genes, and of each of ``genes`` alone.

    Raises
    ------
    IntegrityError
        A metrics file that is missing or cut short.
    """
    table = read_metrics(metrics, ["pearson"], [])
    found: dict[str, Scores] = {}
    _add(found, run_scores(table), "")
    for gene in dict.fromkeys(genes):
        _add(found, run_scores(table, genes=[gene]), gene)
    return found


def _add(found: dict[str, Scores], runs: pd.DataFrame, gene: str) -> None:
    names = [name for name in GROUP if name != "protocol"]
    for row in seed_scores(runs).to_dict("records"):
        scores = found.setdefault(row["protocol"], Scores())
        scores.seeds[(*(str(row[name]) for name in names), gene)][int(row["seed"])] = float(row["score"])
    for row in runs[runs["status"] != "ok"].to_dict("records"):
        name = (*(str(row[part]) for part in names), gene)
        found[row["protocol"]].failed[name] = f"failed: {row['reason'] or 'no reason recorded'}"
