"""Measured counts of whole datasets, one panel each: how many are zero, how far the tail reaches, mean and spread.

The paper's figure 2 shows such histograms of four datasets with a mean and a standard deviation, and does not say of
what. Values of 1 to 13 with spreads of 19 to 75 cannot be log1p counts; raw counts of all measured genes can. So all
genes are drawn, and as a line the genes that are predicted, whose mean is larger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stflow.data.slide import read_slide
from stflow.errors import GeneError
from stflow.io import read_json
from stflow.layout import Layout
from stflow.report.published import printed_histogram
from stflow.report.save import house_style, save_figure
from stflow.report.style import DOUBLE_COLUMN_MM, MM_PER_INCH, SMALL_PT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Bins of counts: 0, then [1, 2), [2, 4), [4, 8) and so on; a count above 2^N_OCTAVES is in the last.
N_OCTAVES = 24
ALL_COLOUR, PREDICTED_COLOUR = "#b5bac2", "#0072b2"

# The page, mm.
_PANEL_MM, _HEIGHT_MM, _LEFT_MM, _GAP_MM, _FOOT_MM = 38.5, 30.0, 12.0, 4.0, 8.0
_TITLE_MM, _LINE_MM = 4.8, 2.9
_COLUMNS = 4


@dataclass(slots=True)
class Tally:
    """Counts seen so far: (1 + N_OCTAVES,) number a bin, and what mean and deviation are made of."""

    bins: np.ndarray
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def empty(cls) -> Tally:
        return cls(np.zeros(1 + N_OCTAVES, dtype=np.int64))

    def add(self, nonzero: np.ndarray, n_values: int) -> None:
        """Add ``n_values`` counts, of which ``nonzero`` are given and the others are zero."""
        values = nonzero[nonzero > 0].astype(np.float64)
        octaves = np.minimum(np.frexp(values)[1] - 1, N_OCTAVES - 1).clip(min=0)
        self.bins[1:] += np.bincount(octaves, minlength=N_OCTAVES)
        self.bins[0] += n_values - len(values)
        self.total += values.sum()
        self.squares += np.square(values).sum()

    @property
    def n(self) -> int:
        """How many counts."""
        return int(self.bins.sum())

    @property
    def mean(self) -> float:
        """Mean, zeros among them."""
        return self.total / self.n

    @property
    def std(self) -> float:
        """Population standard deviation (ddof = 0)."""
        return math.sqrt(max(0.0, self.squares / self.n - self.mean**2))


@dataclass(frozen=True, eq=False)
class Panel:
    """One dataset: all genes, and those predicted; ``printed`` is the paper's mean and deviation."""

    title: str
    every: Tally
    predicted: Tally
    n_genes: int
    n_predicted: int
    printed: tuple[float, float] | None


def make_histograms(
    results: Path, datasets: Sequence[tuple[str, Sequence[str]]], protocol: str, pdf: Path, png: Path
) -> None:
    """Draw the counts of some datasets as PDF and PNG.

    Parameters
    ----------
    results
        Results folder with the slide files and genes files.
    datasets
        (``benchmark/dataset``, its slides), a panel each.
    protocol
        Protocol whose genes are shown apart.
    pdf, png
        Files to write.

    Raises
    ------
    GeneError
        A slide holds none of the dataset's genes.
    """
    layout = Layout(Path(results))
    panels = []
    for name, slides in datasets:
        benchmark, _, dataset = name.partition("/")
        panels.append(read_panel(layout, benchmark, dataset, slides, protocol))
    with house_style():
        figure = draw(panels)
    save_figure(figure, pdf, png)


def read_panel(layout: Layout, benchmark: str, dataset: str, slides: Iterable[str], protocol: str) -> Panel:
    """The counts of all spots of a dataset's slides, one slide in memory at a time."""
    folds = read_json(layout.genes(benchmark, dataset, protocol))["folds"]
    genes = {gene for fold in folds.values() for gene in fold}
    every, predicted, n_genes = Tally.empty(), Tally.empty(), 0
    for name in slides:
        slide = read_slide(layout.slide(benchmark, name))
        columns = [index for index, gene in enumerate(slide.genes) if gene in genes]
        if not columns:
            raise GeneError(
                f"slide {name} holds none of the genes of {benchmark}/{dataset} ({protocol}). Make both anew."
            )
        chosen = slide.counts[:, columns]
        every.add(slide.counts.data, len(slide) * len(slide.genes))
        predicted.add(chosen.data, len(slide) * len(columns))
        n_genes = max(n_genes, len(slide.genes))
    return Panel(dataset, every, predicted, n_genes, len(genes), printed_histogram(benchmark, dataset))


