"""The summary counts what the tables' CSVs say, and nothing else."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from stflow.data.audit import CHECKS
from stflow.errors import IntegrityError
from stflow.report.summary import COLUMNS, make_summary

TABLE = ("benchmark", "dataset", "column", "mean", "printed_mean", "verdict", "reason")
METHODS = ("benchmark", "dataset", "protocol", "method", "variant", "encoder", "mean", "n_failed")


def write(path: Path, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> Path:
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, object]:
    other = "other data"
    table1 = write(
        tmp_path / "table1.csv",
        TABLE,
        [
            ("hest", "IDC", "uni", 0.5, 0.5, "agrees", ""),
            ("hest", "IDC", "ciga", 0.6, 0.5, "higher", ""),
            ("hest", "IDC", "x", 0.4, 0.5, "lower", ""),
            ("hest", "COAD", "uni", 0.4, 0.5, "not comparable", other),
            ("hest", "COAD", "ciga", "", 0.5, "not comparable", other),
            ("hest", "COAD", "x", "", 0.5, "not comparable", "not run"),
            ("hest", "COAD", "y", 0.4, "", "", ""),
        ],
    )
    methods = write(
        tmp_path / "methods.csv",
        METHODS,
        [
            ("hest", "IDC", "clean", "stflow", "default", "uni", 0.5, 0),
            ("hest", "COAD", "clean", "stflow", "default", "uni", 0.3, 1),
            ("hest", "IDC", "clean", "ridge", "default", "uni", 0.3, 0),
            ("hest", "COAD", "clean", "ridge", "default", "uni", 0.4, 1),
            ("hest", "IDC", "clean", "ridge", "default", "ciga", 0.1, 0),
            ("hest", "COAD", "clean", "ridge", "default", "ciga", 0.1, 0),
            ("hest", "IDC", "clean", "triplex", "default", "uni", 0.99, 0),
        ],
    )
    verdicts = dict.fromkeys(CHECKS, "pass")
    audit = write(
        tmp_path / "audit.csv",
        ("protocol", *CHECKS),
        [
            ("paper", *{**verdicts, "genes": "leak", "epoch": "leak"}.values()),
            ("paper", *{**verdicts, "genes": "leak", "content": "not checked"}.values()),
            ("clean", *verdicts.values()),
        ],
    )
    cost = write(
        tmp_path / "provenance.csv",
        ("stage", "of", "jobs", "wall_h", "cpu_h", "gpu_h", "energy_wh_estimate"),
        [("train", "stflow", 3, 8, 9, 2, 690), ("all", "", 5, 10, 12.5, 4, 1325)],
    )
    return {"tables": [table1], "methods": methods, "audit": audit, "cost": cost}


def make(tmp_path: Path, inputs: dict[str, object]) -> tuple[list[dict[str, str]], str, str]:
    paths = [tmp_path / f"out.{suffix}" for suffix in ("csv", "md", "rst")]
    make_summary(*inputs.values(), *paths)
    with paths[0].open() as handle:
        rows = list(csv.DictReader(handle))
    assert all(list(row) == list(COLUMNS) for row in rows)
    return rows, paths[1].read_text(), paths[2].read_text()


def test_verdicts_are_counted_by_table_and_reason(tmp_path: Path, inputs: dict[str, object]) -> None:
    rows, page, front = make(tmp_path, inputs)
    assert list(rows[0].values()) == ["table1", "7", "6", "3", "1", "1", "1", "3"]
    told = "3 could be compared: **1 agree**, 1 higher here, 1 lower."
    assert f"Of 6 numbers that the paper prints {told}" in page
    assert told in page
    assert told in front
    assert "- other data: 2 (Table 1)\n- not run: 1 (Table 1)" in page


def test_a_reason_of_several_tables_is_told_once(tmp_path: Path, inputs: dict[str, object]) -> None:
    many = [(0.5, 0.5, "not comparable", f"reason {place}") for place in range(9)]
    columns = ("mean", "printed_mean", "verdict", "reason")
    tables = [write(tmp_path / f"{name}.csv", columns, many[:n]) for name, n in (("table3", 9), ("table12", 1))]
    _, page, _ = make(tmp_path, {**inputs, "tables": tables})
    assert "- reason 0: 2 (Table 3, Table 12)\n- reason 1: 1 (Table 3)\n" in page
    assert "- 1 more reasons, in the tables' CSVs" in page


def test_the_best_are_those_with_a_score_on_every_dataset(tmp_path: Path, inputs: dict[str, object]) -> None:
    _, page, _ = make(tmp_path, inputs)
    row = next(line for line in page.splitlines() if line.startswith("| hest"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["hest", "clean", "2", "STFlow: 0.400", "Ridge, uni: 0.350", "Ridge, ciga: 0.100"]


def test_leaks_failures_and_cost_are_told(tmp_path: Path, inputs: dict[str, object]) -> None:
    _, page, _ = make(tmp_path, inputs)
    assert "Leaks, paper protocol: of 2 folds, genes in 2, epoch in 1; not checked: content in 1." in page
    assert "Leaks, clean protocol: of 1 folds, **none leaks**." in page
    assert "**2 runs failed**" in page
    assert "12.5 CPU-hours and 4.0 GPU-hours; energy 1.3 kWh by an estimate" in page


def test_a_table_without_verdicts_or_printed_numbers_is_told_as_such(tmp_path: Path, inputs: dict[str, object]) -> None:
    bare = write(tmp_path / "table3.csv", ("mean", "printed_mean"), [(0.5, "")])
    rows, page, _ = make(tmp_path, {**inputs, "tables": [bare]})
    assert "The paper prints no number for what was run here" in page
    assert rows[0]["n_cells"] == "1"
    old = write(tmp_path / "table4.csv", ("mean", "printed_mean"), [(0.5, 0.4)])
    assert "none of them could be compared" in make(tmp_path, {**inputs, "tables": [old]})[1]


def test_the_same_bytes_again(tmp_path: Path, inputs: dict[str, object]) -> None:
    assert make(tmp_path, inputs) == make(tmp_path, inputs)


def test_what_cannot_be_read_is_told(tmp_path: Path, inputs: dict[str, object]) -> None:
    odd = write(tmp_path / "table5.csv", TABLE, [("hest", "IDC", "uni", 0.5, 0.5, "agree", "")])
    with pytest.raises(IntegrityError, match="'agree' is no verdict; there are agrees, higher"):
        make(tmp_path, {**inputs, "tables": [odd]})
    with pytest.raises(IntegrityError, match="does not exist"):
        make(tmp_path, {**inputs, "tables": [tmp_path / "table9.csv"]})
    with pytest.raises(IntegrityError, match="lacks the columns printed_mean"):
        make(tmp_path, {**inputs, "tables": [write(tmp_path / "t.csv", ("mean",), [])]})
