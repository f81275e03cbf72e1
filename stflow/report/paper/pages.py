"""A table of the paper as markdown: a section a block, under ours the printed number, the difference, the verdict."""

from __future__ import annotations

import math
import string
from collections.abc import Iterator, Sequence

from stflow.report.paper.cells import Cell, counts
from stflow.report.paper.grid import Section
from stflow.report.paper.printed import Printed
from stflow.report.paper.scores import Score
from stflow.report.paper.verdict import RULE
from stflow.report.render import MISSING, format_table, mark, number, ranks, with_spread

SIGNS = {"agrees": "=", "higher": "↑", "lower": "↓"}

HOW_TO_READ = (
    "Pearson correlation of measured and predicted log1p counts, gene by gene over all test spots of a fold pooled; "
    "mean over genes, then folds, then seeds. ± is the population standard deviation over seeds (ddof = 0), of ours "
    "and, as it seems, of the printed numbers; a number without it comes from one seed. Best **bold**, second "
    "<u>underlined</u>, ours and the printed ones each among themselves."
)


class Reasons:
    """Why cells are not comparable: each reason once, under a letter."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def letter(self, reason: str) -> str:
        """``a`` to ``z``, then ``aa``."""
        if reason not in self._letters:
            place = len(self._letters)
            letters = string.ascii_lowercase
            self._letters[reason] = letters[place] if place < 26 else letters[place // 26 - 1] + letters[place % 26]
        return self._letters[reason]

    def told(self) -> str:
        """A line a reason; empty without any."""
        return "\n".join(f"- ({letter}) not comparable: {reason}." for reason, letter in self._letters.items())


def section_block(section: Section, cells: Sequence[Cell], reasons: Reasons) -> str:
    """The block of one section; empty where there is neither a number of ours nor a printed one."""
    if not any(cell.ours or cell.printed for cell in cells):
        return ""
    width = len(section.columns)
    rows = [cells[start : start + width] for start in range(0, len(cells), width)]
    with_printed = any(cell.printed for cell in cells)
    any_ours = any(cell.ours for cell in cells)
    our_marks, printed_marks = _marks(rows, section, ours=True), _marks(rows, section, ours=False)
    body: list[list[str]] = []
    for place, row in enumerate(rows):
        label = section.rows[place].label
        if not with_printed:
            if any(cell.ours for cell in row):
                body.append([label, *map(_ours, row, our_marks[place])])
            continue
        lines = list(_lines(row, our_marks[place], printed_marks[place], reasons, any_ours=any_ours))
        body += [[label if index == 0 else "", *line] for index, line in enumerate(lines)]
    names = ["", *([""] if with_printed else []), *(column.label for column in section.columns)]
    return format_table(names, body, 2 if with_printed else 1)


def _lines(
    row: Sequence[Cell], ours: Sequence[int], theirs: Sequence[int], reasons: Reasons, *, any_ours: bool
) -> Iterator[list[str]]:
    """Ours, printed, difference; of a row that was not run the printed line alone."""
    ran = any(cell.ours for cell in row)
    if ran:
        yield ["ours", *map(_ours, row, ours)]
    if any(cell.printed for cell in row):
        yield ["printed" if ran or not any_ours else "printed; not run", *map(_printed, row, theirs)]
    if ran and any(cell.verdict for cell in row):
        yield ["difference", *(_difference(cell, reasons) for cell in row)]


def _ours(cell: Cell, rank: int) -> str:
    if cell.ours is None:
        return "not run"
    if math.isnan(cell.ours.mean):
        return "failed" if cell.ours.reason.startswith("failed") else MISSING
    return mark(with_spread(cell.ours.mean, cell.ours.std), rank)


def _printed(cell: Cell, rank: int) -> str:
    printed = cell.printed
    if printed is None:
        return MISSING
    if printed.mean is None:
        return printed.text or MISSING
    text = with_spread(printed.mean, printed.std)
    return mark(f"({text})" if printed.computed else text + ("!" if printed.doubt else ""), rank)


def _difference(cell: Cell, reasons: Reasons) -> str:
    verdict = cell.verdict
    if verdict is None:
        return MISSING
    sign = SIGNS.get(verdict.kind) or f"({reasons.letter(verdict.reason)})"
    if verdict.difference is None:
        return sign
    return f"{'+' if round(verdict.difference, 3) >= 0 else ''}{number(verdict.difference)} {sign}"


def _marks(rows: Sequence[Sequence[Cell]], section: Section, *, ours: bool) -> list[list[int]]:
    """Rank of every cell among its row's, or its column's; rows of averages and of datasets never mix in a column."""
    values = [[_value(cell.ours if ours else cell.printed) for cell in row] for row in rows]
    if section.best == "row":
        return [ranks(row) for row in values]
    columns = [ranks(column) for column in zip(*values, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _value(what: Score | Printed | None) -> float:
    return math.nan if what is None or what.mean is None else what.mean


def notes(sections: Sequence[tuple[Section, Sequence[Cell]]], reasons: Reasons) -> list[str]:
    """What stands below the blocks: the rule, how many cells agree, the reasons, what is misprinted."""
    cells = [cell for _, found in sections for cell in found]
    verdicts = counts(cells)
    if not verdicts:
        return []
    compared = {kind: verdicts.get(kind, 0) for kind in ("agrees", "higher", "lower")}
    if any(cell.ours for cell in cells if cell.printed):
        parts = [RULE, verdict_line(compared, sum(verdicts.values()))]
    else:
        parts = ["Nothing of what is printed here was run, so nothing is compared."]
    doubts = {
        f"- ! {section.heading}, {cell.row.label}, {cell.column.label}: {cell.printed.doubt}."
        for section, found in sections
        for cell in found
        if cell.printed is not None and cell.printed.doubt
    }
    computed = "In parentheses: not printed, but the mean of the printed cells."
    if any(cell.printed is not None and cell.printed.computed for cell in cells):
        parts.append(computed)
    return [*parts, "\n".join(filter(None, (reasons.told(), *sorted(doubts))))]


def verdict_line(compared: dict[str, int], n_printed: int) -> str:
    """How many cells were compared, and with what verdicts."""
    n = sum(compared.values())
    return (
        f"Of {n_printed} printed cells {n} are compared: {compared['agrees']} agree, {compared['higher']} are higher "
        f"here, {compared['lower']} lower."
    )
