"""Table 1 from long metrics: the right numbers in the right cells, nothing hidden."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stflow.evaluation.evaluate import COLUMNS as METRIC_COLUMNS
from stflow.report.table1 import COLUMNS, make_table1


def write_metrics(
    path: Path,
    level: float,
    *,
    method: str,
    seeds: int = 3,
    benchmark: str = "demo",
    dataset: str = "IDC",
    encoder: str = "classical",
    protocol: str = "clean",
    failed: tuple[tuple[int, int], ...] = (),
    undefined: int = 0,
) -> Path:
    """Two folds, four genes; seed s scores ``level`` + s / 100."""
    rows = []
    for fold, seed, gene in product(range(2), range(seeds), range(4)):
        bad = (fold, seed) in failed
        rows.append(
            {
                "benchmark": benchmark,
                "dataset": dataset,
                "encoder": encoder,
                "method": method,
                "variant": "default",
                "protocol": protocol,
                "fold": fold,
                "seed": seed,
                "slide": "all",
                "gene": f"G{gene}",
                "metric": "pearson",
                "n_spots": 100,
                "value": np.nan if bad or gene < undefined else level + seed / 100,
                "status": "failed" if bad else "ok",
                "reason": "out of memory" if bad else "",
            }
        )
    pd.DataFrame(rows)[list(METRIC_COLUMNS)].to_parquet(path)
    return path


def make(
    tmp_path: Path, files: list[Path], methods: list[str], not_run: dict[str, str] | None = None
) -> tuple[list[dict[str, str]], str]:
    make_table1(files, tmp_path / "t.csv", tmp_path / "t.md", methods, not_run=not_run)
    with (tmp_path / "t.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["reason"] != "not run"]  # the paper's, see paper/
    return rows, (tmp_path / "t.md").read_text()


def own(markdown: str) -> list[list[str]]:
    """Cells of the blocks of all methods, their headers too."""
    found, inside = [], False
    for line in markdown.splitlines():
        inside = line.startswith("### All methods") if line.startswith("#") else inside
        if inside and line.startswith("|") and "---" not in line:
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def cells(markdown: str, method: str) -> list[str]:
    """Cells of a method's row, or of the header (``method``)."""
    return next(line[1:] for line in own(markdown) if line[0] == method)


def test_golden(tmp_path: Path) -> None:
    files = [
        write_metrics(tmp_path / "a", 0.30, method="stflow"),
        write_metrics(tmp_path / "b", 0.20, method="random_forest"),
        write_metrics(tmp_path / "c", 0.10, method="ridge", seeds=1),
        write_metrics(tmp_path / "d", 0.00, method="mean", seeds=1),
    ]
    _, page = make(tmp_path, files, ["mean", "ridge", "random_forest", "stflow"])
    block = page[page.index("### All methods") :].split("\n\n")[1]
    assert block == (
        "| method        |                  IDC |\n"
        "| ------------- | -------------------: |\n"
        "| Mean          |                0.000 |\n"
        "| Ridge         |                0.100 |\n"
        "| Random forest | <u>0.210 ± 0.008</u> |\n"
        "| STFlow        |    **0.310 ± 0.008** |"
    )
    assert "ddof = 0" in page
    assert "2 folds, 200 test spots, 4 genes a fold" in page
    assert "1 of Mean, Ridge; 3 of Random forest, STFlow" in page
    assert page.rstrip().endswith("No run failed.")


def test_csv_has_every_group_and_the_full_numbers(tmp_path: Path) -> None:
    files = [
        write_metrics(tmp_path / "a", 0.30, method="stflow"),
        write_metrics(tmp_path / "c", 0.10, method="ridge", seeds=1),
    ]
    rows, _ = make(tmp_path, files, ["ridge", "stflow"])
    assert list(rows[0]) == list(COLUMNS)
    assert [row["method"] for row in rows] == ["ridge", "stflow"]
    assert rows[0]["std"] == ""
    assert float(rows[1]["mean"]) == pytest.approx(0.31)
    assert float(rows[1]["std"]) == pytest.approx(np.std([0.0, 0.01, 0.02]), abs=1e-6)


def test_failed_runs_are_named_with_the_reason(tmp_path: Path) -> None:
    files = [
        write_metrics(tmp_path / "a", 0.30, method="stflow", failed=((1, 2),)),
        write_metrics(tmp_path / "b", 0.20, method="random_forest", failed=tuple(product(range(2), range(3)))),
    ]
    rows, page = make(tmp_path, files, [])
    assert own(page)[1:] == [["STFlow", "0.305 ± 0.005"], ["Random forest", "failed"]]
    assert "## Failed runs: 7" in page
    assert "- `demo/IDC/classical/stflow/default/clean/fold1/seed2: out of memory`" in page
    assert [row["n_failed"] for row in rows] == ["1", "6"]
    assert rows[1]["mean"] == ""


def test_undefined_genes_are_counted(tmp_path: Path) -> None:
    rows, page = make(tmp_path, [write_metrics(tmp_path / "a", 0.3, method="stflow", undefined=1)], [])
    assert rows[0]["n_undefined"] == "2"
    assert "undefined because measured constant: 2 of 8 genes x folds" in page


