"""The table of scores: each averaged like table 1, the best of a column marked in the column's own direction."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from stflow.cli import app
from stflow.errors import IntegrityError
from stflow.evaluation.evaluate import COLUMNS as METRIC_COLUMNS
from stflow.evaluation.metrics import ALL_GENES, METRICS, SPATIAL, SPOTWISE
from stflow.report.scores import COLUMNS, SCORES, make_scores

BASE = {
    "pearson": 0.4, "spearman": 0.35, "mse": 0.6, "mae": 0.5, "r2": -0.2, "variance_ratio": 0.3, "ssim": 0.25,
    "moran_measured": 0.2, "moran_predicted": 0.5, "moran_difference": 0.3, SPOTWISE: 0.7,
}  # fmt: skip


def write_metrics(
    path: Path,
    method: str = "stflow",
    *,
    dataset: str = "IDC",
    seeds: int = 2,
    failed: bool = False,
    undefined: bool = False,
    drop: str = "",
    **changes: float,
) -> Path:
    """Two folds and two genes, metrics as `BASE` with ``changes``, 0.02 more with the seed; slides have 0.1 less."""
    rows = []
    for fold, seed, slide, (metric, base) in product(range(2), range(seeds), ("all", "s1"), BASE.items()):
        bad = failed and fold == 1
        for gene in (ALL_GENES,) if metric == SPOTWISE else "AB":
            value = changes.get(metric, base) + 0.02 * seed - 0.1 * (slide != "all")
            if bad or (undefined and (gene, fold) == ("B", 0) and metric not in ("mse", "mae")):
                value = np.nan
            rows.append(
                {
                    "benchmark": "demo", "dataset": dataset, "encoder": "classical", "method": method,
                    "variant": "default", "protocol": "clean", "fold": fold, "seed": seed, "slide": slide,
                    "gene": gene, "metric": metric, "value": value, "n_spots": 10,
                    "status": "failed" if bad else "ok", "reason": "diverged" if bad else "",
                }
            )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)[list(METRIC_COLUMNS)]
    table[table["metric"] != drop].to_parquet(path, index=False)
    return path


def make(tmp_path: Path, files: list[Path], methods: tuple[str, ...] = ()) -> tuple[list[dict[str, str]], str]:
    make_scores(files, tmp_path / "s.csv", tmp_path / "s.md", methods)
    with (tmp_path / "s.csv").open() as handle:
        return list(csv.DictReader(handle)), (tmp_path / "s.md").read_text()


def cells(page: str, label: str) -> dict[str, str]:
    """The row of a method as column -> cell."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    return dict(zip(lines[0], next(line for line in lines if line[0] == label), strict=True))


def test_every_metric_of_the_files_but_the_moments_has_its_column() -> None:
    assert {score.metric for score in SCORES} == {*METRICS, *SPATIAL, SPOTWISE}
    assert len({score.name for score in SCORES}) == len(SCORES)


def test_each_score_is_the_mean_over_genes_folds_and_seeds_with_its_spread(tmp_path: Path) -> None:
    rows, page = make(tmp_path, [write_metrics(tmp_path / "a")])
    (row,) = rows
    assert tuple(row) == COLUMNS
    for name, base in BASE.items():
        assert float(row[f"{name}_mean"]) == pytest.approx(base + 0.01)
        assert float(row[f"{name}_std"]) == pytest.approx(0.01)
    assert float(row["pearson_by_slide_mean"]) == pytest.approx(0.31)
    assert (row["n_folds"], row["n_seeds"], row["n_genes"], row["undefined_mean"]) == ("2", "2", "2", "0")
    assert "## demo/IDC, protocol clean" in page
    shown = cells(page, "STFlow")
    assert (shown["Pearson"], shown["by slide"], shown["R²"], shown["undefined"]) == (
        "0.410",
        "0.310",
        "-0.190",
        "0.0 %",
    )
    assert "No run failed." in page


