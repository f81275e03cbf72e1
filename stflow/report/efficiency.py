"""Figure 5: time and memory of prediction against spots, ours solid, the printed curves dashed behind.

The paper times 100 predictions; ours is 100 times the median of a few. The printed curves are of another machine, an
RTX A6000, so only slopes and orders compare; the band around each is how well it could be read off the image.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stflow.efficiency.measure import NOT_TRIED, Measurement, read_measurements
from stflow.efficiency.printed import GPU, READ_MB, READ_S, REPEATS, Curve, printed_curve
from stflow.errors import DataError
from stflow.report.maps.page import Width
from stflow.report.save import house_style, save_figure
from stflow.report.style import COLUMN_MM, MM_PER_INCH, SMALL_PT, method_label

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that the colour-blind tell apart (Okabe & Ito), and markers, in the order of the methods.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "os^Dv*P"

# The page, mm.
_PANEL_MM, _LEFT_MM, _FOOT_MM, _HEAD_MM, _GAP_MM, _LEGEND_MM = 46.0, 16.0, 9.5, 3.0, 20.0, 30.0
_SINGLE_MM, _LINE_MM, _LETTER_MM = 40.0, 2.8, 1.2
#: Ticks of the axis of spots.
_TICKS = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)


@dataclass(frozen=True, eq=False)
class Line:
    """A method's measurements of predicting, smallest slide first."""

    label: str
    points: tuple[Measurement, ...]
    ended: Measurement | None
    printed: Curve | None


def make_efficiency(measured: Sequence[Path], pdf: Path, png: Path, *, width: Width = "double") -> None:
    """Draw time and memory against spots as PDF and PNG.

    Parameters
    ----------
    measured
        Files of `stflow.efficiency.measure`, in the order of the legend.
    pdf, png
        Files to write.
    width
        double: two panels side by side; single: below each other.

    Raises
    ------
    DataError
        Nothing was measured.
    IntegrityError
        A file that is missing or is not one of measurements.
    """
    save_figure(draw([row for path in measured for row in read_measurements(path)], width), pdf, png)


def lines_of(rows: Sequence[Measurement]) -> list[Line]:
    """A line a method, of its measurements of predicting.

    Raises
    ------
    DataError
        There are none.
    """
    rows = [row for row in rows if row.what == "predict"]
    if not rows:
        raise DataError("no prediction was measured: add predict to efficiency.what and methods to efficiency.methods.")
    found = []
    for method, variant in dict.fromkeys((row.method, row.variant) for row in rows):
        mine = sorted((row for row in rows if (row.method, row.variant) == (method, variant)), key=lambda r: r.spots)
        ended = next((row for row in mine if row.ended not in ("ok", NOT_TRIED)), None)
        printed = printed_curve(method) if variant == "default" else None
        points = tuple(row for row in mine if row.ended == "ok")
        found.append(Line(method_label(method, variant), points, ended, printed))
    return found


def draw(rows: Sequence[Measurement], width: Width = "double") -> Figure:
    """The figure: seconds of 100 predictions, and memory, both axes logarithmic, and the legend."""
    from matplotlib.figure import Figure

    lines = lines_of(rows)
    n_rows, n_columns = (1, 2) if width == "double" else (2, 1)
    page_mm = COLUMN_MM[width]
    notes = [part for note in _notes(lines, rows) for part in textwrap.wrap(note, int(page_mm / _LETTER_MM))]
    panel_mm = (page_mm - _LEFT_MM - _LEGEND_MM - (n_columns - 1) * _GAP_MM - 2.0) / n_columns
    high_mm = _PANEL_MM if n_rows == 1 else _SINGLE_MM
    foot_mm = _FOOT_MM + len(notes) * _LINE_MM + 0.5
    tall_mm = n_rows * (_HEAD_MM + high_mm) + (n_rows - 1) * _FOOT_MM + foot_mm
    with house_style():
        figure = Figure(figsize=(page_mm / MM_PER_INCH, tall_mm / MM_PER_INCH))
        for number, memory in enumerate((False, True)):
            row, column = divmod(number, n_columns)
            left = _LEFT_MM + column * (panel_mm + _GAP_MM)
            bottom = tall_mm - (row + 1) * (_HEAD_MM + high_mm) - row * _FOOT_MM
            place = (left / page_mm, bottom / tall_mm, panel_mm / page_mm, high_mm / tall_mm)
            axes = figure.add_axes(place)
            _draw_panel(axes, lines, memory=memory, gpu=rows[0].device == "cuda")
            if number == 0:
                first = axes
        handles, labels = _in_pairs(first, lines)
        figure.legend(
            handles, labels, loc="upper left", bbox_to_anchor=(1 - (_LEGEND_MM - 1) / page_mm, 1 - 2.0 / tall_mm),
            frameon=False, fontsize=SMALL_PT, handlelength=2.4, borderpad=0,
        )  # fmt: skip
        for number, text in enumerate(notes):
            low = ((len(notes) - 0.5 - number) * _LINE_MM + 0.5) / tall_mm
            figure.text(1.0 / page_mm, low, text, fontsize=SMALL_PT, va="center", color="#333333")
    return figure


