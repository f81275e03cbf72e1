"""The command line's intervals, tests between methods, and what a protocol gains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stflow.cli_options import NotRun, pairs, words
from stflow.cli_report import figure_app, table_app

Metrics = Annotated[list[Path], typer.Argument(help="Metrics files.")]
Splits = Annotated[list[Path], typer.Option("--splits", help="Splits files of the results: whose slides are whose.")]
Csv = Annotated[Path, typer.Option("--csv", help="CSV to write.")]
Md = Annotated[Path, typer.Option("--md", help="Markdown to write.")]
Methods = Annotated[str, typer.Option("--methods", help="Order: method[/variant][@encoder], comma between.")]


@table_app.command("intervals")
def table_intervals(
    metrics: Metrics, splits: Splits, csv: Csv, md: Md, methods: Methods = "", not_run: NotRun = None
) -> None:
    """How sure each score is: bootstrap intervals, and spreads over seeds, folds and patients."""
    from stflow.report.intervals import make_intervals

    make_intervals(metrics, splits, csv, md, words(methods), pairs(not_run))


@table_app.command("comparisons")
def table_comparisons(
    metrics: Metrics, splits: Splits, csv: Csv, md: Md, methods: Methods = "", not_run: NotRun = None
) -> None:
    """Tests between methods, dataset by dataset and over datasets."""
    from stflow.report.comparisons import make_comparisons

    make_comparisons(metrics, splits, csv, md, words(methods), pairs(not_run))


@table_app.command("protocol-gap")
def table_protocol_gap(
    metrics: Metrics, splits: Splits, csv: Csv, md: Md, methods: Methods = "", not_run: NotRun = None
) -> None:
    """What a score gains where the epoch and the genes are chosen with the test slides."""
    from stflow.report.protocol_gap import make_protocol_gap

    make_protocol_gap(metrics, splits, csv, md, words(methods), pairs(not_run))


@figure_app.command("critical-difference")
def figure_critical_difference(
    metrics: Metrics,
    pdf: Annotated[Path, typer.Option(help="PDF to write.")],
    png: Annotated[Path, typer.Option(help="PNG to write.")],
    methods: Methods = "",
    not_run: NotRun = None,
) -> None:
    """Mean ranks of the methods over datasets, and which of them cannot be told apart."""
    from stflow.report.critical_difference import make_critical_difference

    make_critical_difference(metrics, pdf, png, words(methods), pairs(not_run))
