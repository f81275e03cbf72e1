"""Metrics made from the printed numbers give the printed tables back, cell for cell."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from stflow.report.paper.grid import AVERAGE, Key
from stflow.report.paper.make import make_paper_table
from stflow.report.paper.printed import Printed, printed_cell
from stflow.report.paper.tables import ABLATIONS, sections
from stflow.report.render import with_spread
from stflow.report.table1 import make_table1

EVERY = ("table1", "table2", *ABLATIONS)
#: Table 3 and 4 print averages alone: their cells are those of the tables that print these by dataset.
DETAILS = {"table3": ("table11", "table12"), "table4": ("table9",)}


def printed_cells(name: str) -> dict[Key, Printed]:
    """Every printed number of a table by what it is of."""
    found = {}
    for section in sections(name, {}, {}, []):
        assert section.source is not None
        for row, column, key in section.cells():
            cell = printed_cell(section.source, row.printed, column.printed)
            if cell is not None and cell.mean is not None:
                found[key] = cell
    return found


def make(name: str, metrics: list[Path], folder: Path) -> tuple[list[dict[str, str]], str]:
    out = folder / "t.csv", folder / "t.md"
    if name == "table1":
        make_table1(metrics, *out)
    else:
        make_paper_table(name, metrics, *out)
    with out[0].open(newline="") as handle:
        return list(csv.DictReader(handle)), out[1].read_text()


@pytest.mark.parametrize("name", EVERY)
def test_every_printed_cell_comes_back(name: str, tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    wanted = printed_cells(name)
    # Later tables go first: table 12 prints no E2CNN, table 11 no BLEEP.
    sources = [cells for other in DETAILS.get(name, (name,)) for cells in printed_cells(other).items()]
    metrics = write({key: (cell.mean, cell.std) for key, cell in sources if key.dataset != AVERAGE})
    lines, page = make(name, metrics, tmp_path)
    paper = [line for line in lines if line["protocol"] == "paper" and line["printed_mean"]]
    assert len(paper) == len(wanted)
    for line in paper:
        if "misprinted" in line["reason"]:
            continue
        ours, printed = float(line["mean"]), float(line["printed_mean"])
        if line["dataset"].startswith(AVERAGE):
            assert ours == pytest.approx(printed, abs=1.01e-3)  # the printed average is rounded, and of rounded cells
        else:
            assert with_spread(ours, float(line["std"])) == with_spread(printed, float(line["printed_std"]))
        if not line["reason"]:
            assert line["verdict"] == "agrees"
    if name not in DETAILS:
        check_page(page)


def check_page(page: str) -> None:
    """Above every printed line stands ours, and it reads the same, the marks of the best two included."""
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    pairs = [
        (above, below)
        for above, below in pairwise(table)
        if (above[1], below[1]) == ("ours", "printed") and not above[0].startswith("Average")
    ]
    assert len(pairs) == sum(cells[1] == "ours" and not cells[0].startswith("Average") for cells in table) > 0
    n_compared = 0
    for above, below in pairs:
        for ours, printed in zip(above[2:], below[2:], strict=True):
            if "±" in printed and "!" not in printed:  # no average
                assert ours == printed
                n_compared += 1
    assert n_compared > 20


def test_the_tables_hold_every_printed_number() -> None:
    counts = {name: len(printed_cells(name)) for name in EVERY}
    # Cells, and averages printed or computed; the two OOM of either benchmark, and their averages, have no number.
    assert counts == {
        "table1": 9 * 10 - 2 + 2 * 8 + 9 * 7 - 2 + 8,
        "table2": 6 * 4,
        "table3": 3 * 5,
        "table4": 3 * 3,
        "table5": 5 * 11,
        "table9": 9 * 11,
        "table10": 9 * 11,
        "table11": 9 * 11,
        "table12": 9 * 11,
        "table13": 9 * 11,
    }


def test_averages_that_do_not_follow_from_their_cells_are_named(tmp_path: Path) -> None:
    doubted = {}
    for name in EVERY:
        lines, page = make(name, [], tmp_path)
        del lines
        doubted[name] = sorted({line for line in page.splitlines() if line.startswith("- !")})
    assert len(doubted["table1"]) == 2
    assert all("HisToGene: misprinted: 0.23" in line for line in doubted["table1"])
    for name in ("table3", "table4", "table9", "table10", "table11", "table12"):
        assert [line.partition("misprinted: ")[2] for line in doubted[name]] == [
            "0.361 stands there, and the printed cells give 0.3583."
        ]
    assert doubted["table5"] == []
    assert len(doubted["table13"]) == 9
    assert all("COAD" in line for line in doubted["table13"])
