"""Maps: what is drawn is what was measured and predicted, and the bytes do not change."""

from __future__ import annotations

from pathlib import Path

import anndata
import matplotlib
import numpy as np
import pytest
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure

from stflow.errors import DataError, GeneError
from stflow.report.maps.figure import compose, make_maps

ERBB2, HLA_A = "demo/s1/ERBB2/clean", "demo/s1/HLA-A/clean"


def make(tmp_path: Path, predictions: list[Path], *places: str) -> tuple[bytes, bytes]:
    pdf, png = tmp_path / "f.pdf", tmp_path / "f.png"
    make_maps(tmp_path, predictions, places or (ERBB2,), pdf, png)
    return pdf.read_bytes(), png.read_bytes()


def titles_of(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def spots_of(figure: Figure) -> list[EllipseCollection]:
    return [item for axes in figure.axes for item in axes.collections if isinstance(item, EllipseCollection)]


def test_pdf_and_png_and_the_same_bytes_again(tmp_path: Path, three: list[Path]) -> None:
    pdf, png = make(tmp_path, three, ERBB2, HLA_A)
    assert pdf.startswith(b"%PDF")
    assert png.startswith(b"\x89PNG")
    assert b"CreationDate" not in pdf
    assert make(tmp_path, three, ERBB2, HLA_A) == (pdf, png)


def test_text_in_the_pdf_is_text(tmp_path: Path, three: list[Path]) -> None:
    with matplotlib.rc_context({"pdf.compression": 0}):
        pdf, _ = make(tmp_path, three)
    assert b"/FontType 42" in pdf or b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf


def test_one_panel_a_method_beside_the_measured_with_r_in_the_title(tmp_path: Path, three: list[Path]) -> None:
    titles = titles_of(compose(tmp_path, three, [ERBB2]))
    assert titles[:2] == ["H&E", "Measured"]
    assert [title.split("\n")[0] for title in titles[2:5]] == ["Ridge", "STFlow", "my_method"]
    data = anndata.read_h5ad(three[1])[:49, "ERBB2"]
    r = np.corrcoef(data.X[:, 0], data.layers["measured"][:, 0])[0, 1]
    assert titles[3] == f"STFlow\n$r$ = {r:.2f}"


def test_a_row_a_gene_each_with_its_own_scale_and_one_scale_bar_a_slide(tmp_path: Path, three: list[Path], lab) -> None:
    figure = compose(tmp_path, three, [ERBB2, HLA_A, "demo/s2/ERBB2/clean"])
    assert titles_of(figure).count("Measured") == 3
    bars = [text.get_text() for axes in figure.axes for text in axes.texts if "µm" in text.get_text()]
    assert bars == ["100 µm", "100 µm"], "one on s1, one on s2"
    headings = [text.get_text() for text in figure.texts]
    assert headings == [r"$\mathbfit{ERBB2}$ on s1", r"$\mathbfit{HLA\text{-}A}$ on s1", r"$\mathbfit{ERBB2}$ on s2"]
    data = anndata.read_h5ad(three[0])
    panels = spots_of(figure)
    assert len(panels) == 3 * 4
    for first, rows, gene in ((0, slice(0, 49), 0), (4, slice(0, 49), 1), (8, slice(49, 98), 0)):
        measured = data.layers["measured"][rows, gene]
        top = np.percentile(measured, 99)
        for panel, values in ((first, measured), (first + 2, data_of(three[1]).X[rows, gene])):
            expected = matplotlib.colormaps["coolwarm"](np.clip(values / top, 0, 1))
            np.testing.assert_allclose(panels[panel].get_facecolor(), expected, atol=0.01)


def data_of(path: Path) -> anndata.AnnData:
    return anndata.read_h5ad(path)


def test_spots_have_their_true_size_and_place(tmp_path: Path, three: list[Path], lab) -> None:
    figure = compose(tmp_path, three, [ERBB2])
    for spots in spots_of(figure):
        np.testing.assert_allclose(spots.get_widths(), 55 / lab.MPP)
        np.testing.assert_allclose(spots.get_offsets(), lab.centres())
    axes = figure.axes[1]
    assert axes.get_xlim()[0] < axes.get_xlim()[1]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # y down, as in the image


@pytest.mark.parametrize(("width", "mm"), [("double", 180.0), ("single", 88.0)])
def test_the_page_has_its_width_and_every_text_its_place(
    tmp_path: Path, lab, texts_on_page, width: str, mm: float
) -> None:
    lab.write_tiles(tmp_path)
    methods = ["mean", "ridge/neighbours", "random_forest", "stnet", "bleep", "triplex", "stflow", "stflow/wo_fm"]
    files = [lab.write_predictions(tmp_path, method, level=-9.0 * (method == "stnet")) for method in methods]
    for places in ([ERBB2], [ERBB2, HLA_A]):
        figure = compose(tmp_path, files, places, width=width)
        assert figure.get_size_inches()[0] * 25.4 == pytest.approx(mm)
        texts_on_page(figure)


def test_a_printed_r_stands_beside_ours_only_where_all_is_as_printed(tmp_path: Path, lab) -> None:
    genes, slides = ("GATA3", "EGFR"), ("TENX95", "TENX99")
    lab.write_tiles(tmp_path, "TENX95", benchmark="hest")
    lab.write_tiles(tmp_path, "TENX95", benchmark="other")

    def title(method: str, benchmark: str = "hest", gene: str = "GATA3", **where: str) -> str:
        where = {"protocol": "paper", "encoder": "uni", **where}
        file = lab.write_predictions(tmp_path, method, benchmark=benchmark, slides=slides, genes=genes, **where)
        figure = compose(tmp_path, [file], [f"{benchmark}/TENX95/{gene}/{where['protocol']}"])
        return titles_of(figure)[2]

    assert title("stflow").endswith(" (0.891)")
    assert title("random_forest").endswith(" (0.861)")
    assert title("stnet", encoder="densenet121+views").endswith(" (0.727)")
    others = [
        title("stflow", encoder="ciga"), title("stflow", protocol="clean"), title("stflow", gene="EGFR"),
        title("stflow", benchmark="other"), title("stflow/steps_2"), title("ridge"),
    ]  # fmt: skip
    assert not [told for told in others if "(" in told.split("\n")[1]]


def test_rows_of_two_protocols_say_which(tmp_path: Path, lab) -> None:
    lab.write_tiles(tmp_path)
    files = [lab.write_predictions(tmp_path, "ridge", protocol=name) for name in ("paper", "clean")]
    figure = compose(tmp_path, files, ["demo/s1/ERBB2/paper", ERBB2])
    assert [text.get_text().rpartition(" on ")[2] for text in figure.texts] == ["s1 (paper)", "s1 (clean)"]
    assert len(spots_of(figure)) == 2 * 2


def test_a_method_on_two_encoders_says_which(tmp_path: Path, lab) -> None:
    lab.write_tiles(tmp_path)
    files = [lab.write_predictions(tmp_path, "ridge", encoder=name) for name in ("uni", "ciga")]
    assert [title.split("\n")[:2] for title in titles_of(compose(tmp_path, files, [ERBB2]))[2:4]] == [
        ["Ridge", "uni"],
        ["Ridge", "ciga"],
    ]


def test_a_method_without_a_level_is_shifted_and_says_so(tmp_path: Path, lab) -> None:
    lab.write_tiles(tmp_path)
    files = [lab.write_predictions(tmp_path, "ridge", level=-5.0), lab.write_predictions(tmp_path, "stflow")]
    titles = titles_of(compose(tmp_path, files, [ERBB2]))
    assert "\nshifted by +5." in titles[2]
    assert "shifted" not in titles[3]


def test_a_failed_run_has_an_empty_panel(tmp_path: Path, lab) -> None:
    lab.write_tiles(tmp_path)
    files = [lab.write_predictions(tmp_path, "ridge"), lab.write_predictions(tmp_path, "stflow", status="failed")]
    figure = compose(tmp_path, files, [ERBB2])
    assert len(spots_of(figure)) == 2
    assert titles_of(figure)[3] == "STFlow"
    assert "run failed" in [text.get_text() for text in figure.axes[3].texts]


def test_errors_say_what_to_do(tmp_path: Path, three: list[Path]) -> None:
    with pytest.raises(GeneError, match=r"VWF is not among the 2 genes.*under figures"):
        make(tmp_path, three, "demo/s1/VWF/clean")
    with pytest.raises(DataError, match=r"no file predicts s3 of demo \(clean\); they predict s1, s2"):
        make(tmp_path, three, "demo/s3/ERBB2/clean")
    with pytest.raises(DataError, match="write benchmark/slide/gene/protocol"):
        make(tmp_path, three, "s1/ERBB2")
    assert not (tmp_path / "f.pdf").exists()