def _draw_panel(axes: Axes, lines: Sequence[Line], *, memory: bool, gpu: bool) -> None:
    for line, colour, marker in zip(lines, COLOURS, MARKERS, strict=False):
        if line.printed is not None:
            _draw_printed(axes, line, colour, marker, memory=memory)
        points = [(row.spots, value) for row in line.points if (value := _value(row, memory=memory)) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=3, linewidth=1.2, zorder=3,
                      label=line.label)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="spots of the slide")
    axes.set_ylabel(_memory_label(gpu) if memory else f"time of {REPEATS} predictions (s)", labelpad=2)
    _draw_ended(axes, lines, memory=memory)
    shown = [n for line in lines for n in _sizes(line)]
    axes.set_xlim(min(shown) / 1.3, max(shown) * 1.3)
    axes.set_xticks([n for n in _TICKS if min(shown) <= n <= max(shown)])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.margins(y=0.08)
    axes.grid(which="major", color="#e2e2e2", linewidth=0.4)
    axes.set_axisbelow(True)
    axes.minorticks_off()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_printed(axes: Axes, line: Line, colour: str, marker: str, *, memory: bool) -> None:
    """The printed curve, how well it could be read, and a cross where the paper ran out of memory."""
    assert line.printed is not None
    read = READ_MB if memory else READ_S
    spots = [point[0] for point in line.printed.points]
    values = [point[1 + memory] for point in line.printed.points]
    # On a logarithmic axis what may be read as nothing ends at a tenth.
    low, high = [max(value - read, value / 10) for value in values], [value + read for value in values]
    axes.fill_between(spots, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.plot(
        spots, values, color=colour, marker=marker, markersize=2.4, markerfacecolor="white", markeredgewidth=0.6,
        linewidth=0.8, linestyle=(0, (4, 2)), alpha=0.8, label=f"{line.label}, printed",
    )  # fmt: skip
    if line.printed.out_of_memory_at is not None:
        _draw_cross(axes, spots[-1], line.printed.out_of_memory_at, values[-1], colour)


def _draw_ended(axes: Axes, lines: Sequence[Line], *, memory: bool) -> None:
    """A cross at the size that a method did not get through here, at the height of the last that it did."""
    for line, colour in zip(lines, COLOURS, strict=False):
        last = _value(line.points[-1], memory=memory) if line.points else None
        if line.ended is not None and last is not None:
            _draw_cross(axes, line.points[-1].spots, line.ended.spots, last, colour)


def _draw_cross(axes: Axes, start: int, stop: int, height: float, colour: str) -> None:
    axes.plot(
        [start, stop], [height] * 2, color=colour, linewidth=0.6, alpha=0.7, linestyle=(0, (1, 2)), marker="x",
        markevery=[1], markersize=4, markeredgewidth=1.0,
    )  # fmt: skip


def _sizes(line: Line) -> list[int]:
    """Numbers of spots that a method's curves show."""
    printed = [] if line.printed is None else [*(n for n, _, _ in line.printed.points), line.printed.out_of_memory_at]
    ended = None if line.ended is None else line.ended.spots
    return [n for n in (*(row.spots for row in line.points), ended, *printed) if n is not None]


def _in_pairs(axes: Axes, lines: Sequence[Line]) -> tuple[list[Artist], list[str]]:
    """The legend's entries: each method, and below it what was printed of it."""
    by_label = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    wanted = [label for line in lines for label in (line.label, f"{line.label}, printed") if label in by_label]
    return [by_label[label] for label in wanted], wanted


def _value(row: Measurement, *, memory: bool) -> float | None:
    """What is drawn of a measurement; None where there is nothing that a logarithmic axis can show."""
    value = row.memory_mb if memory else row.seconds and row.seconds * REPEATS
    return value if value is not None and value > 0 else None


def _memory_label(gpu: bool) -> str:
    return "peak GPU memory (MB)" if gpu else "peak memory of the process\nless what it held before (MB)"


def _notes(lines: Sequence[Line], rows: Sequence[Measurement]) -> list[str]:
    """What a reader must know, a line each."""
    first = rows[0]
    threads = "" if first.device == "cuda" else f", {first.threads} thread{'s' * (first.threads > 1)}"
    repeats = first.repeats
    of = f"the median of {repeats} runs" if repeats > 1 else "one run"
    notes = [
        f"Solid: measured on {first.processor or first.device}{threads}; {REPEATS} times {of}.",
        f"Dashed: printed ({GPU}, GPU memory), read off the image to ±{READ_S:g} s and ±{READ_MB:g} MB. "
        "×: memory or time ran out.",
    ]
    told = [
        f"{line.label}, measured: {line.ended.ended} at {line.ended.spots:,} spots; larger slides not tried."
        for line in lines
        if line.ended is not None
    ]
    return [*notes, *told]
