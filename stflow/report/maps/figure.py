"""Measured beside predicted expression of some genes: the figure and its files (figures 4 and 7, and maps of one gene).

Predictions are given in the order of the panels; each row takes those that predict its slide under its protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stflow.errors import DataError
from stflow.evaluation.predictions import Predictions, read_predictions
from stflow.layout import Layout
from stflow.report.maps.canvas import read_canvas
from stflow.report.maps.page import Row, Width, draw
from stflow.report.maps.panel import Panel, Place, measured_of, method_panel, panel_labels
from stflow.report.save import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make_maps(
    results: Path,
    predictions: Sequence[Path],
    places: Sequence[str],
    pdf: Path,
    png: Path,
    *,
    images: Mapping[str, Path] | None = None,
    colormap: str = "coolwarm",
    width: Width = "double",
) -> None:
    """Draw some genes on slides as PDF and PNG, a row each.

    Parameters
    ----------
    results
        Results folder: the tiles and slide files of these slides are read.
    predictions
        Predictions files in the order of the panels.
    places
        ``benchmark/slide/gene/protocol`` of every row.
    pdf, png
        Files to write.
    images
        ``benchmark/slide`` -> slide image, for tiles files without a picture.
    colormap
        matplotlib colour map.
    width
        double: 180 mm, two columns; single: 88 mm, one column.

    Raises
    ------
    GeneError
        A gene that is not among those predicted.
    DataError
        A slide that no file predicts, or no spot size can be told.
    IntegrityError
        A file that is missing or cut short.
    """
    save_figure(compose(results, predictions, places, images=images, colormap=colormap, width=width), pdf, png)


def compose(
    results: Path,
    predictions: Sequence[Path],
    places: Sequence[str],
    *,
    images: Mapping[str, Path] | None = None,
    colormap: str = "coolwarm",
    width: Width = "double",
) -> Figure:
    """The figure that `make_maps` saves; its parameters and errors."""
    runs = [read_predictions(path) for path in predictions]
    wanted = [Place.parse(text) for text in places]
    several = len({place.protocol for place in wanted}) > 1
    rows = [_row(Layout(Path(results)), runs, place, images or {}, several) for place in wanted]
    return draw(rows, colormap, width)


def _row(layout: Layout, runs: Sequence[Predictions], place: Place, images: Mapping[str, Path], several: bool) -> Row:
    """The maps of one place; its heading names the protocol where rows of ``several`` stand below each other."""
    here = [run for run in runs if place.shown_by(run)]
    if not here:
        known = ", ".join(dict.fromkeys(str(slide) for run in runs for slide in run.slide))
        raise DataError(
            f"no file predicts {place.slide} of {place.benchmark} ({place.protocol}); they predict {known}. Give "
            "predictions of the fold that tests it."
        )
    measured, centres = measured_of(here[0], place)
    tiles = layout.tiles(place.benchmark, place.slide)
    canvas = read_canvas(tiles, place.slide, centres, images.get(f"{place.benchmark}/{place.slide}"))
    maps = [method_panel(run, place, label) for run, label in zip(here, panel_labels(here), strict=True)]
    return Row(place.gene, place.heading(several), canvas, [Panel("Measured", measured), *maps])
