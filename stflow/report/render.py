"""Tables as text: cells with spread, the best two marked, columns aligned for the eye and for markdown.

In markdown the best of a row is **bold** and the second <u>underlined</u>; `to_terminal` turns the marks into ``*`` and
``+`` for a reader of plain text.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stflow.csv_text import csv_text

DECIMALS = 3
MISSING = "-"
#: Characters a line of running text in a terminal; tables take what they need.
LINE = 100


def number(value: float) -> str:
    """Three decimals; ``-`` for NaN; no ``-0.000``."""
    return MISSING if math.isnan(value) else f"{round(value, DECIMALS) + 0.0:.{DECIMALS}f}"


def with_spread(mean: float, std: float | None) -> str:
    """``0.412 ± 0.003``, or the mean alone where there is no spread."""
    if std is None or math.isnan(std) or math.isnan(mean):
        return number(mean)
    return f"{number(mean)} ± {number(std)}"


def number_of(row: Mapping[str, Any] | None) -> float:
    """The ``mean`` of a row; NaN where there is none."""
    return math.nan if row is None or row.get("mean") is None else float(row["mean"])


def ranks(means: Sequence[float]) -> list[int]:
    """1 for the best of a row, 2 for the second, 0 else; numbers that are printed alike share a rank."""
    shown = [round(value, DECIMALS) if not math.isnan(value) else None for value in means]
    ordered = sorted({value for value in shown if value is not None}, reverse=True)[:2]
    if len([value for value in shown if value is not None]) < 2:
        return [0] * len(shown)  # nothing to be better than
    return [ordered.index(value) + 1 if value in ordered else 0 for value in shown]


def mark(text: str, rank: int) -> str:
    """Markdown mark of a rank."""
    return {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(rank, text)


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]], n_labels: int = 1) -> str:
    """A markdown table whose pipes stand below each other; the first ``n_labels`` columns are aligned left."""
    lines = [[_one_cell(cell) for cell in line] for line in (header, *rows)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(header))]

    def join(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if column < n_labels else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if column < n_labels else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([join(lines[0]), join(rule), *map(join, lines[1:])])


def _one_cell(text: str) -> str:
    """Without what would end the cell or the row: pipes and line breaks."""
    return " ".join(text.replace("|", "¦").splitlines()) if "|" in text or not text.isprintable() else text


def to_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV with six decimals; what is undefined stays empty, and text that a spreadsheet would run stays text."""
    return csv_text(columns, ({name: _field(row[name]) for name in columns} for row in rows))


def _field(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return value


def show(path: Path) -> str:
    """A table's markdown file as text for a terminal."""
    return to_terminal(Path(path).read_text(encoding="utf-8"))


def to_terminal(markdown: str) -> str:
    """The same text for a terminal: ``*`` after the best, ``+`` after the second, no other marks, pipes aligned."""
    out: list[str] = []
    table: list[list[str]] = []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            table.append([cell.strip() for cell in line.strip("|").split("|")])
            continue
        if table:
            n_labels = sum(not cell.endswith(":") for cell in table[1])
            plain = [[*row[:n_labels], *map(_plain_cell, row[n_labels:])] for row in (table[0], *table[2:])]
            out.append(format_table(plain[0], plain[1:], n_labels))
            table = []
        text = line.replace("**best**", "* best").replace("<u>second</u>", "+ second")
        text = re.sub(r"`([^`]*)`", r"\1", text.lstrip("#").strip() if line.startswith("#") else text)
        indent = "  " if text.startswith("- ") else ""
        out.append(textwrap.fill(text, LINE, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False))
    return "\n".join(out).rstrip() + "\n"


def _plain_cell(cell: str) -> str:
    for pattern, sign in ((r"\*\*(.*?)\*\*", "*"), (r"<u>(.*?)</u>", "+")):
        if re.search(pattern, cell):
            return re.sub(pattern, r"\1", cell) + f" {sign}"
    return f"{cell}  "  # the sign's place, so that numbers stand below each other