def draw(panels: Sequence[Panel]) -> Figure:
    """The figure: panels side by side on common axes."""
    from matplotlib.figure import Figure

    n_columns = min(_COLUMNS, len(panels))
    n_rows = -(-len(panels) // n_columns)
    width_mm = _LEFT_MM + n_columns * _PANEL_MM + (n_columns - 1) * _GAP_MM + 2.0
    n_lines = 2 + any(panel.printed is not None for panel in panels)
    row_mm = _TITLE_MM + n_lines * _LINE_MM + _HEIGHT_MM + _FOOT_MM
    figure = Figure(figsize=(min(width_mm, DOUBLE_COLUMN_MM) / MM_PER_INCH, n_rows * row_mm / MM_PER_INCH))
    filled = [np.flatnonzero(panel.every.bins)[-1] for panel in panels]
    lowest = min(shares(panel.every)[shares(panel.every) > 0].min() for panel in panels)
    for number, panel in enumerate(panels):
        row, column = divmod(number, n_columns)
        left = _LEFT_MM + column * (_PANEL_MM + _GAP_MM)
        bottom = (n_rows - 1 - row) * row_mm + _FOOT_MM
        axes = figure.add_axes(
            (left / width_mm, bottom / (n_rows * row_mm), _PANEL_MM / width_mm, _HEIGHT_MM / (n_rows * row_mm))
        )
        _draw_panel(axes, panel, int(max(filled)), float(lowest))
        if column == 0:
            axes.set_ylabel("share of values")
        else:
            axes.tick_params(labelleft=False)
    return figure


def shares(tally: Tally) -> np.ndarray:
    """(1 + N_OCTAVES,) share of the counts a bin."""
    return tally.bins / tally.n


def _draw_panel(axes: Axes, panel: Panel, last: int, lowest: float) -> None:
    # Octave k spans [k, k + 1] on the axis; zero stands apart, left of 1.
    zero, octaves = -1.6, np.arange(last)
    every, predicted = shares(panel.every), shares(panel.predicted)
    axes.bar([zero, *octaves], every[: last + 1], width=[1.0, *np.ones(last)], align="edge", color=ALL_COLOUR)
    axes.stairs(predicted[1 : last + 1], np.arange(last + 1), color=PREDICTED_COLOUR, linewidth=1.0, baseline=None)
    axes.plot([zero, zero + 1], [predicted[0]] * 2, color=PREDICTED_COLOUR, linewidth=1.0, solid_capstyle="butt")
    axes.set_yscale("log")
    axes.set(xlim=(zero - 0.4, last + 0.4), ylim=(10.0 ** math.floor(math.log10(lowest)), 1.6))
    powers = [power for power in range(8) if power * math.log2(10) <= last]
    axes.set_xticks([zero + 0.5, *(power * math.log2(10) for power in powers)])
    axes.set_xticklabels(["0", *(f"{10**power:,}" for power in powers)])
    axes.set_xlabel("counts of a gene in a spot")
    axes.minorticks_off()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    lines = [
        (f"all {panel.n_genes:,} genes: {_told(panel.every.mean, panel.every.std)}", "#4b5563"),
        (f"{panel.n_predicted} predicted: {_told(panel.predicted.mean, panel.predicted.std)}", PREDICTED_COLOUR),
    ]
    if panel.printed is not None:
        lines.append((f"printed: {panel.printed[0]:g} ± {panel.printed[1]:g}", "black"))
    step = _LINE_MM / _HEIGHT_MM
    top = 1.0 + step * len(lines) + 0.015
    axes.text(0, top, panel.title, transform=axes.transAxes, fontweight="bold", va="bottom")
    for place, (line, colour) in enumerate(lines, start=1):
        axes.text(0, top - place * step, line, transform=axes.transAxes, color=colour, fontsize=SMALL_PT, va="bottom")


def _told(mean: float, std: float) -> str:
    return f"{mean:.2f} ± {std:.1f}"
