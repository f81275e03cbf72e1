"""The command line's tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stflow.cli_options import ManifestPath, NotRun, NotSame, Results, pairs, words

table_app = typer.Typer(no_args_is_help=True, help="Tables from the long metrics.")
figure_app = typer.Typer(no_args_is_help=True, help="Figures from predictions.")


@figure_app.command("tissue")
def figure_tissue(
    tiles: Annotated[Path, typer.Option(help="Tiles file of the slide.")],
    png: Annotated[Path, typer.Option(help="PNG to write.")],
) -> None:
    """The slide with its tissue outlined and its spots."""
    from stflow.wsi.tissue_picture import make_tissue_picture

    make_tissue_picture(tiles, png)


@table_app.command("table1")
def table_table1(
    metrics: Annotated[list[Path], typer.Argument(help="Metrics files.")],
    csv: Annotated[Path, typer.Option(help="CSV to write.")],
    md: Annotated[Path, typer.Option(help="Markdown to write.")],
    methods: Annotated[str, typer.Option(help="Order: method[/variant][@encoder], comma between.")] = "",
    splits: Annotated[list[Path] | None, typer.Option(help="Splits files: why a dataset has no number.")] = None,
    not_run: NotRun = None,
    not_same: NotSame = None,
) -> None:
    """Table 1: Pearson of every method on every dataset, by protocol, beside the printed numbers."""
    from stflow.report.table1 import make_table1

    make_table1(metrics, csv, md, words(methods), splits or [], pairs(not_run), pairs(not_same))


@table_app.command("paper")
def table_paper(
    name: Annotated[str, typer.Option(help="table2 to table5, table9 to table13.")],
    csv: Annotated[Path, typer.Option(help="CSV to write.")],
    md: Annotated[Path, typer.Option(help="Markdown to write.")],
    metrics: Annotated[list[Path] | None, typer.Argument(help="Metrics files.")] = None,
    gene: Annotated[list[str] | None, typer.Option(help="benchmark/dataset/gene of a map, for table2.")] = None,
    not_run: NotRun = None,
    not_same: NotSame = None,
) -> None:
    """One of the paper's other tables of scores, beside the printed numbers."""
    from stflow.report.paper.make import make_paper_table

    genes = [(benchmark, dataset, symbol) for benchmark, dataset, symbol in (g.split("/", 2) for g in gene or [])]
    make_paper_table(name, metrics or [], csv, md, genes, pairs(not_run), pairs(not_same))


@table_app.command("gene-groups")
def table_gene_groups(
    metrics: Annotated[list[Path], typer.Argument(help="Metrics files of one benchmark.")],
    groups: Annotated[Path, typer.Option(help="JSON of named gene lists.")],
    csv: Annotated[Path, typer.Option(help="CSV to write.")],
    md: Annotated[Path, typer.Option(help="Markdown to write.")],
    methods: Annotated[str, typer.Option(help="Order: method[/variant][@encoder], comma between.")] = "",
    not_run: NotRun = None,
) -> None:
    """Pearson by named groups of genes, as the demo's planted truth."""
    from stflow.report.gene_groups import make_gene_groups

    make_gene_groups(metrics, groups, csv, md, words(methods), pairs(not_run))


@table_app.command("calibration")
def table_calibration(
    csv: Annotated[Path, typer.Option(help="CSV to write.")],
    md: Annotated[Path, typer.Option(help="Markdown to write.")],
    metrics: Annotated[list[Path] | None, typer.Argument(help="Metrics files.")] = None,
    methods: Annotated[str, typer.Option(help="Order: method[/variant][@encoder], comma between.")] = "",
    not_run: NotRun = None,
) -> None:
    """CRPS, coverage and width of predictions with several samples."""
    from stflow.report.calibration import make_calibration

    make_calibration(metrics or [], csv, md, words(methods), pairs(not_run))


@table_app.command("audit")
def table_audit(
    audits: Annotated[list[Path], typer.Argument(help="Audits of datasets and protocols.")],
    csv: Annotated[Path, typer.Option(help="CSV to write.")],
    md: Annotated[Path, typer.Option(help="Markdown to write.")],
) -> None:
    """What leaks in the folds of every dataset, by protocol."""
    from stflow.report.audit import make_audit_table

    make_audit_table(audits, csv, md)


@table_app.command("datasets")
def table_datasets(
    results: Results,
    benchmark: Annotated[str, typer.Option(help="Benchmark.")],
    manifest: ManifestPath,
    csv: Annotated[Path, typer.Option(help="CSV to write.")],
    md: Annotated[Path, typer.Option(help="Markdown to write.")],
    datasets: Annotated[str, typer.Option(help="Datasets to show, comma between; default: all.")] = "",
) -> None:
    """Slides, patients, folds and spots of a benchmark's datasets (tables 7 and 8)."""
    from stflow.report.datasets import make_datasets

    make_datasets(results, benchmark, manifest, words(datasets), csv, md)


@table_app.command("methods")
def table_methods(
    metrics: Annotated[list[Path], typer.Argument(help="Metrics files.")],
    results: Results,
    csv: Annotated[Path, typer.Option(help="CSV to write.")],
    md: Annotated[Path, typer.Option(help="Markdown to write.")],
    methods: Annotated[str, typer.Option(help="Rows' order, as of table1.")] = "",
    not_run: NotRun = None,
) -> None:
    """What every method scores, and what its jobs took."""
    from stflow.report.methods import make_methods

    make_methods(metrics, results, csv, md, words(methods), pairs(not_run))


@table_app.command("page")
def table_page(
    md: Annotated[Path, typer.Option(help="Markdown to read.")],
    html: Annotated[Path, typer.Option(help="HTML to write.")],
    tex: Annotated[Path | None, typer.Option(help="LaTeX to write.")] = None,
    csv: Annotated[Path | None, typer.Option(help="The table as CSV, which the page offers.")] = None,
) -> None:
    """A table as a page of HTML, as the report shows it, and as LaTeX."""
    from stflow.report.page import make_page

    make_page(md, html, tex, csv)


@figure_app.command("histograms")
def figure_histograms(
    datasets: Annotated[list[str], typer.Argument(help="benchmark/dataset=slide,slide: one panel each.")],
    results: Results,
    protocol: Annotated[str, typer.Option(help="Protocol whose genes are shown apart.")],
    pdf: Annotated[Path, typer.Option(help="PDF to write.")],
    png: Annotated[Path, typer.Option(help="PNG to write.")],
) -> None:
    """Measured counts of whole datasets, with mean and standard deviation (figure 2)."""
    from stflow.report.histograms import make_histograms

    panels = [(name, words(slides)) for name, _, slides in (text.partition("=") for text in datasets)]
    make_histograms(results, panels, protocol, pdf, png)
