"""The cells of a table with all that is said of each: our number, the printed one, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stflow.report.paper.grid import Entry, Key, Section
from stflow.report.paper.printed import Printed, printed_cell
from stflow.report.paper.scores import Score, Scores
from stflow.report.paper.verdict import Verdict, judge

COLUMNS = (
    *("section", "row", "column", "protocol"),
    *("benchmark", "dataset", "encoder", "method", "variant", "gene"),
    *("mean", "std", "n_seeds", "printed_mean", "printed_std", "printed_text", "difference", "verdict", "reason"),
)

#: The protocol that the paper's numbers were made under.
PRINTED_PROTOCOL = "paper"

#: Benchmark -> why its printed numbers are not of the same thing, whatever is run.
UNPUBLISHED = {"stimage": "its splits, gene lists and tile size were never published"}


@dataclass(frozen=True)
class Context:
    """What else a verdict depends on.

    ``not_run``: encoder -> why nothing was run with it; ``not_same``: benchmark or method -> why what was run is not
    what the paper ran.
    """

    not_run: Mapping[str, str] = field(default_factory=dict)
    not_same: Mapping[str, str] = field(default_factory=dict)

    def why_not_run(self, key: Key) -> str:
        return self.not_run.get(key.encoder, "not run")

    def why_not_same(self, key: Key) -> str:
        told = (UNPUBLISHED.get(key.benchmark), self.not_same.get(key.benchmark), self.not_same.get(key.method))
        return next(filter(None, told), "")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of one section under one protocol; ``printed`` and ``verdict`` where the paper has such a cell."""

    row: Entry
    column: Entry
    key: Key
    ours: Score | None
    printed: Printed | None
    verdict: Verdict | None


def cells_of(section: Section, protocol: str, scores: Scores, context: Context) -> list[Cell]:
    """All cells of a section, row by row."""
    found = []
    for row, column, key in section.cells():
        ours = scores.get(key, any_encoder=section.source is None)
        printed = None
        if section.source and protocol == PRINTED_PROTOCOL:
            printed = printed_cell(section.source, row.printed, column.printed)
        verdict = None
        if printed is not None:
            told = {"not_run": context.why_not_run(key), "not_same": context.why_not_same(key)}
            verdict = judge(ours, printed, **told)
        found.append(Cell(row, column, key, ours, printed, verdict))
    return found


def record(section: Section, protocol: str, cell: Cell) -> dict[str, Any]:
    """`COLUMNS` of a cell."""
    key, ours, printed, verdict = cell.key, cell.ours, cell.printed, cell.verdict
    names = ("benchmark", "dataset", "encoder", "method", "variant", "gene")
    return {
        "section": section.heading,
        "row": cell.row.label,
        "column": cell.column.label,
        "protocol": protocol,
        **{name: getattr(key, name) for name in names},
        "mean": ours.mean if ours else None,
        "std": ours.std if ours else None,
        "n_seeds": ours.n_seeds if ours else None,
        "printed_mean": printed.mean if printed else None,
        "printed_std": printed.std if printed else None,
        "printed_text": printed.text if printed else None,
        "difference": verdict.difference if verdict else None,
        "verdict": verdict.kind if verdict else None,
        "reason": verdict.reason if verdict else (ours.reason if ours else None),
    }


def counts(cells: Sequence[Cell]) -> dict[str, int]:
    """How many cells have each verdict, and why those that have none are not comparable: ``not comparable: reason``."""
    found: dict[str, int] = {}
    for cell in cells:
        if cell.verdict is not None:
            name = ": ".join(filter(None, (cell.verdict.kind, cell.verdict.reason)))
            found[name] = found.get(name, 0) + 1
    return found
