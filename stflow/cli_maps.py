"""The command line's maps of genes, refinement steps, and efficiency: what they are made of, and how they are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from stflow.cli_options import BySlide, Device, ManifestPath, Out, Results, RunName, Threads, pairs, words
from stflow.cli_report import figure_app, table_app

maps_app = typer.Typer()

Csv = Annotated[Path, typer.Option("--csv", help="CSV to write.")]
Md = Annotated[Path, typer.Option("--md", help="Markdown to write.")]
Pdf = Annotated[Path, typer.Option("--pdf", help="PDF to write.")]
Png = Annotated[Path, typer.Option("--png", help="PNG to write.")]
Maps = Annotated[list[str], typer.Option("--map", help="benchmark/slide/gene/protocol, a row each.")]
Images = Annotated[list[str] | None, typer.Option("--image", help="benchmark/slide=image to draw below its spots.")]
Colormap = Annotated[str, typer.Option("--colormap", help="matplotlib colour map.")]
Width = Annotated[Literal["double", "single"], typer.Option("--width", help="double: 180 mm, single: 88 mm.")]


@maps_app.command("map-genes")
def map_genes(
    results: Results,
    benchmark: Annotated[str, typer.Option(help="Benchmark.")],
    dataset: Annotated[str, typer.Option(help="Dataset.")],
    protocol: Annotated[str, typer.Option(help="paper or clean.")],
    wanted: Annotated[list[str], typer.Option(help="fold/slide/gene of a map.")],
    out: Out,
) -> None:
    """Check that the genes which maps show are among those that their folds predict."""
    from stflow.data.map_genes import check_map_genes

    check_map_genes(results, benchmark, dataset, protocol, wanted, out)


@maps_app.command("refine")
def refine(
    results: Results,
    run: RunName,
    manifest: ManifestPath,
    slide: Annotated[str, typer.Option(help="Test slide of the run's fold.")],
    genes: Annotated[str, typer.Option(help="Genes to keep, comma between.")],
    out: Out,
    settings: Annotated[str, typer.Option(help="Settings of sampling, as JSON.")] = "{}",
    trained_as: Annotated[str, typer.Option(help="Variant whose model predicts; default: the run's own.")] = "",
    threads: Threads = 1,
    device: Device = "auto",
    by_slide: BySlide = False,
) -> None:
    """Record what a trained STFlow guesses at every sampling step."""
    from stflow.training.refine import refine_run

    refine_run(
        results,
        run,
        manifest,
        slide,
        words(genes),
        out,
        settings,
        trained_as,
        threads=threads,
        device=device,
        by_slide=by_slide,
    )


@maps_app.command("efficiency")
def efficiency(
    method: Annotated[str, typer.Option(help="method or method/variant, at its default settings.")],
    csv: Csv,
    facts: Annotated[Path, typer.Option(help="JSON of the machine and the settings to write.")],
    spots: Annotated[str, typer.Option(help="Sizes of the slide, comma between.")] = "1000,5000,10000,20000,30000",
    what: Annotated[str, typer.Option(help="predict, train, or both with a comma between.")] = "predict",
    repeats: Annotated[int, typer.Option(min=1, help="Runs in a process; the median counts.")] = 5,
    features: Annotated[int, typer.Option(min=1, help="Size of the features.")] = 1024,
    genes: Annotated[int, typer.Option(min=1, help="Genes that are predicted.")] = 50,
    limit_s: Annotated[float, typer.Option(help="Most time of one measurement, s.")] = 600.0,
    limit_gb: Annotated[float, typer.Option(help="Most memory of one measurement on the CPU, GB.")] = 32.0,
    threads: Threads = 1,
    device: Device = "auto",
) -> None:
    """Measure time and memory of a method against the number of spots."""
    from stflow.efficiency.measure import Work, measure_method

    work = Work(method, features, genes, repeats, threads, device, limit_s, limit_gb)
    measure_method(work, [int(n) for n in words(spots)], words(what), csv, facts)


@figure_app.command("maps")
def figure_maps(
    predictions: Annotated[list[Path], typer.Argument(help="Predictions, in the order of the panels.")],
    results: Results,
    maps: Maps,
    pdf: Pdf,
    png: Png,
    image: Images = None,
    colormap: Colormap = "coolwarm",
    width: Width = "double",
) -> None:
    """Measured beside predicted expression of genes on the tissue (figures 4 and 7)."""
    from stflow.report.maps.figure import make_maps

    images = {name: Path(path) for name, path in pairs(image).items()}
    make_maps(results, predictions, maps, pdf, png, images=images, colormap=colormap, width=width)


@figure_app.command("refinement")
def figure_refinement(
    refinements: Annotated[list[Path], typer.Argument(help="Files of `stflow refine`.")],
    results: Results,
    maps: Maps,
    pdf: Pdf,
    png: Png,
    image: Images = None,
    colormap: Colormap = "coolwarm",
    width: Width = "double",
) -> None:
    """STFlow's guess at every sampling step on the tissue (figure 6)."""
    from stflow.report.refinement import make_refinement

    images = {name: Path(path) for name, path in pairs(image).items()}
    make_refinement(results, refinements, maps, pdf, png, images=images, colormap=colormap, width=width)


@figure_app.command("efficiency")
def figure_efficiency(
    measured: Annotated[list[Path], typer.Argument(help="CSVs of `stflow efficiency`.")],
    pdf: Pdf,
    png: Png,
    width: Width = "double",
) -> None:
    """Time and memory of prediction against spots (figure 5)."""
    from stflow.report.efficiency import make_efficiency

    make_efficiency(measured, pdf, png, width=width)


@table_app.command("table6")
def table_table6(
    csv: Csv,
    md: Md,
    measured: Annotated[list[Path] | None, typer.Argument(help="CSVs of `stflow efficiency`.")] = None,
    settings: Annotated[str, typer.Option(help="JSON: method -> its settings in the configuration.")] = "{}",
    features: Annotated[int, typer.Option(min=1, help="Size of the features.")] = 1024,
    genes: Annotated[int, typer.Option(min=1, help="Genes that are predicted.")] = 50,
) -> None:
    """Parameters of the methods, and their time and memory (table 6)."""
    from stflow.report.table6 import make_table6

    make_table6(measured or [], csv, md, settings, features, genes)
