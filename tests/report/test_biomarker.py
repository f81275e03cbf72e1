"""Biomarker maps: what is drawn is what was measured and predicted, and the bytes do not change."""

from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure

from stflow.errors import DataError, GeneError
from stflow.layout import Group, Layout
from stflow.report.biomarker import Panel, compose, draw, make_biomarker, read_canvas, round_length
from stflow.report.style import DOUBLE_COLUMN_MM

MPP, N = 0.5, 49
GENES = ("ERBB2", "HLA-A")
METHODS = ("ridge", "stflow", "my_method")


def centres() -> np.ndarray:
    x, y = np.meshgrid(np.arange(7), np.arange(7))
    return np.stack([x.ravel(), y.ravel()], axis=1) * 200.0 + 300  # 100 um apart


def write_predictions(results: Path, method: str, *, level: float = 0.0, status: str = "ok") -> Path:
    rng = np.random.default_rng(len(method))
    measured = np.log1p(np.random.default_rng(0).poisson(3.0, (2 * N, 2))).astype(np.float32)
    run = Group("demo", "IDC", "classical", method, "default", "clean").run(0, 0)
    adata = anndata.AnnData(
        X=(0.5 * measured + level + 0.1 * rng.normal(size=measured.shape)).astype(np.float32),
        obs=pd.DataFrame({"slide": ["s1"] * N + ["s2"] * N}, index=[str(i) for i in range(2 * N)]),
        var=pd.DataFrame(index=list(GENES)),
        layers={"measured": measured},
        obsm={"spatial": np.concatenate([centres(), centres() + 9999])},
        uns={"stflow": {"schema": 1, "run": str(run), "status": status, "reason": "", "n_spots": 2 * N}},
    )
    path = Layout(results).predictions(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    adata.write_h5ad(path)
    return path


def write_tiles(results: Path, *, thumbnail: bool = True, mpp: bool = True) -> Path:
    path = Layout(results).tiles("demo", "s1")
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as handle:
        handle["img"] = np.zeros((1, 2, 2, 3), np.uint8)
        if mpp:
            handle["img"].attrs["pixel_size"] = MPP
        if thumbnail:
            handle["thumbnail"] = np.random.default_rng(0).integers(100, 255, (60, 60, 3), dtype=np.uint8)
            handle["thumbnail"].attrs["downsample"] = 32.0
    return path


def make(tmp_path: Path, predictions: list[Path], gene: str = "ERBB2", slide: str = "s1") -> tuple[bytes, bytes]:
    pdf, png = tmp_path / "f.pdf", tmp_path / "f.png"
    make_biomarker(predictions, slide, gene, write_tiles(tmp_path), pdf, png)
    return pdf.read_bytes(), png.read_bytes()


@pytest.fixture
def predictions(tmp_path: Path) -> list[Path]:
    return [write_predictions(tmp_path, method) for method in METHODS]


def test_pdf_and_png_and_the_same_bytes_again(tmp_path: Path, predictions: list[Path]) -> None:
    pdf, png = make(tmp_path, predictions)
    assert pdf.startswith(b"%PDF")
    assert png.startswith(b"\x89PNG")
    assert b"CreationDate" not in pdf
    assert make(tmp_path, predictions) == (pdf, png)


def test_text_in_the_pdf_is_text(tmp_path: Path, predictions: list[Path]) -> None:
    with matplotlib.rc_context({"pdf.compression": 0}):
        pdf, _ = make(tmp_path, predictions)
    assert b"/FontType 42" in pdf or b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf


def drawn(tmp_path: Path, files: list[Path]) -> Figure:
    return compose(files, "s1", "ERBB2", write_tiles(tmp_path))


def spots_of(figure: Figure) -> list[EllipseCollection]:
    return [item for axes in figure.axes for item in axes.collections if isinstance(item, EllipseCollection)]


def test_one_panel_a_method_beside_the_measured_with_r_in_the_title(tmp_path: Path, predictions: list[Path]) -> None:
    figure = drawn(tmp_path, predictions)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["H&E", "Measured"]
    assert [title.split(",")[0] for title in titles[2:5]] == ["Ridge", "STFlow", "my_method"]
    data = anndata.read_h5ad(predictions[1])[:N, "ERBB2"]
    r = np.corrcoef(data.X[:, 0], data.layers["measured"][:, 0])[0, 1]
    assert titles[3] == f"STFlow, $r$ = {r:.2f}"


def test_spots_have_their_true_size_and_place_and_one_scale(tmp_path: Path, predictions: list[Path]) -> None:
    figure = drawn(tmp_path, predictions)
    panels = spots_of(figure)
    assert len(panels) == 4
    for spots in panels:
        np.testing.assert_allclose(spots.get_widths(), 55 / MPP)
        np.testing.assert_allclose(spots.get_offsets(), centres())
    measured = anndata.read_h5ad(predictions[0])[:N, "ERBB2"].layers["measured"][:, 0]
    colours = panels[0].get_facecolor()
    scale = matplotlib.colormaps["coolwarm"](np.clip(measured / np.percentile(measured, 99), 0, 1))
    np.testing.assert_allclose(colours, scale, atol=0.01)
    axes = figure.axes[1]
    assert axes.get_xlim()[0] < axes.get_xlim()[1]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # y down, as in the image


def test_page_is_two_columns_wide_and_nothing_is_below_six_points(tmp_path: Path, predictions: list[Path]) -> None:
    figure = drawn(tmp_path, predictions)
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(DOUBLE_COLUMN_MM)
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 6
    figure.canvas.draw()
    page = figure.bbox
    for text in texts:
        if text.get_visible():
            box = text.get_window_extent()
            assert box.x0 >= page.x0 - 1, text.get_text()
            assert box.x1 <= page.x1 + 1, text.get_text()


def test_a_method_without_a_level_is_shifted_and_says_so(tmp_path: Path) -> None:
    files = [write_predictions(tmp_path, "ridge", level=-5.0), write_predictions(tmp_path, "stflow")]
    figure = drawn(tmp_path, files)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert "(shifted by +5." in titles[2]
    assert "shifted" not in titles[3]


def test_a_failed_run_has_an_empty_panel(tmp_path: Path) -> None:
    files = [write_predictions(tmp_path, "ridge"), write_predictions(tmp_path, "stflow", status="failed")]
    figure = drawn(tmp_path, files)
    assert len(spots_of(figure)) == 2
    assert figure.axes[3].get_title(loc="left") == "STFlow"
    assert "run failed" in [text.get_text() for text in figure.axes[3].texts]


def test_a_hyphenated_gene_is_drawn(tmp_path: Path, predictions: list[Path]) -> None:
    make(tmp_path, predictions, gene="HLA-A")


def test_a_slide_without_a_picture_is_drawn_on_a_plain_ground(tmp_path: Path) -> None:
    canvas = read_canvas(write_tiles(tmp_path, thumbnail=False), "s1", centres())
    assert canvas.picture is None
    figure = draw(canvas, [Panel("Measured", np.zeros(N)), Panel("Ridge", np.ones(N))], "X", "s1", "cividis")
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["Measured", "Ridge"]


def test_spot_size_comes_from_the_slide_file(tmp_path: Path) -> None:
    from stflow.data.slide import write_slide

    write_slide(
        Layout(tmp_path).slide("demo", "s1"), name="s1", patient="p", barcodes=[str(i) for i in range(N)],
        centres_px=centres(), mpp=MPP, spot_diameter_um=100.0, genes=["A"], counts=np.ones((N, 1)),
    )  # fmt: skip
    assert read_canvas(write_tiles(tmp_path), "s1", centres()).spot_px == 200


def test_errors_say_what_to_do(tmp_path: Path, predictions: list[Path]) -> None:
    with pytest.raises(GeneError, match=r"VWF is not among the 2 genes.*figures\.biomarkers"):
        make(tmp_path, predictions, gene="VWF")
    with pytest.raises(DataError, match="predicts s1, s2, not s3"):
        make(tmp_path, predictions, slide="s3")
    with pytest.raises(DataError, match="tells no um/px"):
        read_canvas(write_tiles(tmp_path / "other", mpp=False), "s1", centres())
    assert not (tmp_path / "f.pdf").exists()


@pytest.mark.parametrize(("um", "expected"), [(1, 1), (3.9, 2), (480, 200), (525, 500), (2000, 2000), (1e4, 1e4)])
def test_scale_bars_have_round_lengths(um: float, expected: float) -> None:
    assert round_length(um) == expected
