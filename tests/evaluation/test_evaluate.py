"""The long metrics file: complete, checked, the same bytes again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from stflow.errors import IntegrityError
from stflow.evaluation.aggregate import read_metrics
from stflow.evaluation.ensemble import summarise
from stflow.evaluation.evaluate import COLUMNS, POOLED, evaluate_group
from stflow.evaluation.metrics import METRICS, pearson
from stflow.evaluation.moments import MOMENTS, pooled_pearson
from stflow.evaluation.predictions import read_predictions
from stflow.layout import Group, Layout

GROUP = Group("demo", "IDC", "classical", "ridge", "default", "clean")
GENES = ("ERBB2", "GATA3", "VWF")
SLIDES = ("s1", "s2")
N = 30


def write_run(
    results: Path,
    fold: int,
    seed: int,
    *,
    status: str = "ok",
    reason: str = "",
    n_spots: int | None = None,
    sampled: bool = False,
) -> Path:
    """A predictions file as ``predict`` writes it, two test slides; ``sampled``: of twenty draws."""
    rng = np.random.default_rng((fold, seed))
    names = [slide for slide in SLIDES for _ in range(N)]
    measured = np.log1p(np.random.default_rng(fold).poisson(2.0, (len(names), len(GENES)))).astype(np.float32)
    predicted = (0.5 * measured + rng.normal(size=measured.shape)).astype(np.float32)
    run = GROUP.run(fold, seed)
    layers = {}
    if sampled:
        draws = predicted + rng.normal(size=(20, *predicted.shape)).astype(np.float32)
        layers = summarise(draws, measured, 0.9)
        predicted = layers.pop("mean")
    if status != "ok":
        layers = {name: np.full_like(predicted, np.nan) for name in layers}
        predicted = np.full_like(predicted, np.nan)
    adata = anndata.AnnData(
        X=predicted,
        obs=pd.DataFrame(
            {"slide": pd.Categorical(names), "patient": names, "barcode": [f"b{i}" for i in range(len(names))]},
            index=[f"{name}_b{i}" for i, name in enumerate(names)],
        ),
        var=pd.DataFrame(index=list(GENES)),
        layers={"measured": measured, **layers},
        obsm={"spatial": rng.uniform(0, 1000, (len(names), 2))},
        uns={
            "stflow": {
                "schema": 1,
                "run": str(run),
                "status": status,
                "reason": reason,
                "n_spots": len(names) if n_spots is None else n_spots,
                **({"samples": 20, "interval": 0.9} if sampled else {"samples": 1}),
            }
        },
    )
    path = Layout(results).predictions(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    adata.write_h5ad(path)
    return path


def evaluate(results: Path, folds: list[int], seeds: list[int]) -> pd.DataFrame:
    out = Layout(results).metrics(GROUP)
    evaluate_group(results, str(GROUP), folds, seeds, out)
    return read_metrics([out])


def test_one_row_a_gene_slide_fold_seed_and_metric(tmp_path: Path) -> None:
    for fold in (0, 1):
        for seed in (0, 1):
            write_run(tmp_path, fold, seed)
    table = evaluate(tmp_path, [0, 1], [0, 1])
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 2 * 2 * 3 * len(GENES) * len([*METRICS, *MOMENTS])
    key = ["fold", "seed", "slide", "gene", "metric"]
    assert not table.duplicated(key).any()
    assert set(table["slide"]) == {POOLED, *SLIDES}
    assert set(table["n_spots"][table["slide"] == POOLED]) == {2 * N}
    assert (table["status"] == "ok").all()


def test_values_are_the_metrics_of_the_file(tmp_path: Path) -> None:
    found = read_predictions(write_run(tmp_path, 0, 0))
    table = evaluate(tmp_path, [0], [0]).query("metric == 'pearson'").set_index(["slide", "gene"])["value"]
    pooled = pearson(found.measured, found.predicted)
    second = pearson(found.measured[N:], found.predicted[N:])
    for gene, all_spots, of_slide in zip(GENES, pooled, second, strict=True):
        assert table[POOLED, gene] == all_spots
        assert table["s2", gene] == of_slide


def test_slides_moments_give_the_pooled_pearson_that_the_file_holds(tmp_path: Path) -> None:
    write_run(tmp_path, 0, 0)
    table = evaluate(tmp_path, [0], [0])
    slides = table[table["slide"] != POOLED]
    arrays = [
        slides[slides["metric"] == name].pivot(index="slide", columns="gene", values="value").loc[list(SLIDES), GENES]
        for name in MOMENTS
    ]
    pooled = table.query("metric == 'pearson' and slide == @POOLED").set_index("gene")["value"][list(GENES)]
    np.testing.assert_allclose(pooled_pearson(np.array([N, N]), *(a.to_numpy() for a in arrays)), pooled, rtol=1e-12)


def test_again_gives_the_same_bytes_whatever_the_order_asked(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, 0, seed)
    out = Layout(tmp_path).metrics(GROUP)
    evaluate(tmp_path, [0], [0, 1])
    first = out.read_bytes()
    evaluate(tmp_path, [0], [1, 0])
    assert out.read_bytes() == first


def test_a_failed_run_keeps_its_rows_and_says_why(tmp_path: Path) -> None:
    write_run(tmp_path, 0, 0)
    write_run(tmp_path, 0, 1, status="failed", reason="out of memory")
    table = evaluate(tmp_path, [0], [0, 1])
    failed = table[table["seed"] == 1]
    assert len(failed) == len(table) / 2
    assert failed["value"].isna().all()
    assert set(failed["status"]) == {"failed"}
    assert set(failed["reason"]) == {"out of memory"}
    assert table[table["seed"] == 0]["value"].notna().all()


def test_runs_of_several_samples_have_more_metrics(tmp_path: Path) -> None:
    found = read_predictions(write_run(tmp_path, 0, 0, sampled=True))
    table = evaluate(tmp_path, [0], [0])
    assert set(table["metric"]) == {*METRICS, *MOMENTS, "crps", "coverage_90", "interval_width"}
    assert found.interval == 0.9
    inside = (found.layers["lower"] <= found.measured) & (found.measured <= found.layers["upper"])
    for slide, rows in ((POOLED, slice(None)), ("s2", slice(N, None))):
        here = table[table["slide"] == slide].pivot(index="gene", columns="metric", values="value").loc[list(GENES)]
        np.testing.assert_allclose(here["crps"], found.layers["crps"][rows].mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(here["coverage_90"], inside[rows].mean(axis=0))
        width = (found.layers["upper"] - found.layers["lower"])[rows].mean(axis=0)
        np.testing.assert_allclose(here["interval_width"], width, rtol=1e-6)


def test_a_failed_run_of_several_samples_has_the_same_rows_without_values(tmp_path: Path) -> None:
    write_run(tmp_path, 0, 0, sampled=True)
    write_run(tmp_path, 0, 1, sampled=True, status="failed", reason="diverged")
    table = evaluate(tmp_path, [0], [0, 1])
    ok, failed = (table[table["seed"] == seed].reset_index() for seed in (0, 1))
    assert (ok[["slide", "gene", "metric"]] == failed[["slide", "gene", "metric"]]).all(axis=None)
    assert failed["value"].isna().all()


def test_layers_of_samples_that_are_missing_or_not_finite_are_refused(tmp_path: Path) -> None:
    import h5py

    path = write_run(tmp_path, 0, 0, sampled=True)
    with h5py.File(path, "r+") as handle:
        handle["layers/upper"][2, 1] = np.nan
    with pytest.raises(IntegrityError, match=r"1 predicted values are not finite \(upper\)"):
        evaluate(tmp_path, [0], [0])
    with h5py.File(path, "r+") as handle:
        del handle["layers/upper"]
    with pytest.raises(IntegrityError, match="lacks layers/upper"):
        evaluate(tmp_path, [0], [0])


def test_missing_predictions_are_named(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"fold0/seed0/predictions\.h5ad does not exist"):
        evaluate(tmp_path, [0], [0])


def test_predictions_cut_short_are_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, 0, 0)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(IntegrityError, match="cut short"):
        evaluate(tmp_path, [0], [0])
    assert not Layout(tmp_path).metrics(GROUP).exists()


def test_fewer_spots_than_promised_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path, 0, 0, n_spots=2 * N + 1)
    with pytest.raises(IntegrityError, match=r"holds 60 spots.*\(61, 3\) was promised"):
        evaluate(tmp_path, [0], [0])


def test_predictions_of_another_run_are_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, 0, 0)
    other = Layout(tmp_path).predictions(GROUP.run(0, 1))
    other.parent.mkdir(parents=True)
    other.write_bytes(path.read_bytes())
    with pytest.raises(IntegrityError, match="fold0/seed0"):
        evaluate(tmp_path, [0], [1])


def test_predictions_that_are_not_finite_are_refused_unless_marked_failed(tmp_path: Path) -> None:
    import h5py

    path = write_run(tmp_path, 0, 0)
    with h5py.File(path, "r+") as handle:
        handle["X"][3, 1] = np.inf
    with pytest.raises(IntegrityError, match="1 predicted values are not finite"):
        evaluate(tmp_path, [0], [0])


def test_evaluation_starts_light(tmp_path: Path) -> None:
    write_run(tmp_path, 0, 0)
    code = (
        "import sys; from pathlib import Path; from stflow.evaluation.evaluate import evaluate_group\n"
        f"evaluate_group(Path({str(tmp_path)!r}), {str(GROUP)!r}, [0], [0], Path({str(tmp_path / 'm.parquet')!r}))\n"
        "heavy = 'torch', 'anndata', 'scanpy', 'scipy.stats', 'sklearn', 'matplotlib'\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
