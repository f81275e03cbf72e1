"""Figure 6: how STFlow's guess of the expression sharpens from one sampling step to the next, on the tissue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stflow.errors import DataError
from stflow.evaluation.refinement import Refinement, read_refinement
from stflow.layout import Layout
from stflow.report.maps.canvas import read_canvas
from stflow.report.maps.page import Row, Width, draw
from stflow.report.maps.panel import Panel, Place, values_panel
from stflow.report.save import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make_refinement(
    results: Path,
    refinements: Sequence[Path],
    places: Sequence[str],
    pdf: Path,
    png: Path,
    *,
    images: Mapping[str, Path] | None = None,
    colormap: str = "coolwarm",
    width: Width = "double",
) -> None:
    """Draw the sampling steps of some genes on slides as PDF and PNG, a row each.

    Parameters
    ----------
    refinements
        Files of `stflow.training.refine`, one a run and slide.
    results, places, pdf, png, images, colormap, width
        As of `stflow.report.maps.figure.make_maps`.

    Raises
    ------
    DataError
        A map that no file holds, or no spot size can be told.
    IntegrityError
        A file that is missing or cut short.
    """
    save_figure(compose(results, refinements, places, images=images, colormap=colormap, width=width), pdf, png)


def compose(
    results: Path,
    refinements: Sequence[Path],
    places: Sequence[str],
    *,
    images: Mapping[str, Path] | None = None,
    colormap: str = "coolwarm",
    width: Width = "double",
) -> Figure:
    """The figure that `make_refinement` saves; its parameters and errors."""
    found = [read_refinement(path) for path in refinements]
    wanted = [Place.parse(text) for text in places]
    several = len({place.protocol for place in wanted}) > 1
    rows = []
    for place in wanted:
        refinement = _of(found, place)
        tiles = Layout(Path(results)).tiles(place.benchmark, place.slide)
        image = (images or {}).get(f"{place.benchmark}/{place.slide}")
        canvas = read_canvas(tiles, place.slide, refinement.centres_px, image)
        panels = step_panels(refinement, place.gene)
        rows.append(Row(place.gene, place.heading(several), canvas, panels, histology=False))
    return draw(rows, colormap, width)


def step_panels(refinement: Refinement, gene: str) -> list[Panel]:
    """The measured map, then the guess at every step with its Pearson correlation."""
    column = refinement.genes.index(gene)
    measured = refinement.measured[:, column].astype(np.float64)
    panels = [Panel("Measured", measured)]
    if refinement.status != "ok":
        return [*panels, Panel("STFlow", None, "run failed")]
    for number, (t, guess) in enumerate(zip(refinement.times, refinement.guesses, strict=True), start=1):
        label = f"Step {number}, $t$ = {t:.3g}"
        # From step to step r changes by thousandths.
        panels.append(values_panel(label, measured, guess[:, column].astype(np.float64), decimals=3))
    return panels


def _of(found: Sequence[Refinement], place: Place) -> Refinement:
    for refinement in found:
        group = refinement.run.group
        key = (group.benchmark, refinement.slide, group.protocol)
        if key == (place.benchmark, place.slide, place.protocol) and place.gene in refinement.genes:
            return refinement
    raise DataError(
        f"no file holds the refinement of {place.gene} on {place.slide} of {place.benchmark} ({place.protocol}). Run "
        "`stflow refine` with that slide and gene."
    )
