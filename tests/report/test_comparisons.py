"""The table of comparisons on methods whose difference is known."""

from __future__ import annotations

import csv
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stflow.report.comparisons import COLUMNS, make_comparisons, p_text, turned

Make = Callable[..., pd.DataFrame]
R = np.random.default_rng(0).uniform(0.2, 0.6, (2, 2, 1, 20))


@pytest.fixture(autouse=True)
def _little_garbage() -> Iterator[None]:
    """statsmodels collects garbage at every correction, among all objects there are."""
    gc.freeze()
    yield
    gc.unfreeze()


def make(root: Path, metrics: list[pd.DataFrame], datasets: tuple[str, ...] = ("IDC",)) -> tuple[list[dict], str]:
    files = []
    for number, frame in enumerate(metrics):
        files.append(root / f"{number}.parquet")
        frame.to_parquet(files[-1])
    lines = [f"{dataset},f{fold}s0,P{fold},clean,{fold},test,patient," for dataset in datasets for fold in range(2)]
    (root / "demo.csv").write_text(
        "\n".join(["dataset,slide,patient,protocol,fold,role,select_by,reason", *lines]) + "\n"
    )
    make_comparisons(files, [root / "demo.csv"], root / "t.csv", root / "t.md", n_resamples=200)
    with (root / "t.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert all(list(row) == list(COLUMNS) for row in rows)
    return rows, (root / "t.md").read_text()


def cells(page: str, label: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith(f"| {label} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_identical_shifted_and_tied_methods(made_metrics: Make, tmp_path: Path) -> None:
    frames = [
        made_metrics(R, method="ridge"), made_metrics(R, method="knn"),
        made_metrics(R + 0.1, method="stflow"), made_metrics(R[:, :1].repeat(2, axis=1), method="mlp"),
    ]  # fmt: skip
    rows, page = make(tmp_path, frames)
    pairs = {(row["method_a"], row["method_b"]): row for row in rows}
    assert len(pairs) == 6
    same = pairs["ridge", "knn"]
    assert (same["p"], same["p_holm"], same["share_won"], same["difference"]) == ("1", "1", "0.5", "0")
    assert (same["difference_lower"], same["difference_upper"]) == ("0", "0")
    shifted = pairs["ridge", "stflow"]
    assert float(shifted["difference"]) == float(shifted["median_difference"]) == pytest.approx(-0.1, abs=1e-6)
    assert (float(shifted["difference_lower"]), float(shifted["difference_upper"])) == pytest.approx((-0.1, -0.1))
    assert (shifted["n_pairs"], shifted["share_won"], shifted["n_patients"]) == ("40", "0", "2")
    assert float(shifted["p"]) < float(shifted["p_holm"]) < 1e-5
    assert "Best: **STFlow**, 0.505" in page
    assert "40 pairs of fold and gene, 2 patients, 6 tests." in page
    assert cells(page, "Ridge")[2:] == ["-0.100 [-0.100, -0.100] ~", "-0.100", "0 %", "< 0.001"]
    assert "\n| STFlow " not in page


def test_three_tied_methods_are_not_told_apart(made_metrics: Make, tmp_path: Path) -> None:
    rows, page = make(tmp_path, [made_metrics(R, method=method) for method in ("ridge", "knn", "stflow")])
    assert {row["p_holm"] for row in rows} == {"1"}
    assert cells(page, "STFlow")[-2:] == ["50 %", "1.000"]


def test_seeds_are_averaged_before_genes_are_paired(made_metrics: Make, tmp_path: Path) -> None:
    up = np.array([0.3, -0.1])[None, :, None, None]  # seeds apart by 0.4, together 0.1 above
    rows, _ = make(tmp_path, [made_metrics(R, method="ridge"), made_metrics(R + up, method="stflow")])
    assert float(rows[0]["median_difference"]) == pytest.approx(-0.1, abs=1e-6)
    assert (rows[0]["share_won"], rows[0]["n_pairs"]) == ("0", "40")


def test_methods_without_all_folds_or_scores_are_left_out_and_named(made_metrics: Make, tmp_path: Path) -> None:
    frames = [
        made_metrics(R, method="ridge"), made_metrics(R, method="stflow"),
        made_metrics(R[:1], method="bleep"),
        made_metrics(R, method="triplex", failed=((0, 0), (1, 1))),
    ]  # fmt: skip
    rows, page = make(tmp_path, frames)
    assert len(rows) == 1
    assert "## Left out: 2" in page
    assert "bleep/default/clean: no fold 1, which other methods have" in page
    assert "triplex/default/clean: no seed has a score in every fold; 2 runs failed" in page


def test_tests_over_datasets_need_six(made_metrics: Make, tmp_path: Path) -> None:
    datasets = tuple(f"D{number}" for number in range(6))
    frames = [
        made_metrics(
            np.random.default_rng(number).uniform(0.2, 0.6, (2, 1, 1, 3)) + better, dataset=name, method=method
        )
        for number, name in enumerate(datasets)
        for method, better in (("ridge", 0.0), ("stflow", 0.1), ("knn", -0.1))
    ]
    rows, page = make(tmp_path, frames, datasets)
    over = {(row["method_a"], row["method_b"]): row for row in rows if row["dataset"] == "all"}
    assert len(over) == 3
    assert float(over["ridge", "stflow"]["p"]) == pytest.approx(2 / 2**6, rel=0.01)
    assert float(over["ridge", "stflow"]["p_holm"]) == pytest.approx(3 * 2 / 2**6, rel=0.01)
    assert over["ridge", "stflow"]["difference_lower"] == ""
    assert (
        "Over 6 datasets, against STFlow, which has the best mean rank. Friedman's test that all methods are alike: p ="
        in page
    )
    assert cells(page, "Nearest neighbours") == ["Nearest neighbours", "3.00", page_mean(rows, "knn"), "0 %", "0.094"]
    five, page = make(tmp_path, [frame for frame in frames if frame["dataset"].iloc[0] != "D5"], datasets)
    assert not [row for row in five if row["dataset"] == "all"]
    assert "needs 6" in page


def page_mean(rows: list[dict[str, str]], method: str) -> str:
    row = next(row for row in rows if row["dataset"] == "all" and row["method_b"] == method)
    return f"{float(row['score_b']):.3f}"


def test_one_method_has_nothing_to_be_compared_with(made_metrics: Make, tmp_path: Path) -> None:
    rows, page = make(tmp_path, [made_metrics(R)])
    assert rows == []
    assert "One method, STFlow: nothing to compare." in page
    assert "Over datasets: 1 dataset and 1 method, nothing to test." in page


def test_friedmans_test_needs_three_datasets(made_metrics: Make, tmp_path: Path) -> None:
    datasets = ("IDC", "SKCM")
    frames = [made_metrics(R, dataset=name, method=method) for name in datasets for method in ("ridge", "knn", "mlp")]
    _, page = make(tmp_path, frames, datasets)
    assert "Friedman's test needs 3 datasets and 3 methods." in page


def test_a_pair_turned_twice_is_itself(made_metrics: Make, tmp_path: Path) -> None:
    from stflow.report.comparisons import side

    rows, _ = make(tmp_path, [made_metrics(R, method="ridge"), made_metrics(R + 0.1, method="stflow")])
    row = {
        name: float(value) if name.startswith(("score", "diff", "median", "share")) else value
        for name, value in rows[0].items()
    }
    once = turned(row, side(row, "a"))
    assert (once["method_a"], once["difference"]) == ("stflow", pytest.approx(0.1))
    assert turned(once, side(row, "b")) == row
    assert turned(row, side(row, "b")) == row


def test_p_is_never_printed_as_zero() -> None:
    assert [p_text(p) for p in (1e-9, 0.00099, 0.0123, 1.0)] == ["< 0.001", "< 0.001", "0.012", "1.000"]
    assert p_text(0.0123, equals=True) == "= 0.012"
