"""Table 1: Pearson correlation of every method on every dataset, by protocol, beside what the paper printed.

Two views of the same numbers: the paper's layout, nine methods on seventeen datasets with the printed number, the
difference and a verdict below each of ours; and all methods of the configuration, a block a benchmark. The CSV holds
one line a dataset, protocol, method and encoder, those of the paper also where nothing was run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stflow.data.split_record import reasons_in
from stflow.evaluation.aggregate import (
    AVERAGE,
    average_datasets,
    failures,
    read_metrics,
    run_scores,
    summarise,
)
from stflow.io import write_text
from stflow.report.columns import Column, encoders_told, labels, method_order
from stflow.report.paper.cells import Cell, Context, record
from stflow.report.paper.grid import Section
from stflow.report.paper.make import PROTOCOLS, Block, blocks
from stflow.report.paper.pages import HOW_TO_READ, Reasons, notes, section_block
from stflow.report.render import MISSING, format_table, mark, number_of, ranks, to_csv, with_spread
from stflow.report.style import method_label

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("benchmark", "dataset", "encoder", "protocol", "method", "variant", "mean", "std"),
    *("n_folds", "n_seeds", "n_genes", "n_undefined", "n_failed"),
    *("row", "column", "printed_mean", "printed_std", "printed_text", "difference", "verdict", "reason"),
)
#: What names a line.
KEY = ("benchmark", "dataset", "encoder", "method", "variant", "protocol")
CONSTANT = "A constant prediction scores 0."

#: (benchmark, dataset, protocol) -> why it has no folds.
NoFolds = Mapping[tuple[str, str, str], str]


def make_table1(
    metrics: Sequence[Path],
    csv_path: Path,
    md_path: Path,
    methods: Sequence[str] = (),
    splits: Sequence[Path] = (),
    not_run: Mapping[str, str] | None = None,
    not_same: Mapping[str, str] | None = None,
) -> None:
    """Write table 1 as CSV and markdown.

    Parameters
    ----------
    metrics
        Metrics files.
    csv_path, md_path
        Files to write.
    methods
        Rows in order, see `stflow.report.columns.Column.parse`; methods that are not named follow as they come.
    splits
        The benchmarks' `stflow.data.split_record` files: they say why a dataset has no folds, and so no number.
    not_run
        Encoder -> why nothing was run with it; the methods on it have their rows, without numbers.
    not_same
        Benchmark or method -> why its numbers are not comparable with the printed ones.

    Raises
    ------
    IntegrityError
        A metrics file that is missing or cut short.
    """
    runs = run_scores(read_metrics(metrics, ["pearson"], []))
    columns = method_order(runs, methods, list(not_run or {}))
    summary = records(summarise(runs), columns) + records(average_datasets(runs), columns)
    summary += _rows_not_run(summary, columns, not_run or {})
    grids = blocks("table1", metrics, [], Context(not_run or {}, not_same or {}))
    write_text(csv_path, to_csv(COLUMNS, _with_printed(summary, grids)))
    empty = reasons_in(splits)
    write_text(md_path, to_markdown(summary, grids, columns, failures(runs), empty, not_run or {}))


def records(summary: pd.DataFrame, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The summary's rows as dictionaries, methods in the table's order within a dataset."""
    found = [{str(name): value for name, value in row.items()} for row in summary.to_dict("records")]
    places = {
        name: {value: place for place, value in enumerate(dict.fromkeys(row[name] for row in found))}
        for name in ("benchmark", "dataset", "protocol")
    }
    return sorted(
        found,
        key=lambda row: (
            *(place[row[name]] for name, place in places.items()),
            columns.index(Column.of(row)),
        ),
    )


