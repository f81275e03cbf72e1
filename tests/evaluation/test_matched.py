"""The same test slides under two protocols: whole folds where they agree, else what they share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stflow.evaluation.bootstrap import draw_resamples
from stflow.evaluation.group_scores import GroupScores, groups_in
from stflow.evaluation.matched import Gap, gap, match

Make = Callable[..., pd.DataFrame]


def both(paper: pd.DataFrame, clean: pd.DataFrame) -> tuple[GroupScores, GroupScores]:
    one, other = groups_in(pd.concat([paper, clean]))
    return one, other


def test_folds_are_matched_by_their_slides_and_not_by_their_numbers(made_metrics: Make) -> None:
    r = np.random.default_rng(0).uniform(0, 1, (2, 1, 2, 3))
    slides = [["a", "b"], ["c", "d"]]
    paper, clean = both(
        made_metrics(r, protocol="paper", slides=slides),
        made_metrics(r[::-1], protocol="clean", slides=slides[::-1], folds=[5, 7]),
    )
    matched = match(paper, clean)
    assert matched is not None
    assert [fold.slides for fold in matched.paper.folds] == [("a", "b"), ("c", "d")]
    assert [(fold.fold, fold.slides) for fold in matched.clean.folds] == [(7, ("a", "b")), (5, ("c", "d"))]
    assert matched.paper.score == matched.clean.score == paper.score


def test_protocols_that_test_other_slides_are_scored_on_those_in_common(made_metrics: Make) -> None:
    paper, clean = both(
        made_metrics(np.array([0.1, 0.5])[:, None, None, None], protocol="paper", slides=[["a"], ["b"]]),
        made_metrics(np.array([0.3, 0.9, 0.0])[None, None, :, None], protocol="clean", slides=[["b", "a", "c"]]),
    )
    matched = match(paper, clean)
    assert matched is not None
    assert [fold.slides for fold in matched.clean.folds] == [("a",), ("b",)]
    np.testing.assert_allclose([fold.pearson[0, 0] for fold in matched.clean.folds], [0.9, 0.3])
    assert matched.paper.score == pytest.approx(0.3)
    assert matched.clean.score == pytest.approx(0.6)
    assert clean.score == pytest.approx(0.4), "the whole fold's, which is table 1's"


def test_protocols_without_a_slide_in_common_do_not_match(made_metrics: Make) -> None:
    r = np.full((1, 1, 1, 2), 0.5)
    assert match(*both(made_metrics(r, slides=[["a"]], protocol="paper"), made_metrics(r, slides=[["b"]]))) is None


def test_shared_genes_are_those_of_both_lists_in_a_fold(made_metrics: Make) -> None:
    r = np.array([[0.2, 0.4, 0.9], [0.2, 0.4, 0.6]])[:, None, None, :]
    paper, clean = both(
        made_metrics(r, protocol="paper", genes=[["A", "B", "C"]] * 2),
        made_metrics(r - 0.1, protocol="clean", genes=[["A", "B", "X"], ["X", "C", "A"]]),
    )
    matched = match(paper, clean)
    assert matched is not None
    assert [fold.genes for fold in matched.shared_paper.folds] == [("A", "B"), ("A", "C")]
    assert [fold.genes for fold in matched.shared_clean.folds] == [("A", "B"), ("C", "A")]
    np.testing.assert_allclose(matched.shared_clean.folds[1].pearson, [[0.3, 0.5]])


def test_a_gap_is_paired(made_metrics: Make) -> None:
    r = np.random.default_rng(1).uniform(0.2, 0.8, (4, 2, 1, 5))
    paper, clean = both(made_metrics(r + 0.05, protocol="paper"), made_metrics(r, protocol="clean"))
    resamples = draw_resamples({slide: slide for slide in paper.slides}, paper.genes, "x", n_resamples=200)
    found = gap(paper, clean, resamples)
    assert (found.value, found.lower, found.upper) == pytest.approx((0.05, 0.05, 0.05))
    nothing = gap(GroupScores(paper.group, (0,), (), 0), clean, resamples)
    assert np.isnan([nothing.value, nothing.lower, nothing.upper]).all()


def test_gaps_are_averaged_and_subtracted_draw_by_draw() -> None:
    one, other = Gap.of(0.3, np.array([0.1, 0.3, 0.5])), Gap.of(0.1, np.array([0.0, 0.2, 0.4]))
    np.testing.assert_allclose(one.minus(other).draws, 0.1)
    assert one.minus(other).value == pytest.approx(0.2)
    assert Gap.mean([one, other]).value == pytest.approx(0.2)
    np.testing.assert_allclose(Gap.mean([one, other]).draws, [0.05, 0.25, 0.45])
