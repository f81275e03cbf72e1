"""Tables as text."""

from __future__ import annotations

import math

import pytest

from stflow.report.render import format_table, number, ranks, to_terminal, with_spread


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.123"), (-0.0001, "0.000"), (-0.5, "-0.500"), (math.nan, "-"), (1.0, "1.000")]
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_spread_stands_only_where_there_is_one() -> None:
    assert with_spread(0.5, 0.0012) == "0.500 ± 0.001"
    assert with_spread(0.5, math.nan) == "0.500"
    assert with_spread(0.5, None) == "0.500"
    assert with_spread(math.nan, math.nan) == "-"


def test_numbers_printed_alike_share_a_rank() -> None:
    assert ranks([0.1, 0.3, 0.2]) == [0, 1, 2]
    assert ranks([0.3001, 0.2999, 0.1]) == [1, 1, 2]
    assert ranks([0.3, math.nan, 0.1]) == [1, 0, 2]
    assert ranks([0.3, math.nan]) == [0, 0]
    assert ranks([-0.0001, 0.0001, -0.2]) == [1, 1, 2]
    assert ranks([]) == []


def test_pipes_stand_below_each_other() -> None:
    table = format_table(["dataset", "STFlow"], [["IDC", "**0.412 ± 0.003**"], ["a longer name", "-"]])
    lines = table.splitlines()
    assert len({tuple(i for i, c in enumerate(line) if c == "|") for line in lines}) == 1
    assert lines[1].startswith("| ---")
    assert lines[1].endswith("-: |")
    assert lines[2] == "| IDC           | **0.412 ± 0.003** |"


def test_terminal_text_keeps_numbers_and_drops_markup() -> None:
    table = format_table(
        ["dataset", "Ridge", "STFlow"], [["IDC", "<u>0.1</u>", "**0.25 ± 0.01** (0.3)"], ["SKCM", "0.1", "**0.2**"]]
    )
    text = to_terminal(f"# Title\n\nIn each row **best** and <u>second</u>.\n\n{table}\n\n- `a/b`: why\n")
    assert text.startswith("Title\n\nIn each row * best and + second.\n")
    assert not {"<u>", "**", "`", "# "} & set(text.split())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    assert rows[2] == "| IDC     |   0.1 + | 0.25 ± 0.01 (0.3) * |"
    assert rows[3] == "| SKCM    |   0.1   |               0.2 * |"
    assert "- a/b: why" in text
