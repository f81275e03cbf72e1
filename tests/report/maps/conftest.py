"""Predictions, tiles and refinements of one small slide, in a results folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from stflow.layout import Group, Layout

MPP, N = 0.5, 49
GENES = ("ERBB2", "HLA-A")


def centres() -> np.ndarray:
    x, y = np.meshgrid(np.arange(7), np.arange(7))
    return np.stack([x.ravel(), y.ravel()], axis=1) * 200.0 + 300  # 100 um apart


def write_predictions(
    results: Path, method: str, *, level: float = 0.0, status: str = "ok", benchmark: str = "demo",
    protocol: str = "clean", encoder: str = "classical", slides: tuple[str, str] = ("s1", "s2"),
    genes: tuple[str, str] = GENES,
) -> Path:  # fmt: skip
    """Predictions of two slides of N spots, half of what was measured with a little noise."""
    rng = np.random.default_rng(len(method))
    measured = np.log1p(np.random.default_rng(0).poisson(3.0, (2 * N, 2))).astype(np.float32)
    name, _, variant = method.partition("/")
    run = Group(benchmark, "IDC", encoder, name, variant or "default", protocol).run(0, 0)
    adata = anndata.AnnData(
        X=(0.5 * measured + level + 0.1 * rng.normal(size=measured.shape)).astype(np.float32),
        obs=pd.DataFrame({"slide": [slides[0]] * N + [slides[1]] * N}, index=[str(i) for i in range(2 * N)]),
        var=pd.DataFrame(index=list(genes)),
        layers={"measured": measured},
        obsm={"spatial": np.concatenate([centres(), centres() + 9999])},
        uns={"stflow": {"schema": 1, "run": str(run), "status": status, "reason": "", "n_spots": 2 * N}},
    )
    path = Layout(results).predictions(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    adata.write_h5ad(path)
    return path


def write_tiles(
    results: Path, slide: str = "s1", *, benchmark: str = "demo", thumbnail: bool = True, mpp: bool = True
) -> Path:
    """A tiles file with a picture of the tissue."""
    path = Layout(results).tiles(benchmark, slide)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as handle:
        handle["img"] = np.zeros((1, 2, 2, 3), np.uint8)
        if mpp:
            handle["img"].attrs["pixel_size"] = MPP
        if thumbnail:
            handle["thumbnail"] = np.random.default_rng(0).integers(100, 255, (60, 60, 3), dtype=np.uint8)
            handle["thumbnail"].attrs["downsample"] = 32.0
    return path


@pytest.fixture
def lab() -> SimpleNamespace:
    """The writers, and what they write."""
    return SimpleNamespace(
        write_predictions=write_predictions, write_tiles=write_tiles, centres=centres, MPP=MPP, N=N, GENES=GENES
    )


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Predictions of three methods, and the tiles of both slides."""
    for slide in ("s1", "s2"):
        write_tiles(tmp_path, slide)
    return [write_predictions(tmp_path, method) for method in ("ridge", "stflow", "my_method")]


def drawn_texts(axes) -> list:
    """Titles, notes, the colour bar's name and numbers: all but labels of ticks that lie outside of the scale."""
    from matplotlib.text import Text

    low, high = sorted(axes.get_ylim())
    ticks = set(axes.get_xticklabels()) | set(axes.get_yticklabels())
    shown = {label for label in axes.get_yticklabels() if low <= label.get_position()[1] <= high}
    texts = [text for text in axes.findobj(Text) if text.get_text() and text.get_visible()]
    return [text for text in texts if text in shown or text not in ticks]


@pytest.fixture
def texts_on_page() -> Callable[..., None]:
    """Assert that every text of a figure is at least 5.5 pt, lies on the page, and meets no other title."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    def check(figure) -> None:
        FigureCanvasAgg(figure).draw()
        texts = [text for text in figure.texts if text.get_text()]
        for axes in figure.axes:
            texts += drawn_texts(axes)
        assert min(text.get_fontsize() for text in texts) >= 5.5
        boxes = []
        for text in texts:
            box = text.get_window_extent()
            assert box.x0 >= figure.bbox.x0 - 1, text.get_text()
            assert box.x1 <= figure.bbox.x1 + 1, text.get_text()
            assert box.y0 >= figure.bbox.y0 - 1, text.get_text()
            assert box.y1 <= figure.bbox.y1 + 1, text.get_text()
            boxes.append((text.get_text(), box))
        for place, (text, box) in enumerate(boxes):
            for other, its in boxes[place + 1 :]:
                assert not box.overlaps(its), (text, other)

    return check
