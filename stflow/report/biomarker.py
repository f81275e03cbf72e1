"""Biomarker maps: one gene on one slide, measured beside what each method predicts, spots at their true size.

All panels share one colour scale in log1p counts, from 0 to the 99th percentile of what was measured; the paper scales
each panel to 0-1, which hides that predictions are smoother than measurements. The r in a title is Pearson's over the
spots of this slide.

log1p counts cannot be negative. Where a quarter of a method's predictions are, it carries no level (ridge without an
intercept predicts around zero); its map is shifted to the measured mean and its title says so. r does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stflow.errors import DataError, GeneError
from stflow.evaluation.metrics import pearson
from stflow.evaluation.predictions import Predictions, read_predictions
from stflow.io import atomic_path
from stflow.layout import Layout
from stflow.report.style import DOUBLE_COLUMN_MM, MM_PER_INCH, RC, SMALL_PT, method_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

#: Diameter of a Visium spot, for a slide whose file does not tell its own.
VISIUM_SPOT_UM = 55.0
#: Upper end of the colour scale: this percentile of the measured values.
TOP_PERCENTILE = 99.0
#: Share of negative predictions from which a method has no level.
NO_LEVEL = 0.25
#: How much of the H&E's darkness is left below the spots, and its longest side there, px.
FADE, FADED_PX = 0.3, 500
#: Outline of a spot, as a share of its diameter: a spot in the scale's pale middle stays visible on pale tissue, and
#: small, dense spots are not drowned in outlines.
OUTLINE_SHARE, OUTLINE = 0.04, "#4d4d4d"

# The page, mm.
_TITLE_MM, _HEAD_MM, _GAP_MM, _BAR_MM, _BAR_ROOM_MM = 4.0, 4.0, 2.0, 2.6, 15.0


@dataclass(frozen=True, eq=False)
class Canvas:
    """Where spots lie and what is below them.

    centres_px (N, 2) level-0 px, spot_px diameter in level-0 px, mpp um per level-0 px; picture (h, w, 3) uint8 and
    its level-0 px a picture px, or None for slides without one.
    """

    centres_px: np.ndarray
    spot_px: float
    mpp: float
    picture: np.ndarray | None
    downsample: float

    @property
    def window(self) -> tuple[float, float, float, float]:
        """x0, x1, y0, y1 in level-0 px: the spots and one spot's width around them."""
        low, high = self.centres_px.min(axis=0) - 1.5 * self.spot_px, self.centres_px.max(axis=0) + 1.5 * self.spot_px
        return float(low[0]), float(high[0]), float(low[1]), float(high[1])


@dataclass(frozen=True, eq=False)
class Panel:
    """One map: its title, and a value a spot, or None with a note in its place."""

    title: str
    values: np.ndarray | None
    note: str = ""


def make_biomarker(
    predictions: Sequence[Path],
    slide: str,
    gene: str,
    tiles: Path,
    pdf: Path,
    png: Path,
    image: Path | None = None,
    colormap: str = "coolwarm",
) -> None:
    """Draw one gene on one slide as PDF and PNG.

    Parameters
    ----------
    predictions
        A predictions file a method, in the order of the panels; each tests the slide.
    slide, gene
        What to draw.
    tiles
        Tiles file of the slide: um/px, and the tissue's picture if it has one.
    pdf, png
        Files to write.
    image
        Slide image, for tiles files without a picture.
    colormap
        matplotlib colour map.

    Raises
    ------
    GeneError
        The gene is not among those predicted.
    DataError
        The slide is not among those predicted, or no spot size can be told.
    IntegrityError
        A file that is missing or cut short.
    """
    figure = compose(predictions, slide, gene, Path(tiles), image, colormap)
    for path, kind, metadata in (
        (pdf, "pdf", {"CreationDate": None, "ModDate": None}),
        (png, "png", {"Software": None}),
    ):
        with atomic_path(path) as partial, _rc():
            figure.savefig(partial, format=kind, metadata=metadata)


def compose(
    predictions: Sequence[Path],
    slide: str,
    gene: str,
    tiles: Path,
    image: Path | None = None,
    colormap: str = "coolwarm",
) -> Figure:
    """The figure that `make_biomarker` saves; its parameters and errors."""
    runs = [read_predictions(path) for path in predictions]
    measured, centres = select(runs[0], slide, gene)
    panels = [Panel("Measured", measured), *(_panel(run, slide, gene) for run in runs)]
    return draw(read_canvas(tiles, slide, centres, image), panels, gene, slide, colormap)


