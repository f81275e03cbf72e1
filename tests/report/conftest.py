"""A report of a small workflow, made for real but for what takes minutes: slides, features, trainings, predictions."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

from stflow.data.audit import CHECKS
from stflow.data.slide import write_slide
from stflow.io import write_json
from stflow.layout import TILES, Group, Layout

from ..workflow.conftest import Tree

HERE = Path(__file__).parent
SLIDES, GENES = ("s1", "s2", "s3"), ("ERBB2", "GATA3", "FASN")
TARGETS = ("tables_and_figures", "pages")
CONFIG: dict[str, Any] = {
    "benchmarks": {"lab": {"root": "lab", "manifest": "lab.csv"}},
    "encoders": ["classical"],
    "methods": ["mean", "ridge"],
    "protocols": ["paper"],
    "seeds": [0],
    "training": {"device": "cpu"},
    "figures": {"biomarkers": [{"benchmark": "lab", "slide": "s3", "gene": "GATA3"}], "biomarker_protocol": "paper"},
}


@dataclass(frozen=True)
class MadeReport:
    """The tree that the workflow ran in, and the report."""

    root: Path
    html: Path

    @property
    def tables(self) -> Path:
        return self.root / "results" / "tables"


@pytest.fixture(scope="module")
def made_report(tmp_path_factory: pytest.TempPathFactory) -> MadeReport:
    """Run the workflow on stand-ins, and write its report by Snakemake's own option."""
    tree = Tree(tmp_path_factory.mktemp("tree"))
    shutil.copy(tree.root / "stflow" / "cli.py", tree.root / "stflow" / "real_cli.py")
    tree.set_up_lab(SLIDES)
    shutil.copy(HERE / "stand_in_cli.py", tree.root / "stflow" / "cli.py")
    make_stand_ins(Layout(tree.root / "made"))
    (tree.root / "lab.yaml").write_text(yaml.safe_dump(CONFIG))
    ran = tree.snakemake(*TARGETS, "--cores", "2", "--configfile", "lab.yaml")
    assert ran.returncode == 0, ran.stdout
    ran = tree.snakemake(*TARGETS, "--configfile", "lab.yaml", "--report", "report.html")
    assert ran.returncode == 0, ran.stdout
    return MadeReport(tree.root, tree.root / "report.html")


def make_stand_ins(layout: Layout) -> None:
    """What the stages before the scores would have made: three slides, two folds, and one run that failed."""
    x, y = np.meshgrid(np.arange(8), np.arange(5))
    centres = np.stack([x.ravel(), y.ravel()], axis=1) * 200.0 + 300
    n = len(centres)
    rng = np.random.default_rng(0)
    measured = {slide: rng.poisson(3.0, (n, len(GENES))) for slide in SLIDES}
    for slide in SLIDES:
        write_slide(
            layout.slide("lab", slide), name=slide, patient=f"p{slide}", barcodes=[f"b{i}" for i in range(n)],
            centres_px=centres, mpp=0.5, spot_diameter_um=55.0, genes=list(GENES), counts=measured[slide],
        )  # fmt: skip
        path = layout.tiles("lab", slide)
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as handle:
            handle["img"] = np.zeros((n, 4, 4, 3), np.uint8)
            handle["img"].attrs["pixel_size"] = 0.5
            handle["thumbnail"] = rng.integers(140, 230, (60, 80, 3), dtype=np.uint8)
            handle["thumbnail"].attrs["downsample"] = 25.0
        path = layout.features("classical", "lab", slide)
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as handle:
            handle.attrs["weights_sha256"] = "1" * 64
    folds = {str(fold): {check: {"verdict": "pass", "detail": ""} for check in CHECKS} for fold in range(2)}
    folds["0"]["genes"] = {"verdict": "leak", "detail": "chosen on s3"}
    write_json(
        layout.audit("lab", "D", "paper"),
        {"benchmark": "lab", "dataset": "D", "protocol": "paper", "folds": folds, "notes": []},
    )
    for method, encoder in (("mean", TILES), ("ridge", "classical")):
        for fold, tested in enumerate((SLIDES[-1], SLIDES[0])):
            run = Group("lab", "D", encoder, method, "default", "paper").run(fold, 0)
            failed = (method, fold) == ("mean", 1)
            truth = np.log1p(measured[tested]).astype(np.float32)
            guess = truth * 0.5 + rng.normal(size=truth.shape).astype(np.float32) * (method == "ridge")
            adata = anndata.AnnData(
                X=np.full_like(truth, np.nan) if failed else guess if method == "ridge" else truth * 0 + 1,
                obs=pd.DataFrame({"slide": [tested] * n}, index=[f"{tested}_b{i}" for i in range(n)]),
                var=pd.DataFrame(index=list(GENES)),
                layers={"measured": truth},
                obsm={"spatial": centres},
                uns={"stflow": {"schema": 1, "run": str(run), "status": "failed" if failed else "ok",
                                "reason": "out of memory" if failed else "", "n_spots": n, "samples": 1}},
            )  # fmt: skip
            layout.run_dir(run).mkdir(parents=True)
            adata.write_h5ad(layout.predictions(run))
            write_json(
                layout.run_json(run),
                {"status": "failed" if failed else "ok", "reason": "", "method": method, "settings": {}, "seed": 0,
                 "fit": {"epochs": 3}, "device": "cpu", "seconds": 1.5, "peak_memory": {"host_mb": 200.0},
                 "versions": {"python": "3.11"}, "select_by": None, "weights_sha256": None,
                 "inputs_sha256": {tested: "0" * 64}},
            )  # fmt: skip
