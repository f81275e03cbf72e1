"""The verdict on a cell: agreeing, differing, missing and misprinted ones; and what the page says of them."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stflow.report.paper.grid import Key
from stflow.report.paper.make import make_paper_table
from stflow.report.paper.printed import Printed
from stflow.report.paper.scores import Score
from stflow.report.paper.verdict import judge
from stflow.report.table1 import make_table1


def verdict(mean: float, std: float, printed: Printed, **told: str) -> tuple[str, str]:
    found = judge(Score(mean, std, 3), printed, not_run="not run", **told)
    return found.kind, found.reason


def test_agrees_up_to_both_spreads_and_the_last_digit() -> None:
    printed = Printed(0.500, 0.010)
    assert verdict(0.520, 0.009, printed) == ("agrees", "")
    assert verdict(0.5201, 0.009, printed) == ("higher", "")
    assert verdict(0.480, 0.009, printed) == ("agrees", "")
    assert verdict(0.4799, 0.009, printed) == ("lower", "")


def test_a_missing_spread_counts_as_none() -> None:
    assert verdict(0.5009, math.nan, Printed(0.5, 0.0)) == ("agrees", "")
    assert verdict(0.5011, math.nan, Printed(0.5)) == ("higher", "")
    assert verdict(0.509, 0.01, Printed(0.5)) == ("agrees", "")


@given(st.floats(-1, 1), st.floats(0, 0.2), st.floats(-1, 1), st.floats(0, 0.2))
def test_the_verdict_is_mirrored_when_ours_and_printed_change_places(
    ours: float, our_std: float, theirs: float, their_std: float
) -> None:
    there, _ = verdict(ours, our_std, Printed(theirs, their_std))
    back, _ = verdict(theirs, their_std, Printed(ours, our_std))
    assert back == {"agrees": "agrees", "higher": "lower", "lower": "higher"}[there]


def test_not_comparable_says_why_and_keeps_the_difference() -> None:
    misprinted = judge(Score(0.5, 0.0, 3), Printed(0.4, 0.0, doubt="misprinted"), not_run="")
    assert (misprinted.kind, misprinted.reason) == ("not comparable", "misprinted")
    assert misprinted.difference == pytest.approx(0.1)
    assert verdict(0.5, 0, Printed(0.5, 0.0), not_same="splits unpublished") == ("not comparable", "splits unpublished")
    assert verdict(0.5, 0, Printed(text="OOM")) == ("not comparable", "the paper prints OOM")
    assert judge(None, Printed(0.5), not_run="gate closed").reason == "gate closed"
    failed = judge(Score(math.nan, math.nan, 0, "failed: out of memory"), Printed(0.5), not_run="not run")
    assert (failed.kind, failed.reason, failed.difference) == ("not comparable", "failed: out of memory", None)


def lines(path: Path, benchmark: str = "hest") -> dict[tuple[str, str], dict[str, str]]:
    with path.open(newline="") as handle:
        found = [line for line in csv.DictReader(handle) if line["protocol"] == "paper"]
    return {(line["row"], line["column"]): line for line in found if line["benchmark"] == benchmark}


def test_in_a_table(tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    stflow = {"encoder": "uni", "method": "stflow", "variant": "default"}
    metrics = write(
        {
            Key("hest", "IDC", **stflow): (0.588, 0.002),  # 0.587 ± 0.003
            Key("hest", "PRAD", **stflow): (0.300, 0.002),  # 0.421 ± 0.002
            Key("hest", "SKCM", **stflow): (0.800, 0.002),  # 0.704 ± 0.005
            Key("stimage", "Breast", **stflow): (0.404, 0.024),  # the same, but the splits are unknown
            Key("hest", "IDC", "gigapath_slide", "random_forest", "default"): (0.5, 0.0),  # OOM
        }
    )
    make_table1(metrics, tmp_path / "t.csv", tmp_path / "t.md", not_run={"ciga": "weights are closed"})
    found = lines(tmp_path / "t.csv")
    assert found["IDC", "STFlow"]["verdict"] == "agrees"
    assert found["PRAD", "STFlow"]["verdict"] == "lower"
    assert float(found["PRAD", "STFlow"]["difference"]) == pytest.approx(-0.121)
    assert found["SKCM", "STFlow"]["verdict"] == "higher"
    assert lines(tmp_path / "t.csv", "stimage")["Breast", "STFlow"]["reason"].startswith("its splits")
    assert found["IDC", "GigaPath-slide"]["reason"] == "the paper prints OOM"
    assert found["IDC", "Ciga"]["reason"] == "weights are closed"
    assert found["PAAD", "STFlow"]["reason"] == "not run"
    assert found["Average", "STFlow"]["reason"] == "3 of 10 datasets run"
    assert found["Average", "HisToGene"]["verdict"] == "not comparable"
    page = (tmp_path / "t.md").read_text()
    hest = page[page.index("table, HEST") : page.index("table, STImage")]
    row = next(line for line in hest.splitlines() if line.startswith("| PRAD") and "ours" in line)
    assert row.split("|")[-2].strip() == "0.300 ± 0.002"
    assert [cell in hest for cell in ("-0.121 ↓ |", "+0.096 ↑ |", "+0.001 = |")] == [True] * 3
    assert re.search(r"\| PAAD +\| printed; not run \|", hest)
    assert "3 are compared: 1 agree, 1 are higher here, 1 lower" in page


def test_other_settings_than_the_papers_are_told(tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    metrics = write({Key("hest", "IDC", "uni", "stflow", "default"): (0.587, 0.003)})
    why = {"stflow": "its settings differ from the paper's"}
    make_paper_table("table5", metrics, tmp_path / "t.csv", tmp_path / "t.md", not_same=why)
    cell = lines(tmp_path / "t.csv")["IDC", "5"]
    assert (cell["verdict"], cell["reason"]) == ("not comparable", why["stflow"])
    assert f") not comparable: {why['stflow']}." in (tmp_path / "t.md").read_text()


def test_what_runs_beside_the_papers_datasets_has_its_own_section(
    tmp_path: Path, write: Callable[..., list[Path]]
) -> None:
    metrics = write(
        {
            Key("lab", "D1", "mine", "stflow", "default"): (0.5, 0.01),
            Key("lab", "D2", "mine", "stflow", "default"): (0.3, 0.01),
            Key("lab", "D1", "mine", "stflow", "egnn"): (0.4, 0.01),
            Key("lab", "D2", "mine", "stflow", "egnn"): (0.6, 0.01),
        }
    )
    make_paper_table("table3", metrics, tmp_path / "t.csv", tmp_path / "t.md")
    page = (tmp_path / "t.md").read_text()
    assert page.index("lab, average of 2 datasets") < page.index("HEST, average of 10 datasets (not run)")
    row = next(line for line in page.splitlines() if line.startswith("| mine"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["mine", "**0.500 ± 0.010**", "not run", "not run", "not run", "<u>0.400 ± 0.010</u>"]


def test_a_failed_run_is_named_in_its_cell(tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    key = Key("hest", "IDC", "uni", "stflow", "default")
    metrics = write({key: (math.nan, None)}, status="failed", reason="out of memory")
    make_paper_table("table5", metrics, tmp_path / "t.csv", tmp_path / "t.md")
    assert lines(tmp_path / "t.csv")["IDC", "5"]["reason"] == "failed: out of memory"
    assert re.search(r"\| IDC +\| ours +(\| +not run ){2}\| +failed \|", (tmp_path / "t.md").read_text())
