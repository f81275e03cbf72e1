"""Critical-difference picture: mean ranks of the methods over datasets, and which of them cannot be told apart.

A panel a protocol, all datasets of all benchmarks. Datasets are the units: folds of one dataset share training slides
and are not independent, so they are not counted apart. First Friedman's test; if it finds that methods differ,
Nemenyi's test between all pairs by mean ranks (Demsar 2006, section 3.2.2). A bar joins methods that no test tells
apart. Nemenyi's test is drawn rather than pairwise Wilcoxon tests with Holm's correction, as these can never be
significant over ten datasets and twelve methods, whatever the scores; they are in the table of comparisons.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stflow.evaluation.comparisons import ALPHA, MIN_FRIEDMAN, critical_difference, friedman, mean_ranks, nemenyi
from stflow.evaluation.group_scores import read_groups
from stflow.report.columns import labels
from stflow.report.comparisons import over_datasets, p_text
from stflow.report.group_tables import arrange, counted
from stflow.report.save import house_style, save_figure
from stflow.report.style import DOUBLE_COLUMN_MM, MM_PER_INCH, SMALL_PT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The page, mm.
_TITLE_MM, _LINE_MM, _WORDS_MM, _GAP_MM = 9.0, 3.6, 3.0, 3.0
#: Room for names on either side of the axis: a character, the rank and its line, and the most there is.
_CHARACTER_MM, _RANK_MM, _MOST_MM = 1.25, 9.0, 70.0
#: Characters a line of words.
_WORDS = 150
#: Lines above the axis: its numbers, and the bar of the critical difference.
_ABOVE = 2.6
_BAR = "#B45309"


@dataclass(frozen=True, eq=False)
class Panel:
    """One protocol: names of the methods (K), scores (N datasets, K), and methods not scored on every dataset."""

    protocol: str
    names: Sequence[str]
    scores: np.ndarray
    left_out: Sequence[str]

    @property
    def enough(self) -> bool:
        """Whether there is something to draw."""
        return min(len(self.scores), len(self.names)) >= MIN_FRIEDMAN


def make_critical_difference(
    metrics: Sequence[Path],
    pdf: Path,
    png: Path,
    methods: Sequence[str] = (),
    not_run: Mapping[str, str] | None = None,
) -> None:
    """Draw the mean ranks of all methods as PDF and PNG.

    Parameters
    ----------
    metrics
        Metrics files.
    pdf, png
        Files to write.
    methods
        Order, see `stflow.report.columns.Column.parse`.
    not_run
        Encoder -> why nothing was run with it.

    Raises
    ------
    IntegrityError
        A metrics file that is missing, cut short, or without moments.
    """
    table = arrange(read_groups(metrics), methods, not_run or ())
    panels = []
    for protocol in dict.fromkeys(place[2] for place in table.places):
        columns, scores, left_out = over_datasets(table, protocol)
        panels.append(Panel(protocol, list(labels(columns).values()), scores, left_out))
    with house_style():
        figure = draw(panels)
    save_figure(figure, pdf, png)


def draw(panels: Sequence[Panel]) -> Figure:
    """The figure: panels below each other, words in place of a panel with too little to rank."""
    from matplotlib.figure import Figure

    heights = [_height_mm(panel) for panel in panels] or [_WORDS_MM]
    page_mm = sum(heights) + (_TITLE_MM + _GAP_MM) * len(heights)
    figure = Figure(figsize=(DOUBLE_COLUMN_MM / MM_PER_INCH, page_mm / MM_PER_INCH))
    if not panels:
        figure.text(0.01, 0.5, "No scores, so nothing to rank.", va="center")
    longest = max((len(name) for panel in panels for name in panel.names), default=0)
    side = min(_MOST_MM, _CHARACTER_MM * longest + _RANK_MM) / DOUBLE_COLUMN_MM
    top = 1.0
    for panel, height in zip(panels, heights, strict=False):
        figure.text(0.01, top - 1.0 / page_mm, _title(panel), va="top", fontweight="bold")
        figure.text(0.01, top - 4.5 / page_mm, _told(panel), va="top", fontsize=SMALL_PT, linespacing=1.2)
        top -= (_TITLE_MM + height) / page_mm
        if panel.enough:
            words = _told(panel).count("\n") * _WORDS_MM
            axes = figure.add_axes((side, top, 1 - 2 * side, (height - words) / page_mm))
            lowest = _draw_ranks(axes, panel)
            axes.set(xlim=(1, len(panel.names)), ylim=(lowest - 0.5, _ABOVE))
            _draw_critical_difference(axes, panel)
        top -= _GAP_MM / page_mm
    return figure


def _height_mm(panel: Panel) -> float:
    """Room for words, what stands above the axis, the bars that join methods, and a line for every second method."""
    from matplotlib.figure import Figure

    words_mm = _told(panel).count("\n") * _WORDS_MM
    if not panel.enough:
        return words_mm
    return words_mm + (_ABOVE + 0.5 - _draw_ranks(Figure().add_subplot(), panel)) * _LINE_MM


def _title(panel: Panel) -> str:
    return f"Protocol {panel.protocol}: {counted(len(panel.scores), 'dataset')}, {counted(len(panel.names), 'method')}"


def _told(panel: Panel) -> str:
    absent = f"Not scored on every dataset: {', '.join(panel.left_out)}." if panel.left_out else ""
    if not panel.enough:
        few = f"Too few to rank: the test over datasets needs {MIN_FRIEDMAN} datasets and {MIN_FRIEDMAN} methods."
        return textwrap.fill(f"{few} {absent}", _WORDS)
    p = friedman(panel.scores)
    verdict = "; bars join methods that are not told apart" if p < ALPHA else ", so no method is told from another"
    test = f"Friedman's test: p {p_text(p, equals=True)}{verdict}."
    return textwrap.fill(f"Mean rank over datasets, 1 is best. {test} {absent}", _WORDS)


def _draw_ranks(axes: Axes, panel: Panel) -> float:
    """Axis, methods, and bars that join those which are not told apart; returns the lowest line's height.

    The axis is at 0, and every bar and every name takes one unit below it.
    """
    import pandas as pd
    from matplotlib.ticker import MaxNLocator
    from scikit_posthocs import critical_difference_diagram

    ranks = pd.Series(mean_ranks(panel.scores), index=list(panel.names))
    differ = friedman(panel.scores) < ALPHA
    p = nemenyi(panel.scores) if differ else np.ones((len(ranks), len(ranks)))
    drawn = critical_difference_diagram(
        ranks,
        pd.DataFrame(p, index=ranks.index, columns=ranks.index),
        ax=axes,
        alpha=ALPHA,
        label_fmt_left="{label}  {rank:.1f} ",
        label_fmt_right=" {rank:.1f}  {label}",
        label_props={"fontsize": SMALL_PT},
        elbow_props={"color": "#4b5563", "linewidth": 0.6, "clip_on": False},
        marker_props={"color": "#4b5563", "s": 6, "linewidths": 0, "clip_on": False},
        crossbar_props={"color": _BAR, "linewidth": 2.0, "solid_capstyle": "butt"},
        text_h_margin=0.02 * len(ranks),
    )
    for label in drawn["labels"]:
        label.set_color("black")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return float(min(label.get_position()[1] for label in drawn["labels"]))


def _draw_critical_difference(axes: Axes, panel: Panel) -> None:
    """A bar as long as the least difference that Nemenyi's test calls significant, above the axis."""
    cd = critical_difference(len(panel.scores), len(panel.names))
    axes.plot([1, 1 + cd], [2, 2], color="black", linewidth=1.0, marker="|", markersize=4, clip_on=False)
    axes.text(1 + cd, 2, f"  critical difference {cd:.1f}", va="center", fontsize=SMALL_PT)
