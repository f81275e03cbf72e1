"""Made slides in a results folder, and encoders that are quick, slow, asymmetric or too large."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stflow.embedding.extract import make_features
from stflow.embedding.features import Features, read_features
from stflow.layout import Layout

BENCHMARK = "B"


@dataclass(frozen=True)
class Bench:
    """A results folder with slide files and tiles files, and the stage that is tested."""

    results: Path

    @property
    def layout(self) -> Layout:
        return Layout(self.results)

    def slide_file(self, slide: str = "S1") -> Path:
        return self.layout.slide(BENCHMARK, slide)

    def tiles(self, slide: str = "S1") -> Path:
        return self.layout.tiles(BENCHMARK, slide)

    def out(self, slide: str = "S1", encoder: str = "classical") -> Path:
        return self.layout.features(encoder, BENCHMARK, slide)

    def kept(self, slide: str = "S1", encoder: str = "classical", suffix: str = "h5") -> Path:
        return self.out(slide, encoder).parent / ".kept" / f"{slide}.{suffix}"

    def embed(self, *slides: str, encoder: str = "classical", **options: Any) -> Path:
        """Run the stage; gives the features file of the first slide."""
        settings: dict[str, Any] = {
            "weights": None, "code": "c0de", "batch_size": 7, "precision": "fp32", "threads": 1, "workers": 0,
            "device": "cpu",
        }  # fmt: skip
        slides = slides or ("S1",)
        make_features(self.results, BENCHMARK, slides, encoder, **{**settings, **options})
        return self.out(slides[0], encoder)

    def features(self, slide: str = "S1", encoder: str = "classical") -> Features:
        return read_features(self.out(slide, encoder))


def put_slide(results: Path, made: Any) -> None:
    """Cut a made slide's tiles, and lay them and its slide file out below a results folder."""
    from stflow.wsi.tiles import make_tiles

    layout = Layout(results)
    slide_file = layout.slide(BENCHMARK, made.name)
    slide_file.parent.mkdir(parents=True, exist_ok=True)
    slide_file.write_bytes(made.slide_file.read_bytes())
    make_tiles(
        "hest", made.root, "D", made.name, slide_file, layout.tiles(BENCHMARK, made.name), tile_um=112.0, tile_px=224,
        min_tissue=0.15,
    )  # fmt: skip


@pytest.fixture
def bench(make_slide: Callable[..., Any], tmp_path: Path) -> Bench:
    """One slide, S1, of some 20 tiles."""
    put_slide(tmp_path / "results", make_slide())
    return Bench(tmp_path / "results")


@pytest.fixture
def three(bench: Bench, make_slide: Callable[..., Any]) -> Bench:
    """Three slides: S1, S2, S3."""
    for seed, name in enumerate(("S2", "S3"), 1):
        put_slide(bench.results, make_slide(name=name, seed=seed))
    return bench
