"""The table of intervals: the score of table 1, every spread by its name, few patients marked."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stflow.errors import SplitError
from stflow.report.intervals import COLUMNS, make_intervals

Make = Callable[..., pd.DataFrame]


def write_splits(path: Path, patients: dict[str, dict[str, str]]) -> Path:
    """A record of folds: dataset -> slide -> patient."""
    lines = [
        f"{dataset},{slide},{patient},clean,0,test,patient,"
        for dataset, of in patients.items()
        for slide, patient in of.items()
    ]
    path.write_text("\n".join(["dataset,slide,patient,protocol,fold,role,select_by,reason", *lines]) + "\n")
    return path


def make(
    root: Path, metrics: list[pd.DataFrame], patients: dict[str, dict[str, str]], **options: object
) -> tuple[list[dict[str, str]], str]:
    files = []
    for number, frame in enumerate(metrics):
        files.append(root / f"{number}.parquet")
        frame.to_parquet(files[-1])
    splits = write_splits(root / "demo.csv", patients)
    make_intervals(files, [splits], root / "t.csv", root / "t.md", n_resamples=300, **options)
    with (root / "t.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert all(list(row) == list(COLUMNS) for row in rows)
    return rows, (root / "t.md").read_text()


def cells(page: str, label: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith(f"| {label} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_spread_is_of_what_its_column_says(made_metrics: Make, tmp_path: Path) -> None:
    fold, seed, slide = np.array([0.0, 0.2]), np.array([0.0, 0.03]), np.array([0.0, 0.1])
    r = 0.3 + fold[:, None, None, None] + seed[None, :, None, None] + slide[None, None, :, None] + np.zeros(4)
    patients = {"f0s0": "A", "f0s1": "B", "f1s0": "C", "f1s1": "C"}
    (row,), page = make(tmp_path, [made_metrics(r)], {"IDC": patients})
    assert float(row["score"]) == pytest.approx(r.mean(), abs=1e-6)
    assert float(row["std_seeds"]) == pytest.approx(np.std([0.0, 0.03]), abs=1e-6)
    assert float(row["std_folds"]) == pytest.approx(0.1, abs=1e-6)
    assert float(row["std_patients"]) == pytest.approx(np.std([0.0, 0.1, 0.25]), abs=1e-6)
    assert [row[f"n_{of}"] for of in ("patients", "slides", "folds", "seeds", "genes")] == ["3", "4", "2", "2", "4"]
    assert float(row["score_lower"]) < r.mean() < float(row["score_upper"])
    assert "Test side: 3 patients, 4 slides, 2 folds, 4 genes a fold." in page
    assert cells(page, "STFlow")[1].endswith("] ~"), "three patients"


def test_one_seed_fold_or_patient_has_no_spread_and_five_patients_no_mark(made_metrics: Make, tmp_path: Path) -> None:
    r = np.random.default_rng(0).uniform(0.2, 0.6, (1, 1, 5, 4))
    (row,), page = make(tmp_path, [made_metrics(r)], {"IDC": {f"f0s{s}": f"P{s}" for s in range(5)}})
    assert (row["std_seeds"], row["std_folds"]) == ("", "")
    assert float(row["std_patients"]) == pytest.approx(r.mean(axis=(0, 1, 3)).std(), abs=1e-6)
    assert cells(page, "STFlow")[1].endswith("]")
    assert cells(page, "STFlow")[2:4] == ["-", "-"]


def test_an_average_has_its_own_interval_and_only_methods_with_all_datasets(made_metrics: Make, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    r = {dataset: rng.uniform(0.2, 0.6, (2, 1, 1, 6)) for dataset in ("IDC", "SKCM")}
    frames = [made_metrics(values, dataset=dataset) for dataset, values in r.items()]
    frames.append(made_metrics(r["IDC"], method="ridge"))
    patients = {dataset: {"f0s0": "A", "f1s0": "B"} for dataset in r}
    rows, page = make(tmp_path, frames, patients)
    averages = [row for row in rows if row["dataset"] == "average"]
    assert [row["method"] for row in averages] == ["stflow"]
    assert float(averages[0]["score"]) == pytest.approx(np.mean([values.mean() for values in r.values()]), abs=1e-6)
    widths = {row["dataset"]: float(row["score_upper"]) - float(row["score_lower"]) for row in rows}
    assert page.count("] ~") == 4, "two patients a dataset, so the average is marked too"
    assert widths["average"] < max(widths["IDC"], widths["SKCM"])
    assert page.index("### demo/average") < page.index("### demo/IDC")


def test_methods_without_a_whole_seed_are_named(made_metrics: Make, tmp_path: Path) -> None:
    r = np.full((2, 1, 1, 2), 0.4)
    frames = [made_metrics(r), made_metrics(r, method="histogene", failed=((1, 0),))]
    rows, page = make(tmp_path, frames, {"IDC": {"f0s0": "A", "f1s0": "B"}}, not_run={"uni": "it is gated"})
    assert [row["method"] for row in rows] == ["stflow"]
    assert (
        "## Left out: 1\n\n- `demo/IDC/classical/histogene/default/clean: no seed has a score in every fold; 1 run"
        in page
    )
    assert "- uni: it is gated" in page


def test_a_slide_without_a_patient_is_refused(made_metrics: Make, tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="does not have f1s0"):
        make(tmp_path, [made_metrics(np.full((2, 1, 1, 2), 0.4))], {"IDC": {"f0s0": "A"}})


def test_files_are_the_same_again_and_do_not_depend_on_other_datasets(made_metrics: Make, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frames = [made_metrics(rng.uniform(0.2, 0.6, (2, 2, 1, 6)), dataset=dataset) for dataset in ("IDC", "SKCM")]
    patients = {dataset: {"f0s0": "A", "f1s0": "B"} for dataset in ("IDC", "SKCM")}
    (first, *_), page = make(tmp_path, frames, patients)
    assert make(tmp_path, frames, patients)[1] == page
    assert make(tmp_path, frames[:1], patients)[0] == [first]
