"""The paper's score: genes, then folds, then seeds; what is left out is counted."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stflow.errors import IntegrityError
from stflow.evaluation.aggregate import (
    AVERAGE,
    average_datasets,
    failures,
    read_metrics,
    run_scores,
    seed_scores,
    summarise,
)
from stflow.evaluation.evaluate import COLUMNS, POOLED


def long(values: np.ndarray, *, dataset: str = "IDC", method: str = "stflow", failed: tuple = ()) -> pd.DataFrame:
    """Long metrics of (folds, seeds, genes) Pearson values; ``failed`` holds (fold, seed) pairs."""
    F, S, G = values.shape
    rows = []
    for fold, seed, gene in product(range(F), range(S), range(G)):
        bad = (fold, seed) in failed
        base = {
            "benchmark": "demo", "dataset": dataset, "encoder": "classical", "method": method, "variant": "default",
            "protocol": "clean", "fold": fold, "seed": seed, "gene": f"G{gene}", "n_spots": 10,
            "status": "failed" if bad else "ok", "reason": "out of memory" if bad else "",
        }  # fmt: skip
        value = np.nan if bad else values[fold, seed, gene]
        rows.append({**base, "slide": POOLED, "metric": "pearson", "value": value})
        rows.append({**base, "slide": "s1", "metric": "pearson", "value": -9.0})
        rows.append({**base, "slide": POOLED, "metric": "mse", "value": 99.0})
    return pd.DataFrame(rows)[list(COLUMNS)]


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (2, 3, 4))


def one(table: pd.DataFrame) -> pd.Series:
    assert len(table) == 1
    return table.iloc[0]


def test_genes_then_folds_then_seeds(values: np.ndarray) -> None:
    row = one(summarise(run_scores(long(values))))
    by_seed = values.mean(axis=2).mean(axis=0)
    assert row["mean"] == pytest.approx(by_seed.mean())
    assert row["std"] == pytest.approx(np.std(by_seed))  # ddof 0
    assert (row["n_folds"], row["n_seeds"], row["n_genes"], row["n_undefined"], row["n_failed"]) == (2, 3, 4, 0, 0)
    assert row["n_spots"] == 20


def test_other_metrics_and_genes_can_be_asked_for(values: np.ndarray) -> None:
    assert one(summarise(run_scores(long(values), "mse")))["mean"] == 99
    row = one(summarise(run_scores(long(values), genes=["G1", "G3", "absent"])))
    assert row["mean"] == pytest.approx(values[:, :, [1, 3]].mean())
    assert row["n_genes"] == 2
    assert run_scores(long(values), genes=["absent"]).empty


def test_by_slide_is_the_mean_over_slides_then_genes(values: np.ndarray) -> None:
    table = long(values)
    slides = table[table["slide"] == "s1"]
    second = slides.assign(slide="s2", value=slides["value"] + np.tile(np.arange(4.0), 6), n_spots=20)
    second.loc[second["gene"] == "G3", "value"] = np.nan  # measured constant on the second slide alone
    second.loc[second["gene"] == "G0", "value"] = np.nan
    first = slides.assign(value=slides["value"].mask(slides["gene"] == "G0"))  # and this one on both
    runs = run_scores(pd.concat([table[table["slide"] == POOLED], first, second]), by_slide=True)
    row = one(summarise(runs))
    assert row["mean"] == pytest.approx(np.mean([-9 + 1 / 2, -9 + 2 / 2, -9]))
    assert (row["n_genes"], row["n_undefined"], row["n_spots"]) == (4, 2, 60)


def test_an_undefined_gene_is_left_out_and_counted_once_a_fold(values: np.ndarray) -> None:
    values[1, :, 2] = np.nan
    row = one(summarise(run_scores(long(values))))
    assert row["n_undefined"] == 1
    assert row["mean"] == pytest.approx(np.nanmean(values, axis=2).mean(axis=0).mean())


def test_one_seed_has_no_spread(values: np.ndarray) -> None:
    row = one(summarise(run_scores(long(values[:, :1]))))
    assert row["n_seeds"] == 1
    assert np.isnan(row["std"])


def test_a_seed_with_a_failed_fold_does_not_count(values: np.ndarray) -> None:
    runs = run_scores(long(values, failed=((1, 2),)))
    row = one(summarise(runs))
    assert row["mean"] == pytest.approx(values[:, :2].mean(axis=2).mean(axis=0).mean())
    assert (row["n_seeds"], row["n_failed"], row["n_undefined"]) == (2, 1, 0)
    assert failures(runs) == ["demo/IDC/classical/stflow/default/clean/fold1/seed2: out of memory"]


def test_all_failed_is_nan_not_zero(values: np.ndarray) -> None:
    failed = tuple(product(range(2), range(3)))
    row = one(summarise(run_scores(long(values, failed=failed))))
    assert np.isnan(row["mean"])
    assert (row["n_seeds"], row["n_failed"]) == (0, 6)


def test_the_average_is_taken_seed_by_seed(values: np.ndarray) -> None:
    other = np.random.default_rng(1).uniform(-1, 1, (3, 3, 5))
    runs = run_scores(pd.concat([long(values), long(other, dataset="SKCM")], ignore_index=True))
    row = one(average_datasets(runs))
    by_seed = (values.mean(axis=2).mean(axis=0) + other.mean(axis=2).mean(axis=0)) / 2
    assert row["dataset"] == AVERAGE
    assert row["mean"] == pytest.approx(by_seed.mean())
    assert row["std"] == pytest.approx(np.std(by_seed))
    assert (row["n_folds"], row["n_spots"]) == (5, 50)


def test_the_average_needs_every_dataset(values: np.ndarray) -> None:
    runs = run_scores(
        pd.concat(
            [long(values), long(values, dataset="SKCM"), long(values, method="ridge")],  # ridge lacks SKCM
            ignore_index=True,
        )
    )
    table = average_datasets(runs).set_index("method")
    assert np.isfinite(table.loc["stflow", "mean"])
    assert np.isnan(table.loc["ridge", "mean"])


def test_one_dataset_has_no_average(values: np.ndarray) -> None:
    assert average_datasets(run_scores(long(values))).empty


def test_seed_scores_do_not_depend_on_row_order(values: np.ndarray) -> None:
    table = long(values)
    mixed = table.sample(frac=1, random_state=0)
    one_way, other_way = (
        seed_scores(run_scores(frame)).sort_values("seed")["score"].to_numpy() for frame in (table, mixed)
    )
    np.testing.assert_allclose(one_way, other_way, rtol=1e-12)


def test_only_the_rows_that_are_wanted_are_read(tmp_path: Path, values: np.ndarray) -> None:
    path = tmp_path / "m.parquet"
    table = long(values)
    table.to_parquet(path)
    is_pooled, n = table["slide"] == POOLED, values.size
    pd.testing.assert_frame_equal(read_metrics([path]), table)
    found = read_metrics([path, path], pooled=["mse"], by_slide=[])
    assert len(found) == 2 * n
    assert set(zip(found["slide"], found["metric"], strict=True)) == {(POOLED, "mse")}
    found = read_metrics([path], pooled=["pearson"], by_slide=["pearson"])
    assert len(found) == 2 * n
    assert len(read_metrics([path], by_slide=[])) == is_pooled.sum()


def test_metrics_files_cut_short_missing_or_strange_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    path = tmp_path / "m.parquet"
    with pytest.raises(IntegrityError, match="Delete it and run `evaluate`"):
        read_metrics([path])
    long(values).to_parquet(path)
    assert len(read_metrics([path, path])) == 2 * len(long(values))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(IntegrityError, match="not a whole metrics file"):
        read_metrics([path])
    long(values).drop(columns="reason").to_parquet(path)
    with pytest.raises(IntegrityError, match="has the columns"):
        read_metrics([path])
