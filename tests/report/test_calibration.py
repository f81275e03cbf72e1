"""The table of calibration: groups of several samples alone, each beside the level that its interval should hold."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stflow.errors import DataError
from stflow.evaluation.evaluate import COLUMNS as METRIC_COLUMNS
from stflow.report.calibration import make_calibration


def write_metrics(
    path: Path, variant: str, coverage: float | None, *, dataset: str = "IDC", level: str = "90", failed: bool = False
) -> Path:
    """Two folds, two seeds and two genes; coverage rises by 0.1 with the seed. ``None``: of single samples."""
    rows = []
    for fold, seed, gene in product(range(2), range(2), "AB"):
        values = {"pearson": 0.5}
        if coverage is not None:
            values |= {f"coverage_{level}": coverage + 0.1 * seed, "crps": 0.3 + 0.2 * fold, "interval_width": 1.5}
        bad = failed and (fold, seed) == (1, 1)
        rows += [
            {
                "benchmark": "demo", "dataset": dataset, "encoder": "classical", "method": "stflow", "variant": variant,
                "protocol": "clean", "fold": fold, "seed": seed, "slide": slide, "gene": gene, "metric": metric,
                "value": np.nan if bad else value if slide == "all" else -9.0, "n_spots": 10,
                "status": "failed" if bad else "ok", "reason": "diverged" if bad else "",
            }
            for slide in ("all", "s1")
            for metric, value in values.items()
        ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows)[list(METRIC_COLUMNS)].to_parquet(path)
    return path


def make(tmp_path: Path, files: list[Path], methods: tuple[str, ...] = ()) -> tuple[list[dict[str, str]], str]:
    make_calibration(files, tmp_path / "c.csv", tmp_path / "c.md", methods)
    with (tmp_path / "c.csv").open() as handle:
        return list(csv.DictReader(handle)), (tmp_path / "c.md").read_text()


def test_groups_of_several_samples_are_averaged_and_others_left_out(tmp_path: Path) -> None:
    files = [
        write_metrics(tmp_path / "one", "default", None),
        write_metrics(tmp_path / "many", "samples_20", 0.6),
        write_metrics(tmp_path / "wide", "wide", 0.2, level="97.5"),
    ]
    rows, page = make(tmp_path, files, ("stflow/wide", "stflow", "stflow/samples_20"))
    assert [row["variant"] for row in rows] == ["wide", "samples_20"]
    many = rows[1]
    expected = {"nominal": 0.9, "coverage_mean": 0.65, "coverage_std": 0.05, "crps_mean": 0.4, "width_mean": 1.5}
    assert {name: float(many[name]) for name in expected} == pytest.approx(expected)
    assert (many["n_folds"], many["n_seeds"], many["n_failed"]) == ("2", "2", "0")
    assert "| STFlow (samples_20) |     0.9 | 0.650 ± 0.050 | 1.500 ± 0.000 | 0.400 ± 0.000 |" in page
    assert "|   0.975 |" in page
    assert "STFlow |" not in page
    assert "No run failed." in page


def test_datasets_are_averaged_last(tmp_path: Path) -> None:
    files = [write_metrics(tmp_path / name, "samples_20", 0.5 + 0.2 * (name == "SKCM"), dataset=name)
             for name in ("IDC", "SKCM")]  # fmt: skip
    rows, _ = make(tmp_path, files)
    assert [(row["dataset"], round(float(row["coverage_mean"]), 6)) for row in rows] == [
        ("IDC", 0.55),
        ("SKCM", 0.75),
        ("average", 0.65),
    ]


def test_failed_runs_are_named(tmp_path: Path) -> None:
    rows, page = make(tmp_path, [write_metrics(tmp_path / "many", "samples_20", 0.6, failed=True)])
    assert (rows[0]["n_seeds"], rows[0]["n_failed"], rows[0]["coverage_std"]) == ("1", "1", "")
    assert "stflow/samples_20/clean/fold1/seed1: diverged" in page


def test_without_samples_the_remedy_is_told(tmp_path: Path) -> None:
    for files in ([], [write_metrics(tmp_path / "one", "default", None)]):
        with pytest.raises(DataError, match="add stflow/samples_20 to methods"):
            make(tmp_path, files)
