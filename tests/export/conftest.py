"""A results folder with one run that predicts two slides, whose tissue fills one corner of the picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from stflow.data.slide import write_slide
from stflow.io import write_json
from stflow.layout import Group, Layout

GENES = ("ERBB2", "HLA-A", "FLAT")
MPP, SPOT_UM, DOWNSAMPLE = 0.5, 55.0, 8.0
#: Side of the slide, level-0 px; its tissue is the upper left part, (x, y) below these.
SIDE, TISSUE_X, TISSUE_Y = 2400, 1600, 800


def centres() -> np.ndarray:
    """(N, 2) centres on the tissue alone, x then y: a wide, low grid, which no turn maps onto itself."""
    x, y = np.meshgrid(np.arange(150, TISSUE_X, 200), np.arange(150, TISSUE_Y, 200))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)


def picture() -> np.ndarray:
    """(h, w, 3) uint8: pale glass, and tissue in the upper left."""
    side = int(SIDE / DOWNSAMPLE)
    pixels = np.full((side, side, 3), 245, np.uint8)
    pixels[: int(TISSUE_Y / DOWNSAMPLE), : int(TISSUE_X / DOWNSAMPLE)] = (190, 110, 160)
    return pixels


def on_tissue(pixels: np.ndarray) -> np.ndarray:
    """(...,) bool of (..., 3) pixels of `picture`."""
    return np.asarray(pixels)[..., 1] < 200


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def make_run(results: Path) -> Callable[..., str]:
    """``make_run(samples=..., status=..., picture=...)`` writes a run of two slides; returns its name."""

    def make(*, samples: int = 1, status: str = "ok", thumbnail: bool = True, ready: bool = False) -> str:
        layout, n = Layout(results), len(centres())
        run = Group("lab", "D", "classical", "stflow", "default", "clean").run(1, 0)
        rng = np.random.default_rng(0)
        measured = np.log1p(rng.poisson(3.0, (2 * n, len(GENES)))).astype(np.float32)
        measured[:, 2] = 0.0
        names = ["s1"] * n + ["s2"] * n
        barcodes = [f"AAAC-{i}" for i in range(n)] * 2
        layers = {"measured": measured}
        facts = {"schema": 1, "run": str(run), "trained_as": "default", "status": status, "reason": "diverged",
                 "n_spots": 2 * n, "samples": samples}  # fmt: skip
        if samples > 1:
            layers |= {name: np.full_like(measured, value) for name, value in
                       {"std": 0.25, "lower": 0.0, "upper": 2.0, "crps": 0.1}.items()}  # fmt: skip
            facts |= {"interval": 0.9}
        adata = anndata.AnnData(
            X=(0.5 * measured + 0.2 * rng.normal(size=measured.shape)).astype(np.float32),
            obs=pd.DataFrame({"slide": names, "patient": "P1", "barcode": barcodes},
                             index=[f"{s}_{b}" for s, b in zip(names, barcodes, strict=True)]),
            var=pd.DataFrame(index=list(GENES)),
            layers=layers,
            obsm={"spatial": np.concatenate([centres(), centres() + 7])},
            uns={"stflow": facts},
        )  # fmt: skip
        path = layout.predictions(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        adata.write_h5ad(path)
        record = {"method": "stflow", "settings": {"hidden": 8}, "seed": 0, "versions": {"python": "3.11"}}
        write_json(layout.run_json(run), record)
        for slide in ("s1", "s2"):
            write_slide(
                layout.slide("lab", slide), name=slide, patient="P1", barcodes=[f"b{i}" for i in range(n)],
                centres_px=centres(), mpp=MPP, spot_diameter_um=SPOT_UM, genes=["A"], counts=np.ones((n, 1)),
            )  # fmt: skip
            _write_tiles(layout.tiles("lab", slide), thumbnail=thumbnail, ready=ready)
        return str(run)

    return make


def _write_tiles(path: Path, *, thumbnail: bool, ready: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as handle:
        if thumbnail:
            handle["thumbnail"] = picture()
            handle["thumbnail"].attrs["downsample"] = DOWNSAMPLE
        if ready:  # 200 px squares around the spots, all of tissue
            n = len(centres())
            handle["img"] = np.broadcast_to(np.uint8([190, 110, 160]), (n, 20, 20, 3))
            handle["coords"] = (centres() - 100).astype(np.int64)
            handle["img"].attrs["patch_size_src"] = 200
