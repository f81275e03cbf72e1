"""The command line's exports, and the report's pages of runs and provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stflow.cli_options import Results, RunName

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
