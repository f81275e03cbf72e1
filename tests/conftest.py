"""A slide small enough for every test: tissue on glass, spots on and off it, in HEST-1k's layout; a small encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy import sparse

from stflow.encoders import ENCODERS
from stflow.encoders.base import Encoder


@dataclass(frozen=True)
class MadeSlide:
    """Where a made slide is, and what is true of it."""

    root: Path
    name: str
    image: np.ndarray
    mpp: float
    barcodes: list[str]
    centres_px: np.ndarray
    genes: list[str]
    counts: np.ndarray

    @property
    def image_path(self) -> Path:
        return self.root / "wsis" / f"{self.name}.tif"

    @property
    def counts_path(self) -> Path:
        return self.root / "st" / f"{self.name}.h5ad"

    @property
    def slide_file(self) -> Path:
        return self.root / f"{self.name}.slide.h5ad"


#: Side of the made slide, radius of its disc of tissue, um.
SIZE_UM, RADIUS_UM = 600.0, 200.0


@cache
def paint(mpp: float, seed: int) -> np.ndarray:
    """(H, W, 3) uint8: a disc of tissue with nuclei at random, in the middle of pale glass."""
    rng = np.random.default_rng(seed)
    side = round(SIZE_UM / mpp)
    y, x = np.mgrid[:side, :side] * mpp
    image = np.full((side, side, 3), (243, 240, 244), dtype=np.float64)
    disc = np.hypot(x - SIZE_UM / 2, y - SIZE_UM / 2) < RADIUS_UM
    image[disc] = (226, 170, 205)
    for cx, cy, radius in zip(*rng.uniform(100, SIZE_UM - 100, (2, 400)), rng.uniform(3, 6, 400), strict=True):
        x0, x1, y0, y1 = (round(v / mpp) for v in (cx - 7, cx + 7, cy - 7, cy + 7))
        box = (slice(max(0, y0), y1), slice(max(0, x0), x1))
        nucleus = (np.hypot(x[box] - cx, y[box] - cy) < radius) & disc[box]
        image[box][nucleus] = (80, 50, 130)
    return np.clip(image + rng.normal(0, 1.5, image.shape), 0, 255).astype(np.uint8)


def write_h5ad(path: Path, counts: object, barcodes: list[str], genes: list[str], centres: np.ndarray | None) -> None:
    """A HEST-like AnnData file."""
    import anndata
    import pandas as pd

    path.parent.mkdir(parents=True, exist_ok=True)
    obsm = {} if centres is None else {"spatial": centres}
    anndata.AnnData(X=counts, obs=pd.DataFrame(index=barcodes), var=pd.DataFrame(index=genes), obsm=obsm).write_h5ad(
        path
    )


@pytest.fixture
def make_slide(tmp_path: Path) -> Callable[..., MadeSlide]:
    """A factory: ``make_slide(name=..., mpp=...)`` writes image, counts and slide file below ``tmp_path``."""

    def make(name: str = "S1", mpp: float = 0.5, seed: int = 0) -> MadeSlide:
        from stflow.data.slide import write_slide
        from stflow.wsi.pyramid import write_pyramid

        image = paint(mpp=mpp, seed=seed)
        rows, columns = np.mgrid[0:7, 0:7]
        centres_um = np.column_stack([columns.ravel(), rows.ravel()]) * 100.0 + 0.25
        barcodes = [f"{column}x{row}" for column, row in zip(columns.ravel(), rows.ravel(), strict=True)]
        genes = [f"G{index:02d}" for index in range(20)]
        counts = np.random.default_rng(seed + 1).poisson(2.0, (49, 20)).astype(np.float32)
        made = MadeSlide(tmp_path, name, image, mpp, barcodes, centres_um / mpp, genes, counts)
        write_pyramid(made.image_path, image, mpp)
        write_h5ad(made.counts_path, sparse.csr_matrix(counts), barcodes, genes, made.centres_px)
        write_slide(
            made.slide_file, name=name, patient="P1", barcodes=barcodes, centres_px=made.centres_px, mpp=mpp,
            spot_diameter_um=55, genes=genes, counts=counts,
        )  # fmt: skip
        return made

    return make


@pytest.fixture
def full_disk() -> Callable[[str, int], str]:
    """``full_disk(code, limit)`` runs Python code where no file may grow beyond ``limit`` bytes; returns its output.

    A limit on the file size is what a full disk is to a writer, and needs neither root nor a disk of its own.
    """
    import subprocess
    import sys

    before = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, resource.RLIM_INFINITY))\n"
    )

    def run(code: str, limit: int) -> str:
        script = f"{before.format(limit)}try:\n{_indented(code)}except Exception as error:\n"
        script += "    print(type(error).__name__, error)\n"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


def _indented(code: str) -> str:
    import textwrap

    return textwrap.indent(textwrap.dedent(code).strip() + "\n", "    ")


class Corners(Encoder):
    """Ten numbers that a turn or a mirroring of the tile changes; it counts its batches."""

    name: ClassVar[str] = "corners"
    dim = 10
    transform = "none"
    licence: ClassVar[str] = "MIT"
    uses_torch: ClassVar[bool] = False
    sizes: ClassVar[list[int]] = []

    @property
    def weights_sha256(self) -> str:
        return "0" * 64

    def encode(self, tiles: Any) -> np.ndarray:
        type(self).sizes.append(len(tiles))
        values = np.asarray(tiles).reshape(len(tiles), -1)[:, : self.dim * 31 : 31].astype(np.float32)
        return values * np.float32(1 / 3)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Encoder]], type[Encoder]]:
    """Make an encoder known by its name for the length of a test."""

    def add(kind: type[Encoder]) -> type[Encoder]:
        monkeypatch.setitem(ENCODERS._added, kind.name, kind)
        return kind

    return add


@pytest.fixture
def corners(register: Callable[[type[Encoder]], type[Encoder]]) -> type[Corners]:
    Corners.sizes.clear()
    register(Corners)
    return Corners


@pytest.fixture
def made_metrics() -> Callable[..., Any]:
    """``made_metrics(r)`` makes long metrics, with moments, of a method whose r on every slide is known.

    ``r`` (folds, seeds, slides, genes): each slide has as many spots and the same mean and variance, so pooled r is the
    mean over a fold's slides. NaN stands for a gene that was measured constant. Slides are ``f<fold>s<number>``, or
    those of ``slides``, a list a fold; genes ``G<number>``, or those of ``genes``, likewise.
    """
    import pandas as pd

    from stflow.evaluation.evaluate import COLUMNS, POOLED

    def make(
        r: np.ndarray, *, method: str = "stflow", dataset: str = "IDC", protocol: str = "clean",
        benchmark: str = "demo", encoder: str = "classical", variant: str = "default",
        slides: list[list[str]] | None = None, genes: list[list[str]] | None = None,
        failed: tuple[tuple[int, int], ...] = (), folds: list[int] | None = None, moments: bool = True,
    ) -> pd.DataFrame:  # fmt: skip
        rows: list[dict[str, Any]] = []
        for (f, seed), values in ((key, r[key]) for key in np.ndindex(*r.shape[:2])):
            bad = (f, seed) in failed
            fold = {
                "benchmark": benchmark, "dataset": dataset, "encoder": encoder, "method": method, "variant": variant,
                "protocol": protocol, "fold": f if folds is None else folds[f], "seed": seed, "n_spots": 100,
                "status": "failed" if bad else "ok", "reason": "out of memory" if bad else "",
            }  # fmt: skip
            here = [f"f{f}s{s}" for s in range(r.shape[2])] if slides is None else slides[f]
            names = [f"G{g}" for g in range(r.shape[3])] if genes is None else genes[f]
            for g, gene in enumerate(names):
                flat = np.isnan(values[:, g]).any()
                pooled = np.nan if bad or flat else values[:, g].mean()
                rows.append({**fold, "slide": POOLED, "gene": gene, "metric": "pearson", "value": pooled})
                for s, slide in enumerate(here if moments else []):
                    own = {
                        "mean_measured": 0.0, "mean_predicted": 0.0, "var_measured": 0.0 if flat else 1.0,
                        "var_predicted": 1.0, "cov": 0.0 if flat else values[s, g],
                    }  # fmt: skip
                    rows += [
                        {**fold, "slide": slide, "gene": gene, "metric": name, "value": np.nan if bad else value}
                        for name, value in own.items()
                    ]
        return pd.DataFrame(rows)[list(COLUMNS)]

    return make