def select(run: Predictions, slide: str, gene: str) -> tuple[np.ndarray, np.ndarray]:
    """(N,) measured log1p counts of a gene and (N, 2) centres of the spots of one slide."""
    if gene not in run.genes:
        raise GeneError(
            f"{gene} is not among the {len(run.genes)} genes of {run.run}. Name another gene under "
            "figures.biomarkers, or add this one to the dataset's gene list."
        )
    here = run.slide == slide
    if not here.any():
        known = ", ".join(dict.fromkeys(run.slide))
        raise DataError(f"{run.run} predicts {known}, not {slide}. Give predictions of the fold that tests it.")
    return run.measured[here, run.genes.index(gene)].astype(np.float64), run.centres_px[here]


def _panel(run: Predictions, slide: str, gene: str) -> Panel:
    label = method_label(run.run.group.method, run.run.group.variant)
    if run.failed:
        return Panel(label, None, "run failed")
    measured, _ = select(run, slide, gene)
    values = run.predicted[run.slide == slide, run.genes.index(gene)].astype(np.float64)
    r = float(pearson(measured[:, None], values[:, None])[0])
    title = f"{label}, $r$ undefined" if np.isnan(r) else f"{label}, $r$ = {round(r, 2) + 0.0:.2f}"
    if np.mean(values < 0) < NO_LEVEL:
        return Panel(title, values)
    shift = measured.mean() - values.mean()
    return Panel(f"{title}\n(shifted by {shift:+.1f})", values + shift)


def read_canvas(tiles: Path, slide: str, centres_px: np.ndarray, image: Path | None = None) -> Canvas:
    """What is drawn below the spots, and how large they are.

    The spot's diameter is in the slide file beside the tiles file's folder; without one it is a Visium spot's.
    """
    from stflow.io import open_h5

    picture, downsample, spot_um = None, 1.0, VISIUM_SPOT_UM
    with open_h5(tiles) as handle:
        mpp = handle.attrs.get("mpp", handle["img"].attrs.get("pixel_size"))
        if "thumbnail" in handle:
            picture, downsample = handle["thumbnail"][:], float(handle["thumbnail"].attrs["downsample"])
    slide_file = Layout(tiles.absolute().parents[2]).slide(tiles.absolute().parent.name, slide)
    if slide_file.is_file():
        with open_h5(slide_file) as handle:
            meta = handle["uns/stflow"]
            mpp, spot_um = float(meta["mpp"][()]), float(meta["spot_diameter_um"][()])
    if mpp is None:
        raise DataError(f"{tiles} tells no um/px and {slide_file} is not there. Run `counts` and `tile` for {slide}.")
    if picture is None and image is not None:
        from stflow.wsi.slide_image import open_slide

        with open_slide(image) as opened:
            picture, downsample, _ = opened.overview(max(1.0, max(opened.size) / 1000))
    return Canvas(centres_px, spot_um / float(mpp), float(mpp), picture, downsample)


