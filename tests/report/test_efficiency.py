"""Figure 5: ours solid, the printed curves dashed, and what ran out is marked."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from stflow.efficiency.measure import Measurement
from stflow.errors import DataError
from stflow.report.efficiency import draw, make_efficiency

HEADER = "method,variant,what,spots,ended,seconds,least_seconds,repeats,idle_mb,peak_mb,device,processor,threads\n"


def row(method: str, spots: int, seconds: float | None, mb: float | None = 50.0, **other: object) -> Measurement:
    ended = "ok" if seconds is not None else "out of memory"
    values = {"variant": "default", "what": "predict", "ended": ended, "device": "cuda", "processor": "A GPU", **other}
    return Measurement(method=method, spots=spots, seconds=seconds, memory_mb=mb, repeats=3, threads=1, **values)  # type: ignore[arg-type]


ROWS = [
    row("stflow", 1000, 0.02), row("stflow", 5000, 0.1, 400.0), row("mean", 1000, 0.001),
    row("histogene", 1000, 0.05), row("histogene", 5000, None, None),
    row("histogene", 9000, None, None, ended="not tried"), row("stflow", 1000, 9.0, what="train"),
]  # fmt: skip


def curves(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_xydata() for line in axes.lines if not line.get_label().startswith("_")}


def test_time_is_that_of_a_hundred_and_printed_curves_lie_behind() -> None:
    time, memory = draw(ROWS).axes
    np.testing.assert_allclose(curves(time)["STFlow"], [[1000, 2.0], [5000, 10.0]])
    np.testing.assert_allclose(curves(memory)["STFlow"], [[1000, 50.0], [5000, 400.0]])
    np.testing.assert_allclose(curves(time)["STFlow, printed"][:2], [[1000, 1.3], [5000, 3.3]])
    np.testing.assert_allclose(curves(memory)["HisToGene, printed"][-1], [10_000, 18_700])
    assert "Mean, printed" not in curves(time)
    styles = {line.get_label(): (line.get_linestyle(), line.get_zorder()) for line in time.lines}
    assert styles["STFlow"][0] == "-"
    assert styles["STFlow, printed"][0] == "--"
    assert styles["STFlow"][1] > styles["STFlow, printed"][1]
    assert {axes.get_xscale() + axes.get_yscale() for axes in (time, memory)} == {"loglog"}


def test_what_ran_out_is_marked_and_told() -> None:
    figure = draw(ROWS)
    crosses = [tuple(line.get_xydata()[-1]) for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert (5000, 5.0) in crosses, "ours, at the height of the last that ran"
    assert (20_000, 24.8) in crosses, "the paper's"
    told = " ".join(text.get_text() for text in figure.texts)
    assert "HisToGene, measured: out of memory at 5,000 spots" in told
    assert "100 times the median of 3 runs" in told


def test_the_axis_says_whose_memory_it_is() -> None:
    assert draw(ROWS).axes[1].get_ylabel() == "peak GPU memory (MB)"
    on_cpu = [row("stflow", 1000, 0.02, device="cpu"), row("stflow", 5000, 0.02, None, device="cpu")]
    figure = draw(on_cpu)
    assert "less what it held before" in figure.axes[1].get_ylabel()
    assert len(curves(figure.axes[1])["STFlow"]) == 1, "memory that is not known is not drawn"


@pytest.mark.parametrize(("width", "mm"), [("double", 180.0), ("single", 88.0)])
def test_every_text_is_legible_and_on_the_page(width: str, mm: float) -> None:
    figure = draw(ROWS, width)
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(mm)
    FigureCanvasAgg(figure).draw()
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in texts) >= 5.5
    for text in texts:
        box = text.get_window_extent()
        assert figure.bbox.x0 - 1 <= box.x0, text.get_text()
        assert box.x1 <= figure.bbox.x1 + 1, text.get_text()
        assert figure.bbox.y0 - 1 <= box.y0, text.get_text()


def test_same_files_same_bytes_and_nothing_to_draw_is_told(tmp_path: Path) -> None:
    csv, pdf, png = tmp_path / "a.csv", tmp_path / "f.pdf", tmp_path / "f.png"
    csv.write_text(HEADER + "stflow,default,predict,1000,ok,0.02,0.02,3,10,60,cpu,A CPU,2\n")
    make_efficiency([csv], pdf, png)
    first = pdf.read_bytes(), png.read_bytes()
    make_efficiency([csv], pdf, png)
    assert (pdf.read_bytes(), png.read_bytes()) == first
    csv.write_text(HEADER)
    with pytest.raises(DataError, match=r"no prediction was measured: add predict to efficiency\.what"):
        make_efficiency([csv], pdf, png)
