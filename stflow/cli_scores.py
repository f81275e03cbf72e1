"""The command line's table of scores past pooled Pearson."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stflow.cli_options import NotRun, pairs, words
from stflow.cli_report import table_app


@table_app.command("scores")
def table_scores(
    metrics: Annotated[list[Path], typer.Argument(help="Metrics files.")],
    csv: Annotated[Path, typer.Option(help="CSV to write.")],
    md: Annotated[Path, typer.Option(help="Markdown to write.")],
    methods: Annotated[str, typer.Option(help="Rows' order, as of table1.")] = "",
    not_run: NotRun = None,
) -> None:
    """Errors, rank correlation, variance, maps and spots: what pooled Pearson does not see."""
    from stflow.report.scores import make_scores

    make_scores(metrics, csv, md, words(methods), pairs(not_run))