def test_the_best_of_a_column_is_the_best_in_its_own_direction(tmp_path: Path) -> None:
    low = dict.fromkeys(BASE, 0.1) | {"variance_ratio": 1.3, "r2": -3}
    mid = dict.fromkeys(BASE, 0.2) | {"variance_ratio": 0.5, "r2": -2}
    high = dict.fromkeys(BASE, 0.3) | {"variance_ratio": 0.2, "r2": -1}
    files = [write_metrics(tmp_path / name, name, seeds=1, **values)
             for name, values in (("ridge", low), ("knn", mid), ("mlp", high))]  # fmt: skip
    _, page = make(tmp_path, files, ("knn", "mlp", "ridge"))
    ridge, knn, mlp = (cells(page, label) for label in ("Ridge", "Nearest neighbours", "MLP"))
    for name in ("Pearson", "by slide", "Spearman", "R²", "SSIM", "spot-wise r"):
        assert mlp[name].startswith("**"), name
        assert knn[name].startswith("<u>"), name
    for name in ("MSE", "MAE", "Moran off by"):
        assert ridge[name].startswith("**"), name
        assert knn[name].startswith("<u>"), name
    assert ridge["variance ratio"] == "**1.300**"  # 0.3 above is closer to 1 than 0.5 below
    assert knn["variance ratio"] == "<u>0.500</u>"
    assert mlp["variance ratio"] == "0.200"
    lines = page.splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| ")][2:] == [
        "Nearest neighbours",
        "MLP",
        "Ridge",
    ]


def test_undefined_genes_are_left_out_and_their_share_is_told(tmp_path: Path) -> None:
    rows, page = make(tmp_path, [write_metrics(tmp_path / "a", undefined=True)])
    assert float(rows[0]["undefined_mean"]) == 0.25  # one gene of two in one fold of two
    assert rows[0]["n_undefined"] == "1"
    assert float(rows[0]["pearson_mean"]) == pytest.approx(0.41)
    assert cells(page, "STFlow")["undefined"] == "25.0 %"


def test_failed_runs_have_no_score_and_are_named(tmp_path: Path) -> None:
    rows, page = make(tmp_path, [write_metrics(tmp_path / "a", failed=True), write_metrics(tmp_path / "b", "ridge")])
    row = next(row for row in rows if row["method"] == "stflow")
    assert (row["ssim_mean"], row["undefined_mean"], row["n_seeds"], row["n_failed"]) == ("", "", "0", "2")
    assert cells(page, "STFlow")["MSE"] == "failed"
    assert "stflow/default/clean/fold1/seed0: diverged" in page


def test_a_benchmarks_datasets_are_averaged_last(tmp_path: Path) -> None:
    files = [write_metrics(tmp_path / "a"), write_metrics(tmp_path / "b", dataset="SKCM", mse=1.0)]
    rows, page = make(tmp_path, files)
    assert [(row["dataset"], round(float(row["mse_mean"]), 6)) for row in rows] == [
        ("IDC", 0.61),
        ("SKCM", 1.01),
        ("average", 0.81),
    ]
    assert page.index("## demo/SKCM") < page.index("## demo/average, protocol clean")


def test_metrics_without_one_of_the_scores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"demo/IDC/classical/clean/stflow/default lack ssim\. Delete"):
        make(tmp_path, [write_metrics(tmp_path / "a", drop="ssim")])


def test_the_command_writes_the_same_bytes(tmp_path: Path) -> None:
    path = write_metrics(tmp_path / "a")
    make(tmp_path, [path])
    args = ["table", "scores", str(path), "--csv", str(tmp_path / "c.csv"), "--md", str(tmp_path / "c.md")]
    assert CliRunner().invoke(app, [*args, "--methods", "stflow"]).exit_code == 0
    assert (tmp_path / "c.csv").read_bytes() == (tmp_path / "s.csv").read_bytes()
    assert (tmp_path / "c.md").read_bytes() == (tmp_path / "s.md").read_bytes()
