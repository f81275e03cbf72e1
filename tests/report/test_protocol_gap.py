"""The table of protocols: gaps that are known, what they are made of, and when there are none."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stflow.report.protocol_gap import COLUMNS, make_protocol_gap, selects

Make = Callable[..., pd.DataFrame]
R = np.random.default_rng(0).uniform(0.2, 0.6, (2, 2, 1, 6))
HEAD = "dataset,slide,patient,protocol,fold,role,select_by,reason"
#: Two folds that leave one of three patients out; under clean another one chooses the epoch.
FOLDS = [
    *("f0s0,P0,paper,0,test,test,", "f1s0,P1,paper,0,train,test,", "x,P2,paper,0,train,test,"),
    *("f1s0,P1,paper,1,test,test,", "f0s0,P0,paper,1,train,test,", "x,P2,paper,1,train,test,"),
    *("f0s0,P0,clean,0,test,patient,", "f1s0,P1,clean,0,train,patient,", "x,P2,clean,0,val,patient,"),
    *("f1s0,P1,clean,1,test,patient,", "f0s0,P0,clean,1,train,patient,", "x,P2,clean,1,val,patient,"),
]


def make(root: Path, metrics: list[pd.DataFrame], lines: list[str]) -> tuple[list[dict[str, str]], str]:
    files = []
    for number, frame in enumerate(metrics):
        files.append(root / f"{number}.parquet")
        frame.to_parquet(files[-1])
    (root / "demo.csv").write_text("\n".join([HEAD, *lines]) + "\n")
    make_protocol_gap(files, [root / "demo.csv"], root / "t.csv", root / "t.md", n_resamples=200)
    with (root / "t.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert all(list(row) == list(COLUMNS) for row in rows)
    return rows, (root / "t.md").read_text()


def of(dataset: str, lines: list[str] = FOLDS) -> list[str]:
    return [f"{dataset},{line}" for line in lines]


def pair(made_metrics: Make, method: str, gap: float, **names: object) -> list[pd.DataFrame]:
    """A method under both protocols, better by ``gap`` under paper, its last gene another one."""
    genes = [[f"G{number}" for number in range(5)] + [last] for last in ("PAPER", "CLEAN")]
    higher = np.array([0.0] * 5 + [0.3])  # the gene that choosing on all samples adds
    return [
        made_metrics(R + gap + higher, protocol="paper", method=method, genes=[genes[0]] * 2, **names),
        made_metrics(R, protocol="clean", method=method, genes=[genes[1]] * 2, **names),
    ]


def test_a_gap_is_split_into_shared_genes_and_the_rest(made_metrics: Make, tmp_path: Path) -> None:
    frames = [*pair(made_metrics, "ridge", 0.0), *pair(made_metrics, "stflow", 0.08)]
    rows, _ = make(tmp_path, frames, of("IDC"))
    assert [(row["method"], row["selects"]) for row in rows] == [("stflow", "yes"), ("ridge", "no")], (
        "by size of the gap"
    )
    row = {name: float(value) for name, value in rows[0].items() if name.startswith(("gap", "n_", "paper", "clean"))}
    assert row["gap"] == pytest.approx(0.08 + 0.05, abs=1e-6)
    assert row["paper"] - row["clean"] == pytest.approx(row["gap"], abs=2e-6)
    assert row["gap_shared"] == pytest.approx(0.08, abs=1e-6)
    assert (row["gap_shared_lower"], row["gap_shared_upper"]) == pytest.approx((0.08, 0.08), abs=1e-6), "paired"
    assert row["gap_genes"] == pytest.approx(0.05, abs=1e-6)
    assert row["gap_lower"] < 0.13 < row["gap_upper"], "genes are drawn, and one has another name"
    assert [row[f"n_{of}"] for of in ("genes_shared", "parts", "slides", "patients")] == [5, 2, 2, 2]
    assert (row["paper"], row["clean"]) == (row["paper_table1"], row["clean_table1"])
    assert float(rows[1]["gap_shared"]) == 0


def test_the_page_tells_control_training_patients_and_price(made_metrics: Make, tmp_path: Path) -> None:
    frames = [*pair(made_metrics, "ridge", 0.01), *pair(made_metrics, "stflow", 0.08), *pair(made_metrics, "mlp", 0.04)]
    _, page = make(tmp_path, frames, of("IDC"))
    assert "2 test slides of 2 patients in common; 5 genes a fold in both lists." in page
    assert "2 under paper and 1 under clean where an epoch is chosen, 2 and 2 where none is." in page
    assert "mean: 0.060 [0.060, 0.060] over 2 methods that choose an epoch, 0.010 [0.010, 0.010] over 1 method" in page
    assert "difference 0.050 [0.050, 0.050]" in page
    assert "validation slides choose the epoch here" not in page
    assert "trained on too" not in page


def test_constant_predictions_are_no_control(made_metrics: Make, tmp_path: Path) -> None:
    zero = [made_metrics(0 * R, protocol=protocol, method="mean") for protocol in ("paper", "clean")]
    _, page = make(tmp_path, [*zero, *pair(made_metrics, "stflow", 0.08)], of("IDC"))
    assert "so there is no control" in page


def test_patients_on_both_sides_and_validation_slides_are_told(made_metrics: Make, tmp_path: Path) -> None:
    lines = [line.replace("x,P2,paper,0,train", "y,P0,paper,0,val") for line in FOLDS]
    _, page = make(tmp_path, pair(made_metrics, "stflow", 0.0), of("IDC", lines))
    assert "Under paper, validation slides choose the epoch here, not the test slides." in page
    assert "Under paper, 1 test slide of patients that are trained on too" in page


def test_averages_stand_first_and_datasets_without_common_slides_are_named(made_metrics: Make, tmp_path: Path) -> None:
    frames = [
        *pair(made_metrics, "stflow", 0.02, dataset="IDC"), *pair(made_metrics, "stflow", 0.06, dataset="SKCM"),
        made_metrics(R, dataset="Apart", protocol="paper", slides=[["a"], ["b"]]),
        made_metrics(R, dataset="Apart", protocol="clean"),
    ]  # fmt: skip
    lines = [*of("IDC"), *of("SKCM"), *of("Apart"), "Colon,,,clean,,none,,its patients are unknown"]
    rows, page = make(tmp_path, frames, lines)
    assert [row["dataset"] for row in rows] == ["IDC", "SKCM", "average"]
    assert float(rows[-1]["gap_shared"]) == pytest.approx(0.04, abs=1e-6)
    assert page.index("## demo/average") < page.index("## demo/IDC")
    assert "- demo/Apart: the protocols test no slide in common." in page
    assert "- demo/Colon: no fold under clean, as its patients are unknown." in page


def test_one_protocol_has_no_gap_and_says_so(made_metrics: Make, tmp_path: Path) -> None:
    rows, page = make(tmp_path, pair(made_metrics, "stflow", 0.1)[:1], of("IDC"))
    assert rows == []
    assert "These results have the paper protocol alone" in page


def test_who_chooses_an_epoch() -> None:
    assert [selects(name) for name in ("stflow", "ridge", "random_forest", "unheard_of")] == ["yes", "no", "no", ""]
