"""Scores by group of genes: which genes count, and margins in seed spreads."""

from __future__ import annotations

import csv
import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stflow.errors import GeneError
from stflow.evaluation.evaluate import COLUMNS as METRIC_COLUMNS
from stflow.report.gene_groups import make_gene_groups

#: Score of each gene by method.
LEVELS = {"ridge": {"A": 0.1, "B": 0.1, "C": 0.4}, "stflow": {"A": 0.5, "B": 0.3, "C": 0.4}}


def write_metrics(path: Path, method: str, seeds: int, lists: tuple[str, str] = ("ABC", "ABC")) -> Path:
    """Two folds with their own gene lists; seed s adds s / 10 to STFlow."""
    rows = [
        {
            "benchmark": "demo",
            "dataset": "IDC",
            "encoder": "classical",
            "method": method,
            "variant": "default",
            "protocol": "clean",
            "fold": fold,
            "seed": seed,
            "slide": "all",
            "gene": gene,
            "metric": "pearson",
            "value": LEVELS[method][gene] + seed / 10,
            "n_spots": 100,
            "status": "ok",
            "reason": "",
        }
        for fold, seed in product(range(2), range(seeds))
        for gene in lists[fold]
    ]
    pd.DataFrame(rows)[list(METRIC_COLUMNS)].to_parquet(path)
    return path


def make(tmp_path: Path, files: list[Path], groups: dict[str, object]) -> tuple[dict[tuple[str, str], dict], str]:
    (tmp_path / "truth.json").write_text(json.dumps(groups))
    make_gene_groups(files, tmp_path / "truth.json", tmp_path / "g.csv", tmp_path / "g.md", ["ridge", "stflow"])
    with (tmp_path / "g.csv").open(newline="") as handle:
        rows = {(row["group"], row["method"]): row for row in csv.DictReader(handle)}
    return rows, (tmp_path / "g.md").read_text()


def test_a_group_is_the_mean_of_its_genes(tmp_path: Path) -> None:
    files = [write_metrics(tmp_path / "r", "ridge", 1), write_metrics(tmp_path / "s", "stflow", 2)]
    rows, page = make(tmp_path, files, {"interaction": ["A", "B"], "own": ["C"], "recipe": {"seed": 1}})
    assert set(rows) == {("interaction", "ridge"), ("interaction", "stflow"), ("own", "ridge"), ("own", "stflow")}
    assert float(rows["interaction", "stflow"]["mean"]) == pytest.approx(0.45)
    assert "| IDC: group (genes) | interaction (2 of 2) |      own (1 of 1) |" in page
    assert "| Ridge              |         <u>0.100</u> |      <u>0.400</u> |" in page
    assert "| STFlow             |    **0.450 ± 0.050** | **0.450 ± 0.050** |" in page


def test_margins_are_in_units_of_the_seed_spread(tmp_path: Path) -> None:
    files = [write_metrics(tmp_path / "r", "ridge", 1), write_metrics(tmp_path / "s", "stflow", 2)]
    rows, page = make(tmp_path, files, {"interaction": ["A", "B"]})
    row = rows["interaction", "stflow"]
    assert float(row["margin_ridge"]) == pytest.approx(0.35)
    assert float(row["spreads_ridge"]) == pytest.approx(0.35 / np.std([0.0, 0.1]))
    assert row["margin_random_forest"] == ""
    assert "+0.350 (+7.0)" in page


def test_a_fold_without_some_genes_scores_the_others_and_says_how_many(tmp_path: Path) -> None:
    files = [write_metrics(tmp_path / "s", "stflow", 1, ("ABC", "AC"))]
    rows, page = make(tmp_path, files, {"interaction": ["A", "B", "Z"]})
    assert float(rows["interaction", "stflow"]["mean"]) == pytest.approx((0.4 + 0.5) / 2)
    assert "1 to 2 of 3" in page


def test_groups_without_a_scored_gene_are_named(tmp_path: Path) -> None:
    files = [write_metrics(tmp_path / "s", "stflow", 1)]
    _, page = make(tmp_path, files, {"interaction": ["A"], "absent": ["Z"]})
    assert "No gene of these groups was scored: absent." in page
    with pytest.raises(GeneError, match="none of the genes"):
        make(tmp_path, files, {"absent": ["Z"]})
    with pytest.raises(GeneError, match="has no group of genes"):
        make(tmp_path, files, {"recipe": {"seed": 1}, "empty": []})
