"""The critical-difference picture: right ranks and bars, words where there is too little, the same bytes again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stflow.report.critical_difference import Panel, draw, make_critical_difference
from stflow.report.style import RC, SMALL_PT

METHODS = ["STFlow", "TRIPLEX", "BLEEP", "Ridge", "Mean"]


def panel(n_datasets: int, names: list[str] = METHODS, *, spread: float = 0.1, left_out: tuple[str, ...] = ()) -> Panel:
    """Methods one ``spread`` apart, the first the best, on datasets of different levels."""
    rng = np.random.default_rng(0)
    level = rng.uniform(0.2, 0.5, (n_datasets, 1))
    scores = level - spread * np.arange(len(names)) + 0.05 * rng.normal(size=(n_datasets, len(names)))
    return Panel("clean", names, scores, left_out)


def drawn(*panels: Panel) -> tuple[Figure, list[str]]:
    with matplotlib.rc_context(dict(RC)):
        figure = draw(panels)
        figure.canvas.draw()
    texts = [text for axes in figure.axes for text in axes.texts] + figure.texts
    return figure, [text.get_text().strip() for text in texts]


def bars(figure: Figure) -> list[tuple[float, float]]:
    """Ends of the bars that join methods: lines at one height below the axis."""
    lines = [line for line in figure.axes[0].lines if len(set(line.get_ydata())) == 1 and line.get_ydata()[0] < 0]
    return sorted((min(line.get_xdata()), max(line.get_xdata())) for line in lines)


def test_names_stand_with_their_mean_ranks() -> None:
    _, texts = drawn(panel(17))
    assert "STFlow  1.0" in texts
    assert "4.9  Mean" in texts
    assert "critical difference 1.5" in texts
    assert "Protocol clean: 17 datasets, 5 methods" in texts
    assert any("Friedman's test: p < 0.001; bars join methods that are not told apart." in text for text in texts)


def test_bars_join_what_is_within_the_critical_difference() -> None:
    figure, _ = drawn(panel(17))
    ends = bars(figure)
    assert ends, "neighbours in rank are closer than 1.5 ranks"
    assert max(high - low for low, high in ends) < 1.48
    few, texts = drawn(panel(17, spread=0.0))
    assert any("so no method is told from another" in text for text in texts)
    assert len(bars(few)) == 1, "one bar joins all"


@pytest.mark.parametrize("too_few", [panel(2), panel(17, METHODS[:2]), Panel("clean", [], np.empty((0, 0)), ())])
def test_too_little_is_told_in_words(too_few: Panel) -> None:
    figure, texts = drawn(too_few)
    assert not figure.axes
    assert any("Too few to rank: the test over datasets needs 3 datasets and 3 methods." in text for text in texts)


def test_nothing_is_clipped_or_small_or_on_top_of_another() -> None:
    many = [f"Method with a long name {number}, gigapath_slide" for number in range(24)]
    figure, _ = drawn(panel(17, many, left_out=tuple(many)), panel(2), panel(6))
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for axes in figure.axes for text in axes.texts] + figure.texts
    boxes = [text.get_window_extent(renderer) for text in texts]
    assert min(text.get_fontsize() for text in texts) >= SMALL_PT
    width, height = figure.bbox.size
    for box in boxes:
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height
    clashes = [
        (texts[i].get_text(), texts[j].get_text())
        for i in range(len(boxes))
        for j in range(i)
        if boxes[i].shrunk(0.98, 0.9).overlaps(boxes[j].shrunk(0.98, 0.9))
    ]
    assert not clashes


def test_pdf_and_png_and_the_same_bytes_again(made_metrics: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    files = []
    for number in range(3):
        for method, better in (("ridge", 0.0), ("stflow", 0.1), ("bleep", 0.05), ("triplex", 0.2)):
            if (method, number) != ("triplex", 0):
                files.append(tmp_path / f"{method}{number}.parquet")
                made_metrics(np.full((2, 1, 1, 3), 0.2 + better), dataset=f"D{number}", method=method).to_parquet(
                    files[-1]
                )
    pdf, png = tmp_path / "f.pdf", tmp_path / "f.png"
    make_critical_difference(files, pdf, png)
    first = pdf.read_bytes(), png.read_bytes()
    assert first[0].startswith(b"%PDF")
    assert first[1].startswith(b"\x89PNG")
    assert b"CreationDate" not in first[0]
    make_critical_difference(files, pdf, png)
    assert (pdf.read_bytes(), png.read_bytes()) == first
