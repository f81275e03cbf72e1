"""Pearson correlation by named groups of genes, and by how much the neighbourhood pays.

A group is a list of genes, as the demo's planted truth has them: ``interaction`` genes answer to what neighbouring
spots express, ``morphology`` genes to what the spot's own tile shows. Under the clean protocol each fold has its own
gene list; a group's genes that a fold's list lacks are left out there, and the table says how many were scored.

Margins are differences of means, also in units of the seed spread: the root of the sum of both methods' variances
over seeds (a method that ran with one seed adds none).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stflow.errors import GeneError
from stflow.evaluation.aggregate import GROUP, failures, read_metrics, run_scores, summarise
from stflow.io import read_json, write_text
from stflow.report.columns import Column, encoders_told, labels, method_order
from stflow.report.render import MISSING, format_table, mark, number, ranks, to_csv, with_spread
from stflow.report.style import method_label
from stflow.report.table1 import HOW_TO_READ, failed_section, not_run_section, records

if TYPE_CHECKING:
    import pandas as pd

#: The methods that see a spot's own tile alone; margins are over them.
REFERENCES = ("random_forest", "ridge")
#: The method whose margins the page shows; the best of the others where it did not run.
FAVOURITE = "stflow"

COLUMNS = (
    *("benchmark", "dataset", "encoder", "protocol", "group", "method", "variant"),
    *("mean", "std", "n_folds", "n_seeds", "n_genes", "n_genes_min", "n_genes_max", "n_listed"),
    *("n_undefined", "n_failed"),
    *(f"{what}_{name}" for name in REFERENCES for what in ("margin", "spreads")),
)


def make_gene_groups(
    metrics: Sequence[Path],
    groups: Path,
    csv_path: Path,
    md_path: Path,
    methods: Sequence[str] = (),
    not_run: Mapping[str, str] | None = None,
) -> None:
    """Write the scores by group of genes as CSV and markdown.

    Parameters
    ----------
    metrics
        Metrics files of one benchmark.
    groups
        JSON whose top-level lists of names are the groups; other entries are notes.
    csv_path, md_path
        Files to write.
    methods
        Rows in order, see `stflow.report.columns.Column.parse`.
    not_run
        Encoder -> why nothing was run with it.

    Raises
    ------
    GeneError
        The JSON has no group, or none of its genes was scored.
    IntegrityError
        A file that is missing or cut short.
    """
    lists = read_groups(groups)
    table = read_metrics(metrics, ["pearson"], [])
    every_run = run_scores(table)
    columns = method_order(every_run, methods)
    rows: list[dict[str, Any]] = []
    for group, genes in lists.items():
        runs = run_scores(table, genes=genes)
        if not runs.empty:
            rows += _rows(runs, group, len(genes), columns)
    if not rows:
        raise GeneError(f"none of the genes of {groups} was scored. Check that it belongs to this benchmark.")
    _add_margins(rows)
    write_text(csv_path, to_csv(COLUMNS, rows))
    unscored = [group for group in lists if group not in {row["group"] for row in rows}]
    write_text(md_path, to_markdown(rows, columns, unscored, failures(every_run), not_run or {}))


def read_groups(path: Path) -> dict[str, list[str]]:
    """Group name -> genes, from the lists of strings at the top level of a JSON object.

    Raises
    ------
    GeneError
        There is none.
    """
    lists = {
        name: value
        for name, value in read_json(path).items()
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value)
    }
    if not lists:
        raise GeneError(f'{path} has no group of genes. Write e.g. {{"interaction": ["CXCL9", "CXCL10"]}}.')
    return lists


def to_markdown(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    unscored: Sequence[str],
    failed: Sequence[str],
    not_run: Mapping[str, str],
) -> str:
    """The whole page."""
    benchmarks = ", ".join(dict.fromkeys(row["benchmark"] for row in rows))
    parts = [f"# Pearson correlation by group of genes: {benchmarks}", HOW_TO_READ]
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        here = [row for row in rows if row["protocol"] == protocol]
        parts += [f"## Protocol {protocol}", _scores(here, columns), _margins(here)]
    parts.append(encoders_told(columns))
    if unscored:
        parts.append(f"No gene of these groups was scored: {', '.join(unscored)}.")
    parts += [not_run_section(not_run), failed_section(failed)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rows(runs: pd.DataFrame, group: str, n_listed: int, columns: Sequence[Column]) -> list[dict[str, Any]]:
    scored = runs.groupby(GROUP, sort=False, observed=True)["n_genes"]
    limits = scored.agg(n_genes_min="min", n_genes_max="max").reset_index()
    found = records(summarise(runs).merge(limits, on=GROUP), columns)
    return [{**row, "group": group, "n_listed": n_listed} for row in found]


def _add_margins(rows: list[dict[str, Any]]) -> None:
    """Add to every row its margin over each reference, and that margin in seed spreads; None where undefined."""
    by_name = {_key(row, row["method"]): row for row in rows if row["variant"] == "default"}
    for row in rows:
        for name in REFERENCES:
            other = by_name.get(_key(row, name))
            margin = spreads = None
            if other is not None and other is not row and not math.isnan(row["mean"] - other["mean"]):
                margin = row["mean"] - other["mean"]
                spread = math.hypot(*(0.0 if math.isnan(one["std"]) else one["std"] for one in (row, other)))
                spreads = margin / spread if spread > 0 else None
            row[f"margin_{name}"], row[f"spreads_{name}"] = margin, spreads


def _key(row: Mapping[str, Any], method: str) -> tuple[str, ...]:
    return (row["benchmark"], row["dataset"], row["encoder"], row["protocol"], row["group"], method)


def _scores(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> str:
    """A row a method, a column a group; a block a dataset where there are several."""
    blocks = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        here = [row for row in rows if row["dataset"] == dataset]
        groups = list(dict.fromkeys(row["group"] for row in here))
        cell = {(Column.of(row), row["group"]): row for row in here}
        shown = {}
        for group in groups:
            means = [cell[column, group]["mean"] if (column, group) in cell else math.nan for column in columns]
            for column, rank in zip(columns, ranks(means), strict=True):
                row = cell.get((column, group))
                shown[column, group] = mark(with_spread(row["mean"], row["std"]), rank) if row else MISSING
        header = [f"{group} ({_n_genes([row for row in here if row['group'] == group])})" for group in groups]
        body = [
            [label, *(shown[column, group] for group in groups)]
            for column, label in labels(columns).items()
            if any((column, group) in cell for group in groups)
        ]
        blocks.append(format_table([f"{dataset}: group (genes)", *header], body))
    return "\n\n".join(blocks)


def _margins(rows: Sequence[Mapping[str, Any]]) -> str:
    """Margins of the favourite, or of the best method that is no reference."""
    names, blocks = _row_names(rows)
    body = []
    for names_here, block in blocks.items():
        rivals = [row for row in block if row["method"] not in REFERENCES and not math.isnan(row["mean"])]
        if not rivals or not any(row["method"] in REFERENCES for row in block):
            continue
        ours = [row for row in rivals if (row["method"], row["variant"]) == (FAVOURITE, "default")]
        best = ours[0] if ours else max(rivals, key=lambda row: row["mean"])
        cells = [_margin(best[f"margin_{name}"], best[f"spreads_{name}"]) for name in REFERENCES]
        body.append([*names_here, method_label(best["method"], best["variant"]), *cells])
    if not body:
        return ""
    table = format_table(
        [*names, "method", *(f"over {method_label(name).lower()}" for name in REFERENCES)], body, len(names) + 1
    )
    return f"Margins, and in parentheses the same in units of the seed spread of the two methods together:\n\n{table}"


def _margin(margin: float | None, spreads: float | None) -> str:
    if margin is None:
        return MISSING
    sign = "+" if margin >= 0 else ""
    return f"{sign}{number(margin)}" + ("" if spreads is None else f" ({spreads:+.1f})")


def _n_genes(block: Sequence[Mapping[str, Any]]) -> str:
    low, high = int(min(row["n_genes_min"] for row in block)), int(max(row["n_genes_max"] for row in block))
    scored = f"{low}" if low == high else f"{low} to {high}"
    return f"{scored} of {block[0]['n_listed']}"


def _row_names(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[list[str], dict[tuple[str, ...], list[Mapping[str, Any]]]]:
    """Names of the label columns, and labels -> rows; columns that would say the same everywhere are left out."""
    names = [name for name in ("dataset", "encoder") if len({row[name] for row in rows}) > 1]
    names.append("group")
    blocks: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        blocks.setdefault(tuple(str(row[name]) for name in names), []).append(row)
    return names, blocks
