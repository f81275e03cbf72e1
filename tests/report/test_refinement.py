"""Figure 6: the measured map, then a guess a step, on one scale."""

from __future__ import annotations

from pathlib import Path

import h5py
import matplotlib
import numpy as np
import pytest
from matplotlib.collections import EllipseCollection

from stflow.errors import DataError
from stflow.layout import Layout
from stflow.report.refinement import compose, make_refinement

RUN = "demo/IDC/uni/stflow/default/paper/fold0/seed0"
N, STEPS = 36, 3


@pytest.fixture
def refined(tmp_path: Path) -> Path:
    """A results folder with tiles and a refinement whose guesses come nearer to what was measured."""
    rng = np.random.default_rng(0)
    measured = rng.gamma(2.0, 1.0, (N, 2)).astype(np.float32)
    noise = np.array([2.0, 1.0, 0.1])[:, None, None]
    x, y = np.meshgrid(np.arange(6), np.arange(6))
    path = Layout(tmp_path).refinement(RUN, "s1")
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as handle:
        handle["guesses"] = (measured + 3.0 + noise * rng.normal(size=(STEPS, N, 2))).astype(np.float32)
        handle["times"] = [0.0, 1 / 3, 2 / 3]
        handle["measured"] = measured
        handle["centres"] = np.stack([x.ravel(), y.ravel()], axis=1) * 200.0
        handle["genes"] = ["UBE2C", "VWF"]
        handle.attrs.update(schema=1, run=RUN, slide="s1", n_spots=N, status="ok", reason="")
    tiles = Layout(tmp_path).tiles("demo", "s1")
    tiles.parent.mkdir(parents=True)
    with h5py.File(tiles, "w") as handle:
        handle["img"] = np.zeros((1, 2, 2, 3), np.uint8)
        handle["img"].attrs["pixel_size"] = 0.5
    return path


@pytest.mark.parametrize("width", ["double", "single"])
def test_every_step_stands_beside_the_measured_with_its_r(tmp_path: Path, refined: Path, width: str) -> None:
    figure = compose(tmp_path, [refined], ["demo/s1/VWF/paper", "demo/s1/UBE2C/paper"], width=width)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    titles = [title for title in titles if title]
    labels = [title.split("\n")[0] for title in titles]
    assert labels == ["Measured", "Step 1, $t$ = 0", "Step 2, $t$ = 0.333", "Step 3, $t$ = 0.667"] * 2
    with h5py.File(refined) as handle:
        r = np.corrcoef(handle["measured"][:, 1], handle["guesses"][1, :, 1])[0, 1]
    assert titles[2] == f"Step 2, $t$ = 0.333\n$r$ = {r:.3f}"
    panels = [item for axes in figure.axes for item in axes.collections if isinstance(item, EllipseCollection)]
    assert len(panels) == 2 * (1 + STEPS)
    assert [text.get_text() for text in figure.texts if "µm" in text.get_text()] == ["100 µm"], "once a slide"


def test_same_files_same_bytes_and_text_is_text(tmp_path: Path, refined: Path) -> None:
    def made() -> tuple[bytes, bytes]:
        pdf, png = tmp_path / "f.pdf", tmp_path / "f.png"
        with matplotlib.rc_context({"pdf.compression": 0}):
            make_refinement(tmp_path, [refined], ["demo/s1/VWF/paper"], pdf, png)
        return pdf.read_bytes(), png.read_bytes()

    first = made()
    assert b"/Type3" not in first[0]
    assert made() == first


def test_a_failed_run_is_told_on_the_page(tmp_path: Path, refined: Path) -> None:
    with h5py.File(refined, "r+") as handle:
        del handle["guesses"]
        handle["guesses"] = np.empty((0, N, 2), np.float32)
        handle.attrs["status"] = "failed"
    figure = compose(tmp_path, [refined], ["demo/s1/VWF/paper"])
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["run failed"]


@pytest.mark.parametrize("place", ["demo/s1/GATA3/paper", "demo/s1/VWF/clean", "demo/s2/VWF/paper"])
def test_a_map_that_no_file_holds_is_told(tmp_path: Path, refined: Path, place: str) -> None:
    with pytest.raises(DataError, match=r"no file holds the refinement.*Run `stflow refine`"):
        compose(tmp_path, [refined], [place])
