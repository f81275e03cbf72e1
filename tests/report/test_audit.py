"""The audit as a table and on the terminal."""

import csv
import json
from pathlib import Path

import pytest

from stflow.config import validate
from stflow.data.audit import CHECKS
from stflow.errors import LeakageError
from stflow.report.audit import make_audit_table, print_audit


def write_audit(path: Path, protocol: str, folds: list[dict[str, str]], notes: list[str] | None = None) -> Path:
    """An audit whose verdicts are ``pass`` but those given, each with the check's name as its detail."""
    checks = [
        {
            check: {"verdict": fold.get(check, "pass"), "detail": f"why {check}" if check in fold else ""}
            for check in CHECKS
        }
        for fold in folds
    ]
    found = {"benchmark": "lab", "dataset": "D", "protocol": protocol, "notes": notes or []}
    path.write_text(json.dumps({**found, "folds": {str(index): fold for index, fold in enumerate(checks)}}))
    return path


def test_a_line_a_fold_in_the_csv_and_a_line_a_dataset_on_the_page(tmp_path: Path) -> None:
    leaking = {"epoch": "leak", "genes": "leak"}
    audits = [
        write_audit(tmp_path / "paper.json", "paper", [leaking, {**leaking, "tissue": "leak"}], ["three patients"]),
        write_audit(tmp_path / "clean.json", "clean", [{}, {"content": "not checked"}], ["three patients"]),
    ]
    make_audit_table(audits, tmp_path / "a.csv", tmp_path / "a.md")
    with (tmp_path / "a.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["protocol"], row["fold"], row["tissue"], row["epoch"]) for row in rows] == [
        ("paper", "0", "pass", "leak"),
        ("paper", "1", "leak", "leak"),
        ("clean", "0", "pass", "pass"),
        ("clean", "1", "pass", "pass"),
    ]
    assert rows[1]["detail"] == "tissue: why tissue; genes: why genes; epoch: why epoch"
    page = (tmp_path / "a.md").read_text()
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| lab")
    ]
    assert lines == [
        ["lab", "D", "paper", "2", "pass", "pass", "leak in 1", "pass", "leak", "leak"],
        ["lab", "D", "clean", "2", "pass", "pass", "pass", "not checked", "pass", "pass"],
    ]
    assert "- lab/D (paper), fold 1, tissue: why tissue" in page
    assert page.count("three patients") == 1
    assert "why epoch" not in page, "the paper protocol's own leaks are in its column"


@pytest.mark.parametrize("protocols", [["paper"], ["paper", "clean"]])
def test_the_terminal_fails_only_where_a_clean_fold_leaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], protocols: list[str]
) -> None:
    (tmp_path / "lab.csv").write_text(
        "dataset,slide,patient,protocol,fold,role\nD,TENX95,1,*,0,train\nD,s2,2,*,0,train\nD,TENX97,3,*,0,test\n"
    )
    config = validate(
        {
            "results": str(tmp_path / "results"),
            "benchmarks": {"lab": {"root": str(tmp_path), "manifest": str(tmp_path / "lab.csv")}},
            "protocols": protocols,
        }
    )
    if protocols == ["paper"]:
        print_audit(config)
    else:
        with pytest.raises(
            LeakageError, match=r"lab/D \(clean\), fold 0, tissue: .*TENX95 learned from, TENX97 tested"
        ):
            print_audit(config)
    printed = capsys.readouterr().out
    first = next(line for line in printed.splitlines() if line.startswith("lab "))
    assert " ".join(first.split()) == "lab D paper 0 pass pass leak not checked not checked leak"
    assert "lab/D (paper), fold 0: tissue: leak: 10x breast tissue sample 1" in printed
