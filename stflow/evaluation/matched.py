"""The same test slides under two protocols, so that the protocols differ and the slides do not.

Folds are matched by their test slides: for each fold of one protocol and each of the other, the slides that both test
are one part. Where both protocols have the same folds, numbered alike or not, the parts are the folds; where one tests
more or other slides, as with STImage-1K4M, the parts are what they share, and r is pooled over those slides alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stflow.evaluation.bootstrap import Resamples, interval, resampled_scores
from stflow.evaluation.group_scores import FoldScores, GroupScores


@dataclass(frozen=True, eq=False)
class Matched:
    """A method under both protocols on the slides that both test, each with its own genes and with those in common.

    ``shared_paper`` and ``shared_clean`` have no folds where the two lists have no gene in common.
    """

    paper: GroupScores
    clean: GroupScores
    shared_paper: GroupScores
    shared_clean: GroupScores


@dataclass(frozen=True, slots=True)
class Gap:
    """A difference of scores, its interval, and its resampled values ``draws`` (B,)."""

    value: float
    lower: float
    upper: float
    draws: np.ndarray

    @classmethod
    def of(cls, value: float, draws: np.ndarray) -> Gap:
        """With the percentile interval of its draws."""
        return cls(value, *interval(draws), draws)

    @classmethod
    def mean(cls, gaps: Sequence[Gap]) -> Gap:
        """Mean of several; those of one dataset share their draws."""
        return cls.of(float(np.mean([gap.value for gap in gaps])), np.mean([gap.draws for gap in gaps], axis=0))

    def minus(self, other: Gap) -> Gap:
        """The difference of two, draw by draw."""
        return Gap.of(self.value - other.value, self.draws - other.draws)


def match(paper: GroupScores, clean: GroupScores) -> Matched | None:
    """The parts that both protocols test; None if they test no slide in common."""
    parts: list[tuple[FoldScores, FoldScores]] = []
    shared: list[tuple[FoldScores, FoldScores]] = []
    for one in paper.folds:
        for other in clean.folds:
            slides = set(one.slides) & set(other.slides)
            if not slides:
                continue
            parts.append((one.part(slides, one.genes), other.part(slides, other.genes)))
            genes = set(one.genes) & set(other.genes)
            if genes:
                shared.append((one.part(slides, genes), other.part(slides, genes)))
    if not parts:
        return None
    return Matched(
        replace(paper, folds=tuple(a for a, _ in parts)),
        replace(clean, folds=tuple(b for _, b in parts)),
        replace(paper, folds=tuple(a for a, _ in shared)),
        replace(clean, folds=tuple(b for _, b in shared)),
    )


def gap(paper: GroupScores, clean: GroupScores, resamples: Resamples) -> Gap:
    """Score under the paper's protocol minus that under the clean one, on the same resamples; NaN without folds."""
    if not paper.folds:
        return Gap.of(float("nan"), np.full(len(resamples.slide_counts), np.nan))
    draws = resampled_scores(paper, resamples) - resampled_scores(clean, resamples)
    return Gap.of(paper.score - clean.score, draws)
