"""What came out, on one page: verdicts beside the paper's numbers, the best methods, leaks, failures, and the cost.

It is counted from the CSVs of the other tables, so it says nothing that they do not. A verdict is given in the tables:
a cell with a printed number ``agrees``, is ``higher`` or ``lower``, or is ``not comparable`` for a reason.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stflow.data.audit import CHECKS, LEAK, UNCHECKED
from stflow.errors import IntegrityError
from stflow.io import write_text
from stflow.report.prose import Bullets, Heading, Part, Table, to_markdown, to_rst
from stflow.report.render import MISSING, number, to_csv
from stflow.report.style import method_label

AGREES, HIGHER, LOWER, NOT_COMPARABLE = VERDICTS = ("agrees", "higher", "lower", "not comparable")
COLUMNS = ("table", "n_cells", "n_printed", "n_compared", "n_agree", "n_higher", "n_lower", "n_not_comparable")
#: Reasons that are told, the most frequent first; the tables have them all.
MAX_REASONS = 8
#: Methods named in a line of the best.
BEST = 3
#: The rows that stand for several datasets.
_AVERAGE = "average"

Row = Mapping[str, str]


@dataclass(slots=True)
class Verdicts:
    """Counts of one table: its cells, those with a printed number, verdicts, and why cells were not compared."""

    table: str
    n_cells: int = 0
    n_printed: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def n_compared(self) -> int:
        """Cells with a verdict other than that there can be none."""
        return sum(self.verdicts[name] for name in (AGREES, HIGHER, LOWER))

    def row(self) -> dict[str, object]:
        """`COLUMNS`."""
        counts = (self.n_compared, *(self.verdicts[name] for name in VERDICTS))
        return dict(zip(COLUMNS, (self.table, self.n_cells, self.n_printed, *counts), strict=True))


def make_summary(
    tables: Sequence[Path], methods: Path, audit: Path, cost: Path | None, csv_path: Path, md_path: Path, rst_path: Path
) -> None:
    """Write the verdicts as CSV, the page as markdown, and the same for the report's front page.

    Parameters
    ----------
    tables
        CSVs of the paper's tables; their names are those of the tables.
    methods, audit
        CSVs of the tables of methods and of the audit.
    cost
        CSV of the page of provenance: time and energy.
    csv_path, md_path, rst_path
        Files to write.

    Raises
    ------
    IntegrityError
        A CSV that is missing or lacks columns, or a verdict that is none of `VERDICTS`.
    """
    counted = [count(path) for path in tables]
    parts: list[Part] = [
        Heading("Against the paper's numbers"),
        *verdicts_told(counted),
        Heading("Best methods"),
        *best_told(read(methods, ("benchmark", "dataset", "protocol", "method", "variant", "encoder", "mean"))),
        Heading("Checks"),
        Bullets(
            [
                *leaks_told(read(audit, ("protocol", *CHECKS))),
                failures_told(read(methods, ("n_failed",))),
                *([] if cost is None else [cost_told(read(cost, ("stage", "wall_h", "cpu_h", "gpu_h")))]),
            ]
        ),
    ]
    write_text(csv_path, to_csv(COLUMNS, [one.row() for one in counted]))
    write_text(md_path, to_markdown([Heading("Summary", 1), *parts]))
    write_text(rst_path, to_rst(parts))


def read(path: Path, needed: Sequence[str]) -> list[Row]:
    """Rows of a CSV.

    Raises
    ------
    IntegrityError
        It is missing, or lacks columns.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            rows: list[Row] = list(reader)
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} does not exist. Make that table first.") from error
    if missing := [name for name in needed if name not in (reader.fieldnames or [])]:
        raise IntegrityError(f"{path} lacks the columns {', '.join(missing)}. Delete it and make that table again.")
    return rows


def count(path: Path) -> Verdicts:
    """The verdicts of one table; a table without that column has none."""
    found = Verdicts(Path(path).stem)
    for row in read(path, ("mean", "printed_mean")):
        found.n_cells += 1
        found.n_printed += bool(row["printed_mean"])
        if not (verdict := row.get("verdict") or ""):
            continue
        if verdict not in VERDICTS:
            raise IntegrityError(f"{path}: {verdict!r} is no verdict; there are {', '.join(VERDICTS)}.")
        found.verdicts[verdict] += 1
        if verdict == NOT_COMPARABLE:
            found.reasons[row.get("reason") or "no reason given"] += 1
    return found