def draw(canvas: Canvas, panels: Sequence[Panel], gene: str, slide: str, colormap: str) -> Figure:
    """The figure: the H&E alone if there is one, then the panels, a scale bar, one colour bar."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    measured = panels[0].values
    if measured is None:
        raise ValueError("the first panel is the measured one")
    top = float(np.percentile(measured, TOP_PERCENTILE)) or float(measured.max()) or 1.0
    scale = ScalarMappable(Normalize(0.0, top), matplotlib.colormaps[colormap])
    n_panels = len(panels) + (canvas.picture is not None)
    n_columns = n_panels if n_panels <= 4 else -(-n_panels // 2) if n_panels <= 8 else 4
    n_rows = -(-n_panels // n_columns)
    x0, x1, y0, y1 = canvas.window
    width_mm = (DOUBLE_COLUMN_MM - _BAR_ROOM_MM - (n_columns - 1) * _GAP_MM) / n_columns
    height_mm = width_mm * (y1 - y0) / (x1 - x0)
    title_mm = _TITLE_MM * max(panel.title.count("\n") + 1 for panel in panels)
    page_mm = _HEAD_MM + n_rows * (height_mm + title_mm) + (n_rows - 1) * _GAP_MM + 1.0
    with _rc():
        figure = Figure(figsize=(DOUBLE_COLUMN_MM / MM_PER_INCH, page_mm / MM_PER_INCH))
        places = [
            (
                column * (width_mm + _GAP_MM) / DOUBLE_COLUMN_MM,
                1 - (_HEAD_MM + (row + 1) * (height_mm + title_mm) + row * _GAP_MM) / page_mm,
                width_mm / DOUBLE_COLUMN_MM,
                height_mm / page_mm,
            )
            for row in range(n_rows)
            for column in range(n_columns)
        ]
        all_panels = [*([Panel("H&E", None)] if canvas.picture is not None else []), *panels]
        for number, (panel, place) in enumerate(zip(all_panels, places, strict=False)):
            axes = figure.add_axes(place)
            _draw_panel(axes, canvas, panel, scale, bare=panel.title == "H&E")
            if number == 0:
                _draw_scale_bar(axes, canvas)
        heading = f"$\\mathbfit{{{_escape(gene)}}}$ on {slide}"
        figure.text(0, 1 - 0.3 / page_mm, heading, va="top", fontweight="bold")
        _draw_colour_bar(figure, scale, panels, places[0], height_mm / page_mm)
    return figure


def _draw_panel(axes: Axes, canvas: Canvas, panel: Panel, scale: ScalarMappable, *, bare: bool) -> None:
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
    axes.set_title(panel.title, loc="left", pad=2.0)
    if panel.values is not None:
        size = np.full(len(canvas.centres_px), canvas.spot_px)
        spots = EllipseCollection(
            size, size, np.zeros(len(size)), units="xy", offsets=canvas.centres_px, offset_transform=axes.transData
        )
        width_pt = axes.get_position().width * DOUBLE_COLUMN_MM / MM_PER_INCH * 72
        outline_pt = OUTLINE_SHARE * canvas.spot_px / (x1 - x0) * width_pt
        spots.set(facecolor=scale.to_rgba(panel.values), linewidth=outline_pt, edgecolor=OUTLINE)
        axes.add_collection(spots)
    if panel.note:
        axes.text(0.5, 0.5, panel.note, transform=axes.transAxes, ha="center", va="center")


def _draw_scale_bar(axes: Axes, canvas: Canvas) -> None:
    """A bar of a round length, about a quarter of the panel, on white so that it is seen on any tissue."""
    x0, x1, y0, y1 = canvas.window
    bar_um = round_length((x1 - x0) * canvas.mpp / 4)
    bar_px = bar_um / canvas.mpp
    label = f"{bar_um / 1000:g} mm" if bar_um >= 1000 else f"{bar_um:g} µm"
    left, low = x0 + 0.04 * (x1 - x0), y1 - 0.04 * (y1 - y0)
    axes.plot([left, left + bar_px], [low, low], color="black", linewidth=1.2, solid_capstyle="butt")
    axes.text(
        left,
        low - 0.015 * (y1 - y0),
        label,
        ha="left",
        va="bottom",
        fontsize=SMALL_PT,
        bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8},
    )


def _draw_colour_bar(
    figure: Figure, scale: ScalarMappable, panels: Sequence[Panel], first: tuple[float, ...], height: float
) -> None:
    shown = [panel.values for panel in panels if panel.values is not None]
    low, high = min(map(np.min, shown)) < 0, max(map(np.max, shown)) > scale.norm.vmax
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((low, high), "neither")
    left = 1 - (_BAR_ROOM_MM - 2.0) / DOUBLE_COLUMN_MM
    axes = figure.add_axes((left, first[1] + 0.1 * height, _BAR_MM / DOUBLE_COLUMN_MM, 0.8 * height))
    bar: Any = figure.colorbar(scale, cax=axes, extend=extend)
    bar.set_label("log1p counts")
    bar.outline.set_linewidth(0.5)


def faded(picture: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: the picture small and in light grey, so that no stain is taken for a colour of the scale."""
    from PIL import Image

    small = Image.fromarray(picture).convert("L")
    small.thumbnail((FADED_PX, FADED_PX), Image.Resampling.BOX)
    light = 255 - FADE * (255 - np.asarray(small, dtype=np.float64))
    return np.repeat(light[..., None], 3, axis=2).astype(np.uint8)


def round_length(um: float) -> float:
    """The largest of 1, 2, 5 x 10^k that is not above ``um``."""
    power = 10.0 ** np.floor(np.log10(um))
    return float(max(step * power for step in (1, 2, 5) if step * power <= um * (1 + 1e-9)))


def _escape(gene: str) -> str:
    """A gene symbol as mathtext that reads as it is: ``HLA-A`` keeps its hyphen, ``_`` is no subscript."""
    return gene.replace("_", r"\_").replace("-", r"\text{-}")


def _rc() -> Any:
    import matplotlib

    settings: Any = dict(RC)  # matplotlib's types list every key there is
    return matplotlib.rc_context(settings)
