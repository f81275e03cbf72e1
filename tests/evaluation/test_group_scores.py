"""Groups from long metrics: the table's own scores, parts of folds, and what cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stflow.errors import IntegrityError, SplitError
from stflow.evaluation.aggregate import run_scores, summarise
from stflow.evaluation.evaluate import COLUMNS, score
from stflow.evaluation.group_scores import FoldScores, groups_in, mean_defined, read_cohorts, read_groups
from stflow.evaluation.metrics import pearson
from stflow.evaluation.predictions import Predictions
from stflow.layout import Group

GROUP = Group("demo", "IDC", "classical", "stflow", "default", "clean")
SIZES = {"s1": 30, "s2": 17, "s3": 41}
GENES = ("A", "B", "FLAT", "C")


def predictions(fold: int, seed: int) -> Predictions:
    """Three slides of their own level and size; one gene is measured constant on s1, another is predicted constant."""
    rng, names = np.random.default_rng(fold), [name for name, n in SIZES.items() for _ in range(n)]
    level = np.array([{"s1": 0, "s2": 3, "s3": -1}[name] for name in names])[:, None]
    measured = (rng.normal(size=(len(names), len(GENES))) + level).astype(np.float32)
    predicted = (measured + np.random.default_rng((fold, seed)).normal(size=measured.shape)).astype(np.float32)
    measured[:30, 2], predicted[:, 3] = 1.5, 0.25
    return Predictions(
        run=GROUP.run(fold, seed), genes=GENES, slide=np.array(names), measured=measured, predicted=predicted,
        centres_px=np.zeros((len(names), 2)), status="ok", reason="", interval=None, layers={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def metrics() -> pd.DataFrame:
    rows = [row for fold in range(2) for seed in range(3) for row in score(predictions(fold, seed))]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_the_score_is_that_of_the_tables(metrics: pd.DataFrame) -> None:
    (group,) = groups_in(metrics)
    table = summarise(run_scores(metrics)).iloc[0]
    assert group.score == pytest.approx(table["mean"], rel=1e-14)
    assert group.by_seed.std() == pytest.approx(table["std"], rel=1e-12)
    assert (len(group.folds), group.seeds, group.n_failed) == (2, (0, 1, 2), 0)
    assert group.genes == GENES
    assert group.slides == tuple(SIZES)


@pytest.mark.parametrize("counts", [(1, 1, 1), (1, 0, 0), (0, 2, 5), (3, 3, 0)])
def test_r_of_drawn_slides_is_that_of_their_spots_in_one_heap(metrics: pd.DataFrame, counts: tuple[int, ...]) -> None:
    (group,) = groups_in(metrics)
    for fold in group.folds:
        found = fold.pooled(np.array([counts, (0, 0, 0)]))
        for seed in group.seeds:
            run = predictions(fold.fold, seed)
            drawn = np.concatenate(
                [np.flatnonzero(run.slide == name) for name, n in zip(SIZES, counts, strict=True) for _ in range(n)]
            )
            expected = pearson(run.measured[drawn], run.predicted[drawn])
            np.testing.assert_allclose(found[seed, 0], expected, atol=1e-12)
        assert np.isnan(found[:, 1]).all(), "a heap without spots"


def test_a_part_of_a_fold_pools_its_own_slides_alone(metrics: pd.DataFrame) -> None:
    (group,) = groups_in(metrics)
    fold, run = group.folds[0], predictions(0, 1)
    part = fold.part({"s3", "s1", "elsewhere"}, {"C", "A"})
    here = np.isin(run.slide, ["s1", "s3"])
    assert (part.slides, part.genes) == (("s1", "s3"), ("A", "C"))
    np.testing.assert_allclose(part.pearson[1], pearson(run.measured[here], run.predicted[here])[[0, 3]], atol=1e-12)
    np.testing.assert_array_equal(fold.part(fold.slides, fold.genes).pearson, fold.pearson)


def test_patients_are_scored_on_their_own_spots(made_metrics: Callable[..., pd.DataFrame]) -> None:
    r = np.array([[0.1, 0.3], [0.5, 0.7]])[:, None, :, None].repeat(3, axis=3)
    (group,) = groups_in(made_metrics(r))
    patients = {"f0s0": "P", "f0s1": "Q", "f1s0": "P", "f1s1": "P"}
    np.testing.assert_allclose(group.by_patient(patients), [np.mean([0.1, 0.6]), 0.3])
    np.testing.assert_allclose(group.by_fold, [0.2, 0.6])


def test_only_whole_seeds_count(made_metrics: Callable[..., pd.DataFrame]) -> None:
    r = np.random.default_rng(0).uniform(0, 1, (2, 3, 2, 4))
    (group,) = groups_in(made_metrics(r, failed=((1, 2),)))
    assert (group.seeds, group.n_failed) == ((0, 1), 1)
    assert group.score == pytest.approx(r[:, :2].mean())
    (none,) = groups_in(made_metrics(r, failed=tuple((0, seed) for seed in range(3))))
    assert (none.seeds, none.folds, none.n_failed) == ((), (), 3)


def test_metrics_without_moments_are_refused(made_metrics: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    made_metrics(np.full((1, 1, 1, 2), 0.3), moments=False).to_parquet(tmp_path / "old.parquet")
    with pytest.raises(IntegrityError, match=r"old\.parquet lacks means, variances.*run `evaluate`"):
        read_groups([tmp_path / "old.parquet"])


def test_a_mean_leaves_out_what_is_undefined() -> None:
    np.testing.assert_array_equal(mean_defined(np.array([[1.0, np.nan, 3.0], [np.nan] * 3])), [2.0, np.nan])


def test_slides_and_patients_come_from_the_record_of_folds(tmp_path: Path) -> None:
    (tmp_path / "demo.csv").write_text(
        "dataset,slide,patient,protocol,fold,role,select_by,reason\n"
        "IDC,a,A,paper,0,train,test,\nIDC,b,B,paper,0,test,test,\nIDC,b,B,clean,1,val,val,\nSkin,,,clean,,none,,why\n"
    )
    cohorts = read_cohorts([tmp_path / "demo.csv"])
    assert list(cohorts) == [("demo", "IDC")]
    cohort = cohorts["demo", "IDC"]
    assert cohort.patients == {"a": "A", "b": "B"}
    assert cohort.roles[("clean", 1, "val")] == ("b",)
    with pytest.raises(SplitError, match="Run `splits` for other"):
        read_cohorts([tmp_path / "other.csv"])


def test_fold_scores_hold_what_they_say() -> None:
    zero, one = np.zeros((2, 1)), np.ones((2, 1))
    moments = np.stack([zero, zero, one, one, np.array([[0.2], [0.6]])])[None]
    fold = FoldScores(0, ("a", "b"), ("G",), np.array([100, 300]), moments, np.array([[0.5]]))
    np.testing.assert_allclose(fold.pooled(np.array([[1, 1], [3, 1]]))[0, :, 0], [0.5, 0.4])
