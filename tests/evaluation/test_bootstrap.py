"""The hierarchical bootstrap: the table's score, the ordinary bootstrap where there is one level, its coverage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from stflow.evaluation.bootstrap import Resamples, draw_resamples, interval, resampled_scores
from stflow.evaluation.group_scores import FoldScores, GroupScores, groups_in
from stflow.layout import Group

Make = Callable[..., pd.DataFrame]


def once(group: GroupScores) -> Resamples:
    """A resample in which everything is drawn once."""
    one = np.ones((1, 1), dtype=int)
    return Resamples(
        group.slides, group.genes, one.repeat(len(group.slides), 1), one.repeat(len(group.genes), 1), ("once",)
    )


def test_without_resampling_the_score_is_the_tables(made_metrics: Make) -> None:
    r = np.random.default_rng(0).uniform(-1, 1, (3, 1, 4, 5))
    r[1, :, :, 2] = np.nan  # measured constant
    (group,) = groups_in(made_metrics(r))
    assert resampled_scores(group, once(group)) == pytest.approx([group.score], abs=1e-14)
    assert np.isnan(group.folds[1].pearson).any()


def test_one_level_is_the_ordinary_bootstrap(made_metrics: Make) -> None:
    r = np.random.default_rng(1).uniform(0.1, 0.9, (9, 1, 1, 1))
    (group,) = groups_in(made_metrics(r))
    patients = {slide: slide for slide in group.slides}
    draws = resampled_scores(group, draw_resamples(patients, group.genes, "flat", n_resamples=20_000))
    known = bootstrap((r.ravel(),), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0))
    assert draws.std() == pytest.approx(r.std() / 3, rel=0.02)  # of a mean of nine
    assert interval(draws) == pytest.approx(tuple(known.confidence_interval), abs=0.01)


def test_folds_of_many_patients_count_by_what_was_drawn(made_metrics: Make) -> None:
    # Equal folds of equal slides: the score is the mean over all slides, and so is that of every resample.
    r = np.random.default_rng(2).uniform(0.1, 0.9, (3, 1, 4, 1))
    (group,) = groups_in(made_metrics(r))
    patients = {slide: slide for slide in group.slides}
    resamples = draw_resamples(patients, group.genes, "folds", n_resamples=500)
    np.testing.assert_allclose(resampled_scores(group, resamples), resamples.slide_counts @ r.ravel() / 12)


def test_a_drawn_patient_brings_as_many_slides_as_it_has() -> None:
    patients = {"a1": "A", "b1": "B", "a2": "A", "a3": "A", "c1": "C"}
    resamples = draw_resamples(patients, ["G1", "G2"], "x", n_resamples=4000)
    counts = {name: resamples.of_slides([name])[:, 0] for name in patients}
    of_a = counts["a1"] + counts["a2"] + counts["a3"]
    assert (of_a % 3 == 0).all()
    assert (of_a // 3 + counts["b1"] + counts["c1"] == 3).all()
    assert set(of_a // 3) == {0, 1, 2, 3}
    assert np.mean(counts["a2"]) == pytest.approx(1, abs=0.05)
    assert (resamples.gene_counts.sum(axis=1) == 2).all()
    assert (resamples.of_seeds(3).sum(axis=1) == 3).all()


def test_resamples_come_from_names_and_are_the_same_again() -> None:
    patients = {"a": "A", "b": "B", "c": "C"}
    one, again, other = (draw_resamples(patients, ["G"], name, n_resamples=50) for name in ("IDC", "IDC", "SKCM"))
    np.testing.assert_array_equal(one.slide_counts, again.slide_counts)
    np.testing.assert_array_equal(one.of_seeds(3), again.of_seeds(3))
    assert (one.slide_counts != other.slide_counts).any()
    assert (one.of_seeds(3) != other.of_seeds(3)).any()


def test_methods_share_their_resamples(made_metrics: Make) -> None:
    r = np.random.default_rng(3).uniform(0.1, 0.5, (4, 2, 1, 6))
    groups = groups_in(pd.concat([made_metrics(r, method="a"), made_metrics(r + 0.2, method="b")]))
    patients = {slide: slide for slide in groups[0].slides}
    a, b = (resampled_scores(group, draw_resamples(patients, group.genes, "IDC")) for group in groups)
    assert a.std() > 0.01
    assert interval(b - a) == pytest.approx((0.2, 0.2), abs=1e-12)


def test_a_resample_without_a_defined_gene_has_no_score(made_metrics: Make) -> None:
    r = np.full((2, 1, 1, 2), 0.4)
    r[0, ..., 0] = r[1, ..., 1] = np.nan
    (group,) = groups_in(made_metrics(r))
    patients = {slide: slide for slide in group.slides}
    draws = resampled_scores(group, draw_resamples(patients, group.genes, "x", n_resamples=400))
    assert np.isnan(draws).any(), "fold 0 twice with gene 0 twice"
    np.testing.assert_allclose(draws[~np.isnan(draws)], 0.4)
    assert interval(draws) == pytest.approx((0.4, 0.4))
    assert np.isnan(interval(np.full(3, np.nan))).all()


def normal_group(rng: np.random.Generator, n_folds: int, n_patients: int, n_genes: int) -> GroupScores:
    """r = 0.4 + patient + gene + seed + rest, on one slide a patient."""
    genes, seeds = rng.normal(0, 0.1, n_genes), rng.normal(0, 0.01, (2, 1, 1))
    folds = []
    for fold in range(n_folds):
        shape = (2, n_patients, n_genes)
        r = 0.4 + rng.normal(0, 0.05, (n_patients, 1)) + genes + seeds + rng.normal(0, 0.05, shape)
        moments = np.stack([0 * r, 0 * r, 0 * r + 1, 0 * r + 1, r], axis=1)
        names = tuple(f"f{fold}p{patient}" for patient in range(n_patients))
        columns = tuple(f"G{gene}" for gene in range(n_genes))
        folds.append(FoldScores(fold, names, columns, np.full(n_patients, 300), moments, r.mean(axis=1)))
    return GroupScores(Group("made", "made", "none", "made", "default", "clean"), (0, 1), tuple(folds), 0)


def coverage(n_rounds: int, n_folds: int, n_patients: int, n_genes: int) -> float:
    hits = []
    for number in range(n_rounds):
        group = normal_group(np.random.default_rng(number), n_folds, n_patients, n_genes)
        patients = {slide: slide for slide in group.slides}
        lower, upper = interval(
            resampled_scores(group, draw_resamples(patients, group.genes, str(number), n_resamples=200))
        )
        hits.append(lower <= 0.4 <= upper)
    return float(np.mean(hits))


def test_intervals_hold_the_truth_as_often_as_they_say_with_many_patients_and_less_often_with_two() -> None:
    many, few = coverage(120, 3, 8, 20), coverage(120, 2, 1, 20)
    # 0.95 within three standard errors of 120 rounds, and one hundredth for the few resamples.
    assert 0.95 - 3 * 0.0199 - 0.01 < many <= 1
    assert few < 0.90, "two patients make an interval that is too narrow; docs/statistics.md says so"
