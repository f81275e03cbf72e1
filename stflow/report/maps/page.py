"""How maps are laid out: a row a gene and slide, each with its panels on lines, one colour bar and one scale bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stflow.report.maps.canvas import Canvas, faded, round_length
from stflow.report.maps.panel import Panel
from stflow.report.save import house_style
from stflow.report.style import COLUMN_MM, MM_PER_INCH, SMALL_PT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

Width = Literal["double", "single"]

#: Upper end of the colour scale: this percentile of the measured values.
TOP_PERCENTILE = 99.0
#: Outline of a spot, as a share of its diameter: a spot in the scale's pale middle stays visible on pale tissue, and
#: small, dense spots are not drowned in outlines.
OUTLINE_SHARE, OUTLINE = 0.04, "#4d4d4d"
#: Least width of a panel, mm: where there are several rows of maps, and where one row has the figure for itself.
LEAST_MM = 17.0
LEAST_ALONE_MM: Mapping[str, float] = {"double": 34.0, "single": 21.0}
MOST_COLUMNS = 8

# The page, mm: a line of text, a heading, between panels, between rows, and the colour bar with its labels.
_LINE_MM, _HEAD_MM, _GAP_MM, _ROW_GAP_MM, _BAR_MM, _BAR_ROOM_MM = 2.7, 4.2, 1.5, 2.5, 2.2, 12.5
_MOST_BAR_MM = 32.0


@dataclass(frozen=True, eq=False)
class Row:
    """Maps of one gene on one slide; the first panel is the measured one. ``histology`` shows the H&E before it."""

    gene: str
    slide: str
    canvas: Canvas
    panels: Sequence[Panel]
    histology: bool = True

    def shown(self) -> list[Panel]:
        """All panels, the bare tissue among them."""
        bare = [Panel("H&E", None)] if self.histology and self.canvas.picture is not None else []
        return [*bare, *self.panels]

    @property
    def scale_top(self) -> float:
        """Upper end of the colour scale, log1p counts."""
        measured = self.panels[0].values
        if measured is None:
            raise ValueError("the first panel is the measured one")
        return float(np.percentile(measured, TOP_PERCENTILE)) or float(measured.max()) or 1.0


@dataclass(frozen=True, slots=True)
class Grid:
    """Where panels go: the page's width, mm; columns, and the width of each, mm."""

    page_mm: float
    n_columns: int
    panel_mm: float

    @classmethod
    def of(cls, rows: Sequence[Row], width: Width) -> Grid:
        """As many columns as the widest title allows, and no more than fill the lines evenly."""
        titles = [line for row in rows for panel in row.shown() for line in panel.title.split("\n")]
        least = LEAST_ALONE_MM[width] if len(rows) == 1 else LEAST_MM
        least = max(least, max(map(text_mm, titles)) + 0.5)
        room, n_panels = COLUMN_MM[width] - _BAR_ROOM_MM, max(len(row.shown()) for row in rows)
        most = min(MOST_COLUMNS, max(1, int((room + _GAP_MM) // (least + _GAP_MM))))
        n_columns = -(-n_panels // -(-n_panels // most))
        return cls(COLUMN_MM[width], n_columns, (room - (n_columns - 1) * _GAP_MM) / n_columns)

    def places(self, row: Row) -> tuple[list[tuple[float, float]], float]:
        """Left edge and lower edge of every panel, mm from the row's upper left corner; and the height of the row."""
        panels, low, found = row.shown(), _HEAD_MM, []
        for start in range(0, len(panels), self.n_columns):
            line = panels[start : start + self.n_columns]
            low += _GAP_MM * (start > 0) + title_mm(line) + self.panel_mm * row.canvas.aspect
            found += [(column * (self.panel_mm + _GAP_MM), low) for column in range(len(line))]
        return found, low


def title_mm(line: Sequence[Panel]) -> float:
    """Height of the titles above some panels."""
    return max(panel.title.count("\n") + 1 for panel in line) * _LINE_MM + 0.8


def draw(rows: Sequence[Row], colormap: str, width: Width = "double") -> Figure:
    """The figure: rows below each other, panels in line; one colour bar a row, one scale bar a slide."""
    from matplotlib.figure import Figure

    with house_style():
        grid = Grid.of(rows, width)
        heights = [grid.places(row)[1] for row in rows]
        page_mm = sum(heights) + (len(rows) - 1) * _ROW_GAP_MM + 0.8
        figure = Figure(figsize=(grid.page_mm / MM_PER_INCH, page_mm / MM_PER_INCH))
        top, slides = 0.0, set()
        for row, height in zip(rows, heights, strict=True):
            _draw_row(figure, grid, row, top, page_mm, colormap, scale_bar=row.slide not in slides)
            slides.add(row.slide)
            top += height + _ROW_GAP_MM
    return figure


def _draw_row(
    figure: Figure, grid: Grid, row: Row, top_mm: float, page_mm: float, colormap: str, *, scale_bar: bool
) -> None:
    """One row of maps, ``top_mm`` below the page's upper edge."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(0.0, row.scale_top), matplotlib.colormaps[colormap])
    heading = f"$\\mathbfit{{{_escape(row.gene)}}}$ on {row.slide}"
    figure.text(0, 1 - (top_mm + 0.3) / page_mm, heading, va="top", fontweight="bold")
    height = grid.panel_mm * row.canvas.aspect
    places, _ = grid.places(row)
    for number, (panel, (left, low)) in enumerate(zip(row.shown(), places, strict=True)):
        bottom = 1 - (top_mm + low) / page_mm
        axes = figure.add_axes((left / grid.page_mm, bottom, grid.panel_mm / grid.page_mm, height / page_mm))
        _draw_panel(axes, row.canvas, panel, scale, grid.panel_mm, bare=panel.title == "H&E")
        if number == 0 and scale_bar:
            if panel.title == "H&E":
                _draw_scale_bar(axes, row.canvas)
            else:
                _write_scale_bar(figure, grid, row.canvas, top_mm, page_mm)
    bar_mm = min(height, _MOST_BAR_MM)
    low = top_mm + places[0][1] - (height - bar_mm) / 2
    left = grid.page_mm - _BAR_ROOM_MM + 1.5
    bar = figure.add_axes((left / grid.page_mm, 1 - low / page_mm, _BAR_MM / grid.page_mm, bar_mm / page_mm))
    _draw_colour_bar(figure, bar, scale, row.panels)


def _draw_panel(
    axes: Axes, canvas: Canvas, panel: Panel, scale: ScalarMappable, panel_mm: float, *, bare: bool
) -> None:
    from matplotlib.collections import EllipseCollection

    x0, x1, y0, y1 = canvas.window
    axes.set(xlim=(x0, x1), ylim=(y1, y0), aspect="equal", xticks=[], yticks=[], facecolor="#f4f1f4")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if canvas.picture is not None:
        height, width = canvas.picture.shape[:2]
        extent = (0, width * canvas.downsample, height * canvas.downsample, 0)
        axes.imshow(canvas.picture if bare else faded(canvas.picture), extent=extent, interpolation="antialiased")
        axes.set(xlim=(x0, x1), ylim=(y1, y0))
    axes.set_title(panel.title, loc="left", pad=1.5, fontsize=SMALL_PT, linespacing=1.1)
    if panel.values is not None:
        size = np.full(len(canvas.centres_px), canvas.spot_px)
        spots = EllipseCollection(
            size, size, np.zeros(len(size)), units="xy", offsets=canvas.centres_px, offset_transform=axes.transData
        )
        outline_pt = OUTLINE_SHARE * canvas.spot_px / (x1 - x0) * panel_mm / MM_PER_INCH * 72
        spots.set(facecolor=scale.to_rgba(panel.values), linewidth=outline_pt, edgecolor=OUTLINE)
        axes.add_collection(spots)
    if panel.note:
        axes.text(0.5, 0.5, panel.note, transform=axes.transAxes, ha="center", va="center", fontsize=SMALL_PT)


def _draw_scale_bar(axes: Axes, canvas: Canvas) -> None:
    """A bar of a round length, about a quarter of the panel, on white so that it is seen on any tissue."""
    x0, x1, y0, y1 = canvas.window
    bar_um = round_length((x1 - x0) * canvas.mpp / 4)
    left, low = x0 + 0.04 * (x1 - x0), y1 - 0.04 * (y1 - y0)
    axes.plot([left, left + bar_um / canvas.mpp], [low, low], color="black", linewidth=1.2, solid_capstyle="butt")
    axes.text(
        left,
        low - 0.015 * (y1 - y0),
        f"{bar_um:,g} µm",
        ha="left",
        va="bottom",
        fontsize=SMALL_PT,
        bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8},
    )


def _write_scale_bar(figure: Figure, grid: Grid, canvas: Canvas, top_mm: float, page_mm: float) -> None:
    """The same bar in the line of the heading, above the last column: no spot is covered."""
    from matplotlib.lines import Line2D

    x0, x1, _, _ = canvas.window
    bar_um = round_length((x1 - x0) * canvas.mpp / 4)
    right = grid.page_mm - _BAR_ROOM_MM
    left = right - grid.panel_mm * bar_um / ((x1 - x0) * canvas.mpp)
    height = 1 - (top_mm + 1.7) / page_mm
    ends = [left / grid.page_mm, right / grid.page_mm]
    figure.add_artist(Line2D(ends, [height] * 2, color="black", linewidth=1.2, solid_capstyle="butt"))
    label = f"{bar_um:,g} µm"
    figure.text((left - 1.0) / grid.page_mm, height, label, ha="right", va="center_baseline", fontsize=SMALL_PT)


def _draw_colour_bar(figure: Figure, axes: Axes, scale: ScalarMappable, panels: Sequence[Panel]) -> None:
    shown = [panel.values for panel in panels if panel.values is not None]
    low, high = min(map(np.min, shown)) < 0, max(map(np.max, shown)) > scale.norm.vmax
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((low, high), "neither")
    bar: Any = figure.colorbar(scale, cax=axes, extend=extend)
    bar.set_label("log1p counts", fontsize=SMALL_PT, labelpad=1.5)
    bar.outline.set_linewidth(0.5)
    bar.ax.tick_params(pad=1.5)


def text_mm(text: str) -> float:
    """Width of a line of a title as it is drawn."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text:
        return 0.0
    path = TextPath((0, 0), text, size=SMALL_PT, prop=FontProperties(family="DejaVu Sans"))
    return float(path.get_extents().x1) / 72 * MM_PER_INCH


def _escape(gene: str) -> str:
    """A gene symbol as mathtext that reads as it is: ``HLA-A`` keeps its hyphen, ``_`` is no subscript."""
    return gene.replace("_", r"\_").replace("-", r"\text{-}")
