"""Genes of maps are checked against the folds' lists before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stflow.data.map_genes import check_map_genes
from stflow.errors import GeneError
from stflow.io import write_json
from stflow.layout import Layout


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folds = {"0": ["GATA3", "ERBB2"], "1": ["VWF", *(f"G{index}" for index in range(20))]}
    write_json(Layout(tmp_path).genes("lab", "D", "clean"), {"schema": 1, "folds": folds})
    return tmp_path


def check(results: Path, *wanted: str) -> dict[str, object]:
    out = Layout(results).map_genes("lab", "D", "clean")
    check_map_genes(results, "lab", "D", "clean", wanted, out)
    return json.loads(out.read_text())


def test_genes_that_are_predicted_pass_and_the_list_is_left_alone(results: Path) -> None:
    path = Layout(results).genes("lab", "D", "clean")
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert check(results, "0/s1/GATA3", "1/s2/VWF")["wanted"] == ["0/s1/GATA3", "1/s2/VWF"]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_gene_of_another_fold_is_refused_and_all_of_them_are_told(results: Path) -> None:
    with pytest.raises(GeneError) as caught:
        check(results, "0/s1/GATA3", "0/s1/VWF", "1/s2/ERBB2", "0/s1/GATA2")
    told = str(caught.value)
    assert "lab/D (clean): 3 map(s) show genes that are not predicted" in told
    assert "VWF on s1: fold 0, which tests it, predicts 2 others; they are GATA3, ERBB2" in told
    assert "ERBB2 on s2: fold 1" in told
    assert "GATA2 on s1: fold 0, which tests it, predicts 2 others; did you mean GATA3?" in told
    assert "protocol: paper at the map" in told
    assert "benchmarks.lab.genes.clean: path/to/list.json" in told
    assert not Layout(results).map_genes("lab", "D", "clean").exists()