def test_protocols_are_blocks_and_datasets_have_an_average(tmp_path: Path) -> None:
    files = [
        write_metrics(tmp_path / f"{dataset}{protocol}", level, method="stflow", dataset=dataset, protocol=protocol)
        for dataset, level in (("IDC", 0.3), ("SKCM", 0.5))
        for protocol in ("paper", "clean")
    ]
    rows, page = make(tmp_path, files, ["stflow"])
    assert page.index("## Protocol paper") < page.index("## Protocol clean")
    assert cells(page, "method") == ["IDC", "SKCM", "average"]
    assert cells(page, "STFlow") == ["0.310 ± 0.008", "0.510 ± 0.008", "0.410 ± 0.008"]
    assert [row["dataset"] for row in rows if row["protocol"] == "paper"] == ["IDC", "SKCM", "average"]


def test_a_dataset_without_folds_has_a_row_without_numbers_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "demo.csv").write_text(
        "dataset,slide,patient,protocol,fold,role,select_by,reason\n"
        "Colon,,,clean,,none,,its patients are unknown\nIDC,a,A,clean,0,train,val,\n"
    )
    files = [
        write_metrics(tmp_path / f"{dataset}{protocol}", 0.3, method="stflow", dataset=dataset, protocol=protocol)
        for dataset, protocol in (("IDC", "paper"), ("Colon", "paper"), ("IDC", "clean"))
    ]
    make_table1(files, tmp_path / "t.csv", tmp_path / "t.md", [], [tmp_path / "demo.csv"])
    paper, clean = (tmp_path / "t.md").read_text().split("## Protocol clean")
    assert own(paper) == [["method", "IDC", "Colon", "average"], ["STFlow", *["0.310 ± 0.008"] * 3]]
    assert own(clean) == [["method", "IDC", "Colon"], ["STFlow", "0.310 ± 0.008", "-"]]
    assert "- demo/Colon: no fold under this protocol, as its patients are unknown." in clean
    assert "no fold" not in paper


def test_a_protocol_without_any_folds_still_says_why(tmp_path: Path) -> None:
    (tmp_path / "demo.csv").write_text(
        "dataset,slide,patient,protocol,fold,role,select_by,reason\nIDC,,,clean,,none,,its patients are unknown\n"
    )
    files = [write_metrics(tmp_path / "a", 0.3, method="stflow", protocol="paper")]
    make_table1(files, tmp_path / "t.csv", tmp_path / "t.md", [], [tmp_path / "demo.csv"])
    clean = (tmp_path / "t.md").read_text().split("## Protocol clean")[1]
    assert cells(clean, "method") == ["IDC"]
    assert "- demo/IDC: no fold under this protocol, as its patients are unknown." in clean


def test_printed_numbers_stand_beside_ours_under_the_paper_protocol_alone(tmp_path: Path) -> None:
    files = [
        write_metrics(tmp_path / protocol, 0.3, method="stflow", benchmark="hest", encoder="uni", protocol=protocol)
        for protocol in ("paper", "clean")
    ]
    rows, page = make(tmp_path, files, [])
    paper, clean = page.split("## Protocol clean")
    assert "0.587 ± 0.003" in paper
    assert "0.587" not in clean
    assert paper.index("### The paper's table, HEST") < paper.index("### All methods, hest")
    rows = [row for row in rows if row["mean"] and row["dataset"] == "IDC"]
    assert [(row["printed_mean"], row["verdict"]) for row in rows] == [("0.587", "lower"), ("", "")]


def test_a_method_on_several_encoders_has_a_row_each(tmp_path: Path) -> None:
    files = [
        write_metrics(tmp_path / "a", 0.3, method="stflow"),
        write_metrics(tmp_path / "b", 0.4, method="stflow", encoder="uni"),
        write_metrics(tmp_path / "c", 0.0, method="mean", encoder="tiles", seeds=1),
    ]
    _, page = make(tmp_path, files, ["mean@tiles", "stflow@uni", "stflow@classical"])
    assert own(page)[1:] == [
        ["Mean", "0.000"],
        ["STFlow, uni", "**0.410 ± 0.008**"],
        ["STFlow, classical", "<u>0.310 ± 0.008</u>"],
    ]
    assert "Features by encoder: no features: Mean; uni: STFlow; classical: STFlow." in page


def test_encoders_that_were_not_run_have_their_rows_and_the_reason(tmp_path: Path) -> None:
    files = [write_metrics(tmp_path / name, 0.3, method=name) for name in ("stflow", "ridge")]
    why = "MahmoodLab/UNI is gated, and there is no token here."
    asked = ["ridge@classical", "stflow@classical", "stflow@uni"]
    rows, page = make(tmp_path, files, asked, {"uni": why})
    assert cells(page, "STFlow, classical") == ["**0.310 ± 0.008**"]
    assert cells(page, "STFlow, uni") == ["not run"]
    assert f"## Encoders not run: 1\n\n- uni: {why}" in page
    left_out = [row for row in rows if row["reason"] and row["benchmark"] == "demo"]
    assert [(row["encoder"], row["method"], row["mean"], row["reason"]) for row in left_out] == [
        ("uni", "stflow", "", why)
    ]
    assert all("not run" not in line for line in own(make(tmp_path, files, asked)[1]))


def test_the_order_of_files_does_not_matter(tmp_path: Path) -> None:
    files = [write_metrics(tmp_path / name, 0.3, method=name) for name in ("stflow", "ridge")]
    make(tmp_path, files, ["ridge", "stflow"])
    first = (tmp_path / "t.md").read_bytes(), (tmp_path / "t.csv").read_bytes()
    make(tmp_path, files[::-1], ["ridge", "stflow"])
    assert ((tmp_path / "t.md").read_bytes(), (tmp_path / "t.csv").read_bytes()) == first