def _rows_not_run(
    summary: Sequence[Mapping[str, Any]], columns: Sequence[Column], not_run: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Lines without numbers: every dataset and protocol with each method on an encoder that was not run."""
    keys = ("benchmark", "dataset", "protocol")
    places = dict.fromkeys(tuple(row[key] for key in keys) for row in summary if row["dataset"] != AVERAGE)
    return [
        {
            **dict(zip(keys, place, strict=True)),
            **{name: getattr(column, name) for name in ("method", "variant", "encoder")},
            "reason": not_run[column.encoder],
        }
        for column in columns
        if column.encoder in not_run
        for place in places
    ]


def _with_printed(summary: Sequence[Mapping[str, Any]], grids: Sequence[Block]) -> list[dict[str, Any]]:
    """The lines of the CSV: those of the summary with the printed number, then the paper's that were not run."""
    blank = dict.fromkeys(COLUMNS)
    printed: dict[tuple[str, ...], dict[str, Any]] = {}
    for block in grids:
        for section, cells in block.sections:
            for cell in cells:
                if cell.printed is not None or cell.ours is not None:
                    line = {**record(section, block.protocol, cell), "dataset": _dataset_of(cell)}
                    printed[tuple(line[name] for name in KEY)] = line
    found = []
    for row in summary:
        line = printed.pop(tuple(row[name] for name in KEY), {})
        ours = {**row, "reason": row.get("reason") or line.get("reason")}
        found.append({name: (blank | line | ours)[name] for name in COLUMNS})
    return found + [{name: (blank | line)[name] for name in COLUMNS} for line in printed.values()]


def _dataset_of(cell: Cell) -> str:
    """``average`` of all, or what the row is called, as the average without one."""
    return cell.row.label.replace("Average", AVERAGE) if cell.key.over else cell.key.dataset


def to_markdown(
    summary: Sequence[Mapping[str, Any]],
    grids: Sequence[Block],
    columns: Sequence[Column],
    failed: Sequence[str],
    reasons: NoFolds,
    not_run: Mapping[str, str],
) -> str:
    """The whole page."""
    parts = ["# Table 1: Pearson correlation", f"{HOW_TO_READ} {CONSTANT}"]
    grid = {block.protocol: block.sections for block in grids}
    for protocol in dict.fromkeys([*grid, *(row["protocol"] for row in summary), *(key[2] for key in reasons)]):
        rows = [row for row in summary if row["protocol"] == protocol]
        empty = {key[:2]: reason for key, reason in reasons.items() if key[2] == protocol}
        sections = grid.get(protocol, [])
        theirs, ours = _paper_parts(sections), _own_parts(rows, columns, list(empty))
        ran = any(cell.ours for _, cells in sections for cell in cells)
        parts += [f"## Protocol {protocol}", PROTOCOLS.get(protocol, "")]
        parts += [*theirs, *ours] if ran else [*ours, *theirs]
        if rows:
            parts.append(encoders_told([column for column in columns if column.encoder not in not_run]))
        told = [f"- {'/'.join(key)}: no fold under this protocol, as {reason}." for key, reason in empty.items()]
        parts.append("\n".join(_scored([row for row in rows if "mean" in row]) + told))
    parts += [not_run_section(not_run), failed_section(failed)]
    return "\n\n".join(part for part in parts if part) + "\n"


def not_run_section(not_run: Mapping[str, str]) -> str:
    """Encoders that nothing was run with, and why; empty if there is none."""
    if not not_run:
        return ""
    return "\n".join(
        [f"## Encoders not run: {len(not_run)}", "", *(f"- {name}: {why}" for name, why in not_run.items())]
    )


def failed_section(failed: Sequence[str]) -> str:
    """Failed runs by name with the reason, or that there are none."""
    if not failed:
        return "No run failed."
    return "\n".join([f"## Failed runs: {len(failed)}", "", *(f"- `{line}`" for line in failed)])


def _paper_parts(sections: Sequence[tuple[Section, list[Cell]]]) -> list[str]:
    """The paper's layout."""
    reasons, parts = Reasons(), []
    for section, cells in sections:
        if text := section_block(section, cells, reasons):
            ran = any(cell.ours for cell in cells)
            parts += [f"### The paper's table, {section.heading}" + ("" if ran else " (not run)"), text]
    return [*parts, *notes(sections, reasons)]


def _own_parts(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], empty: Sequence[tuple[str, str]]
) -> list[str]:
    """All methods of the configuration, a block a benchmark: a row a method, a column a dataset."""
    parts = []
    for benchmark in dict.fromkeys([*(row["benchmark"] for row in rows), *(key[0] for key in empty)]):
        here = [row for row in rows if row["benchmark"] == benchmark]
        names = dict.fromkeys(row["dataset"] for row in here if row["dataset"] != AVERAGE)
        names |= dict.fromkeys(dataset for where, dataset in empty if where == benchmark)
        shown = [*names, *([AVERAGE] if any(row["dataset"] == AVERAGE for row in here) else [])]
        cell = {(Column.of(row), row["dataset"]): row for row in here}
        present = [column for column in columns if any((column, name) in cell for name in shown)]
        places = {name: [cell.get((column, name)) for column in present] for name in shown}
        ranked = {name: ranks([number_of(row) for row in found]) for name, found in places.items()}
        body = [
            [label, *(_cell(places[name][place], ranked[name][place]) for name in shown)]
            for place, label in enumerate(labels(present).values())
        ]
        parts += [f"### All methods, {benchmark}", format_table(["method", *shown], body)]
    return parts


def _cell(row: Mapping[str, Any] | None, rank: int) -> str:
    if row is None:
        return MISSING
    if "mean" not in row:
        return "not run"
    if row["n_seeds"] == 0 and row["n_failed"]:
        return mark("failed", rank)
    return mark(with_spread(row["mean"], row["std"]), rank)


def _scored(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line a dataset: folds, seeds, spots, genes, undefined ones."""
    lines = []
    for benchmark, dataset in dict.fromkeys((row["benchmark"], row["dataset"]) for row in rows):
        if dataset == AVERAGE:
            continue
        here = [row for row in rows if (row["benchmark"], row["dataset"]) == (benchmark, dataset)]
        first = here[0]
        seeds: dict[int, list[str]] = {}
        for row in here:
            label = method_label(row["method"], row["variant"])
            seeds.setdefault(int(row["n_seeds"]), []).append(label)
        told = "; ".join(f"{count} of {', '.join(dict.fromkeys(names))}" for count, names in sorted(seeds.items()))
        undefined = max(int(row["n_undefined"]) for row in here)
        lines.append(
            f"- {benchmark}/{dataset}: "
            f"{_count(int(first['n_folds']), 'fold')}, {_count(int(first['n_spots']), 'test spot')}, "
            f"{first['n_genes']:g} genes a fold; "
            f"undefined because measured constant: {undefined} of {round(first['n_genes'] * first['n_folds'])} genes "
            f"x folds; seeds: {told}."
        )
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