def verdicts_told(counted: Sequence[Verdicts]) -> list[Part]:
    """A table of the counts, and why cells were not compared."""
    n_compared, n_printed = sum(one.n_compared for one in counted), sum(one.n_printed for one in counted)
    if not n_printed:
        return ["The paper prints no number for what was run here, so there is nothing to compare with."]
    sums = {name: sum(one.verdicts[name] for one in counted) for name in VERDICTS}
    if not n_compared:
        told = f"{n_printed:,} numbers are printed in the paper; none of them could be compared."
    else:
        told = (
            f"Of {n_printed:,} numbers that the paper prints {n_compared:,} could be compared: "
            f"**{sums[AGREES]:,} agree**, {sums[HIGHER]:,} higher here, {sums[LOWER]:,} lower. The page of each "
            "table says by which rule, and shows both numbers."
        )
    header = ["table", "cells", "printed", "compared", "agree", "higher", "lower", "not comparable"]
    body = [[_title(one.table), *(f"{value:,}" for value in list(one.row().values())[1:])] for one in counted]
    reasons: Counter[str] = sum((one.reasons for one in counted), Counter())
    told_of = [
        f"{reason}: {times:,} ({', '.join(_title(one.table) for one in counted if one.reasons[reason])})"
        for reason, times in reasons.most_common(MAX_REASONS)
    ]
    if len(reasons) > MAX_REASONS:
        told_of.append(f"{len(reasons) - MAX_REASONS:,} more reasons, in the tables' CSVs")
    listed: list[Part] = ["Not comparable, and why:", Bullets(told_of)] if reasons else []
    return [told, Table(header, body), *listed]


def best_told(rows: Sequence[Row]) -> list[Part]:
    """The best methods of every benchmark and protocol: mean over its datasets of those that have a score on all."""
    scored = [row for row in rows if row["mean"] and row["dataset"] != _AVERAGE]
    body = []
    for benchmark, protocol in dict.fromkeys((row["benchmark"], row["protocol"]) for row in rows):
        here = [row for row in scored if (row["benchmark"], row["protocol"]) == (benchmark, protocol)]
        datasets = {row["dataset"] for row in here}
        scores: dict[tuple[str, str, str], dict[str, float]] = {}
        for row in here:
            key = row["method"], row["variant"], row["encoder"]
            scores.setdefault(key, {})[row["dataset"]] = float(row["mean"])
        whole = {key: sum(found.values()) / len(found) for key, found in scores.items() if len(found) == len(datasets)}
        ranked = sorted(whole, key=lambda key: (-whole[key], key))[:BEST]
        names = [f"{_label(key, list(scores))} {number(whole[key])}" for key in ranked]
        body.append([benchmark, protocol, str(len(datasets)), *names, *[MISSING] * (BEST - len(names))])
    if not body:
        return ["No method has a score yet."]
    return [
        "Pearson correlation, mean over a benchmark's datasets, of methods that have a score on all of them.",
        Table(["benchmark", "protocol", "datasets", "best", "second", "third"], body, 2),
    ]


def leaks_told(rows: Sequence[Row]) -> list[str]:
    """A line a protocol: which checks its folds fail."""
    told = []
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        here = [row for row in rows if row["protocol"] == protocol]
        leaks = {check: sum(row[check] == LEAK for row in here) for check in CHECKS}
        open_checks = {check: sum(row[check] == UNCHECKED for row in here) for check in CHECKS}
        found = ", ".join(f"{check} in {n:,}" for check, n in leaks.items() if n)
        unchecked = ", ".join(f"{check} in {n:,}" for check, n in open_checks.items() if n)
        line = f"Leaks, {protocol} protocol: of {len(here):,} folds, " + (found or "**none leaks**")
        told.append(line + (f"; not checked: {unchecked}." if unchecked else "."))
    return told or ["Leaks: no fold has been audited."]


def failures_told(rows: Sequence[Row]) -> str:
    """How many runs failed."""
    failed = sum(int(row["n_failed"] or 0) for row in rows)
    if not failed:
        return "No run failed."
    return f"**{failed:,} run{'' if failed == 1 else 's'} failed**; the page of runs has the logs."


def cost_told(rows: Sequence[Row]) -> str:
    """Time and energy of all jobs."""
    total = next((row for row in rows if row["stage"] == "all"), None)
    if total is None:
        return "Time and energy: nothing was timed."
    energy = float(total["energy_wh_estimate"])
    told = f"{energy / 1000:,.1f} kWh" if energy >= 1000 else f"{energy:,.0f} Wh"
    return (
        f"Time: {float(total['cpu_h']):,.1f} CPU-hours and {float(total['gpu_h']):,.1f} GPU-hours; energy {told} by an "
        "estimate that the page of provenance explains."
    )


def _title(table: str) -> str:
    """``table1`` as Table 1."""
    kind, digits = table.rstrip("0123456789"), table[len(table.rstrip("0123456789")) :]
    return f"Table {digits}" if kind == "table" and digits else table.replace("_", " ")


def _label(key: tuple[str, str, str], others: Sequence[tuple[str, str, str]]) -> str:
    """Display name of a method; with its encoder where it stands on several."""
    method, variant, encoder = key
    several = sum(other[:2] == key[:2] for other in others) > 1
    return f"{method_label(method, variant)}, {encoder}:" if several else f"{method_label(method, variant)}:"
