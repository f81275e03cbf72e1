"""The command line's exports, and the report's pages of runs and provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stflow.cli_options import Results, RunName
from stflow.cli_report import table_app

export_app = typer.Typer()


@export_app.command()
def export(
    results: Results,
    run: RunName,
    slide: Annotated[str, typer.Option(help="A slide that the run tests.")],
    out: Annotated[Path | None, typer.Option(help="AnnData to write, .h5ad.")] = None,
    spatialdata: Annotated[Path | None, typer.Option(help="SpatialData to write, .zarr.")] = None,
    image: Annotated[Path | None, typer.Option(help="Slide image, for tiles files without a picture.")] = None,
) -> None:
    """Write a slide's measured and predicted expression for scanpy, squidpy and SpatialData."""
    from stflow.export.h5ad import export_slide

    export_slide(results, run, slide, out, spatialdata, image)


@table_app.command("summary")
def table_summary(
    tables: Annotated[list[Path], typer.Argument(help="CSVs of the paper's tables.")],
    methods: Annotated[Path, typer.Option(help="CSV of the table of methods.")],
    audit: Annotated[Path, typer.Option(help="CSV of the audit.")],
    csv: Annotated[Path, typer.Option(help="CSV to write.")],
    md: Annotated[Path, typer.Option(help="Markdown to write.")],
    rst: Annotated[Path, typer.Option(help="The same for the report's front page, as reStructuredText.")],
    cost: Annotated[Path | None, typer.Option(help="CSV of the page of provenance.")] = None,
) -> None:
    """Verdicts beside the paper's numbers, the best methods, leaks, failures and cost on one page."""
    from stflow.report.summary import make_summary

    make_summary(tables, methods, audit, cost, csv, md, rst)


@table_app.command("provenance")
def table_provenance(
    results: Results,
    csv: Annotated[Path, typer.Option(help="CSV to write.")],
    md: Annotated[Path, typer.Option(help="Markdown to write.")],
    cpu_watts: Annotated[float, typer.Option(help="Power of a busy CPU core, W.")],
    gpu_watts: Annotated[float, typer.Option(help="Power of a GPU in use, W.")],
) -> None:
    """Versions, hashes, seeds, hardware, time, an estimate of energy, and the configuration."""
    from stflow.report.provenance_page import make_provenance

    make_provenance(results, csv, md, cpu_watts, gpu_watts)


@table_app.command("runs")
def table_runs(
    metrics: Annotated[list[Path], typer.Argument(help="Metrics files.")],
    results: Results,
    csv: Annotated[Path, typer.Option(help="CSV to write.")],
    md: Annotated[Path, typer.Option(help="Markdown to write.")],
) -> None:
    """Every run in a line, and the logs of its jobs."""
    from stflow.report.runs_page import make_runs

    make_runs(metrics, results, csv, md)
