"""Table 1: Pearson correlation of every method on every dataset, by protocol, beside what the paper printed.

The CSV holds one line a group; the markdown one block a protocol, rows of datasets, columns of methods, and below
them what was scored, what was undefined and what failed. Both come from the same summary of the long metrics.
"""

from __future__ import annotations

import math
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
from stflow.report.published import printed, printed_average
from stflow.report.render import MISSING, format_table, mark, ranks, to_csv, with_spread
from stflow.report.style import method_label

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "benchmark",
    "dataset",
    "encoder",
    "protocol",
    "method",
    "variant",
    "mean",
    "std",
    "n_folds",
    "n_seeds",
    "n_genes",
    "n_undefined",
    "n_failed",
    "printed_mean",
    "printed_std",
    "not_run",
)

#: What each protocol means, in one line below its heading.
PROTOCOLS = {
    "paper": "As the released code: epoch chosen on the test fold where there are no validation slides, the dataset's "
    "own gene list.",
    "clean": "Without leaks: the test slides have no part in the choice of epoch and genes; no patient on both sides.",
}

HOW_TO_READ = (
    "Pearson correlation of measured and predicted log1p counts, gene by gene over all test spots of a fold pooled; "
    "mean over genes, then folds, then seeds. ± is the population standard deviation over seeds (ddof = 0); a number "
    "without it comes from one seed, as for a method that draws nothing at random. In each row **best** and "
    "<u>second</u>. A constant prediction scores 0."
)

#: (benchmark, dataset, protocol) -> why it has no folds.
Reasons = Mapping[tuple[str, str, str], str]


def make_table1(
    metrics: Sequence[Path],
    csv_path: Path,
    md_path: Path,
    methods: Sequence[str] = (),
    splits: Sequence[Path] = (),
    not_run: Mapping[str, str] | None = None,
) -> None:
    """Write table 1 as CSV and markdown.

    Parameters
    ----------
    metrics
        Metrics files.
    csv_path, md_path
        Files to write.
    methods
        Columns in order, see `stflow.report.columns.Column.parse`; methods that are not named follow as they come.
    splits
        The benchmarks' `stflow.data.split_record` files: they say why a dataset has no folds, and so no number.
    not_run
        Encoder -> why nothing was run with it; the methods on it have their columns, without numbers.

    Raises
    ------
    IntegrityError
        A metrics file that is missing or cut short.
    """
    runs = run_scores(read_metrics(metrics))
    columns = method_order(runs, methods, list(not_run or {}))
    summary = records(summarise(runs), columns) + records(average_datasets(runs), columns)
    rows = [{**row, "not_run": None} for row in summary] + _rows_not_run(summary, columns, not_run or {})
    _add_printed(rows)
    write_text(csv_path, to_csv(COLUMNS, rows))
    write_text(md_path, to_markdown(rows, columns, failures(runs), reasons_in(splits), not_run or {}))


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
            **dict.fromkeys(COLUMNS),
            **dict(zip(keys, place, strict=True)),
            **{name: getattr(column, name) for name in ("method", "variant", "encoder")},
            "not_run": not_run[column.encoder],
        }
        for column in columns
        if column.encoder in not_run
        for place in places
    ]


def to_markdown(
    summary: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    failed: Sequence[str],
    reasons: Reasons,
    not_run: Mapping[str, str],
) -> str:
    """The whole page."""
    parts = ["# Table 1: Pearson correlation", HOW_TO_READ]
    for protocol in dict.fromkeys([*(row["protocol"] for row in summary), *(key[2] for key in reasons)]):
        rows = [row for row in summary if row["protocol"] == protocol]
        empty = {key[:2]: reason for key, reason in reasons.items() if key[2] == protocol}
        parts += [
            f"## Protocol {protocol}",
            PROTOCOLS.get(protocol, ""),
            _block(rows, columns, list(empty)),
        ]
        if any(row["printed_mean"] is not None for row in rows):
            parts.append("In parentheses: the number printed in the paper (arXiv 2506.05361, tables 1 and 12).")
        parts.append(encoders_told([column for column in columns if column.encoder not in not_run]))
        told = [f"- {'/'.join(key)}: no fold under this protocol, as {reason}." for key, reason in empty.items()]
        parts.append("\n".join(_scored([row for row in rows if not row["not_run"]]) + told))
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


def _block(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], empty: Sequence[tuple[str, str]]) -> str:
    """A row a dataset; one without numbers for each (benchmark, dataset) of ``empty``."""
    body = []
    # Averages stand below the datasets of their benchmark.
    lines = [(row["benchmark"], row["dataset"] == AVERAGE, row["dataset"]) for row in rows]
    lines += [(benchmark, False, dataset) for benchmark, dataset in empty]
    places = list(dict.fromkeys(lines))
    benchmarks = list(dict.fromkeys(line[0] for line in lines))
    order = sorted(places, key=lambda line: (benchmarks.index(line[0]), line[1], places.index(line)))
    for benchmark, _, dataset in order:
        here = {Column.of(row): row for row in rows if (row["benchmark"], row["dataset"]) == (benchmark, dataset)}
        means = [
            here[column]["mean"] if column in here and not here[column]["not_run"] else math.nan for column in columns
        ]
        cells = [
            _cell(here[column], rank) if column in here else MISSING
            for column, rank in zip(columns, ranks(means), strict=True)
        ]
        body.append([benchmark, dataset, *cells])
    return format_table(["benchmark", "dataset", *labels(columns).values()], body, 2)


def _cell(row: Mapping[str, Any], rank: int) -> str:
    if row["not_run"]:
        text = "not run"
    elif row["n_seeds"] == 0 and row["n_failed"]:
        text = mark("failed", rank)
    else:
        text = mark(with_spread(row["mean"], row["std"]), rank)
    if row["printed_mean"] is not None:
        text += f" ({with_spread(row['printed_mean'], row['printed_std'])})"
    return text


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


def _add_printed(summary: list[dict[str, Any]]) -> None:
    """Add printed_mean and printed_std, None where the paper has no such number."""
    for row in summary:
        where = (row["encoder"], row["method"], row["variant"], row["protocol"])
        if row["dataset"] == AVERAGE:
            datasets = {other["dataset"] for other in summary if other["benchmark"] == row["benchmark"]} - {AVERAGE}
            row["printed_mean"], row["printed_std"] = printed_average(row["benchmark"], datasets, *where), None
        else:
            row["printed_mean"], row["printed_std"] = printed(row["benchmark"], row["dataset"], *where) or (None, None)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
