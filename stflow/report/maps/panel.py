"""What one map shows: a value a spot, and a title with the method's name and its Pearson correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stflow.errors import DataError, GeneError
from stflow.evaluation.metrics import pearson
from stflow.evaluation.predictions import Predictions
from stflow.report.columns import Column, encoder_label
from stflow.report.maps.printed import printed_r
from stflow.report.style import method_label

#: Share of negative predictions from which a method has no level.
NO_LEVEL = 0.25


@dataclass(frozen=True, slots=True)
class Place:
    """What a row of maps is of: a gene on a slide, under a protocol. As text ``benchmark/slide/gene/protocol``."""

    benchmark: str
    slide: str
    gene: str
    protocol: str

    @classmethod
    def parse(cls, text: str) -> Place:
        """Inverse of the text; raises `DataError` on another form."""
        parts = text.split("/")
        if len(parts) != 4 or not all(parts):
            raise DataError(f"no map {text!r}: write benchmark/slide/gene/protocol, as hest/TENX95/GATA3/paper.")
        return cls(*parts)

    def heading(self, several_protocols: bool) -> str:
        """The slide, with the protocol where maps of several stand together."""
        return f"{self.slide} ({self.protocol})" if several_protocols else self.slide

    def shown_by(self, run: Predictions) -> bool:
        """Whether a run predicts the slide under the protocol."""
        group = run.run.group
        return (group.benchmark, group.protocol) == (self.benchmark, self.protocol) and self.slide in run.slide


@dataclass(frozen=True, eq=False)
class Panel:
    """One map: its title, lines with a break between, and (N,) values, or None with a note in their place."""

    title: str
    values: np.ndarray | None
    note: str = ""


def measured_of(run: Predictions, place: Place) -> tuple[np.ndarray, np.ndarray]:
    """(N,) measured log1p counts of a gene and (N, 2) centres, level-0 px, of the spots of one slide.

    Raises
    ------
    GeneError
        The gene is not among those predicted.
    """
    if place.gene not in run.genes:
        raise GeneError(
            f"{place.gene} is not among the {len(run.genes)} genes of {run.run}. Name another gene for the map of "
            f"{place.slide} under figures, another protocol, or a gene list of your own that holds it."
        )
    here = run.slide == place.slide
    return run.measured[here, run.genes.index(place.gene)].astype(np.float64), run.centres_px[here]


def method_panel(run: Predictions, place: Place, label: str) -> Panel:
    """The map of what a run predicts."""
    if run.failed:
        return Panel(label, None, "run failed")
    measured, _ = measured_of(run, place)
    values = run.predicted[run.slide == place.slide, run.genes.index(place.gene)].astype(np.float64)
    printed = printed_r(place.benchmark, place.slide, place.gene, run.run.group)
    return values_panel(label, measured, values, printed)


def values_panel(
    label: str, measured: np.ndarray, values: np.ndarray, printed: float | None = None, *, decimals: int = 2
) -> Panel:
    """The map of (N,) predicted values beside (N,) measured ones, ``printed`` the r that the paper has for it."""
    r = float(pearson(measured[:, None], values[:, None])[0])
    told = "$r$ undefined" if np.isnan(r) else f"$r$ = {signed(r, decimals)}"
    title = f"{label}\n{told}" + ("" if printed is None else f" ({printed:.3f})")
    if np.mean(values < 0) < NO_LEVEL:
        return Panel(title, values)
    shift = measured.mean() - values.mean()
    return Panel(f"{title}\nshifted by {signed(shift, 1, '+')}", values + shift)


def panel_labels(runs: list[Predictions]) -> list[str]:
    """A name a run: the method's, and below it the encoder where the method stands there on several."""
    columns = [Column(run.run.group.method, run.run.group.variant, run.run.group.encoder) for run in runs]
    found = []
    for column in columns:
        name = method_label(column.method, column.variant)
        several = sum((other.method, other.variant) == (column.method, column.variant) for other in columns) > 1
        found.append(f"{name}\n{encoder_label(column.encoder)}" if several else name)
    return found


def signed(value: float, decimals: int, plus: str = "") -> str:
    """A number with a minus sign that is as wide as a plus, and no ``-0.00``."""
    return f"{round(value, decimals) + 0.0:{plus}.{decimals}f}".replace("-", "\N{MINUS SIGN}")
