"""What is timed is what it says: the whole slide, or one step on all of its spots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stflow.efficiency.memory import forget_peak, held_mb
from stflow.efficiency.slide import made_slide
from stflow.efficiency.worker import default_settings, prepared
from stflow.layout import TILES
from stflow.models import METHODS

N = 60


@pytest.mark.parametrize("method", ["stflow", "stflow/wo_fm", "mean"])
def test_a_prediction_is_of_every_spot_and_gene(tmp_path: Path, method: str) -> None:
    found = prepared(method, "predict", N, 8, 3, "cpu", tmp_path)()
    assert isinstance(found, np.ndarray)
    assert found.shape == (N, 3)
    assert np.isfinite(found).all()


def test_a_step_of_training_runs_over_all_spots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stflow.models.stflow.regions import Regions

    seen = []
    loss = Regions.loss
    monkeypatch.setattr(Regions, "loss", lambda self, batch: seen.append(len(batch.x_1)) or loss(self, batch))
    step = prepared("stflow", "train", N, 8, 3, "cpu", tmp_path)
    seen.clear()
    step()
    assert seen == [N]


def test_settings_are_the_defaults_and_a_variant_s() -> None:
    cls = METHODS.get("stflow")
    assert default_settings(cls, "", epochs=1, no_such_setting=1) == cls.Settings(epochs=1)
    assert default_settings(cls, "wo_fm").steps == 1  # type: ignore[attr-defined]


def test_a_made_slide_is_a_grid_of_neighbours(tmp_path: Path) -> None:
    slide = made_slide(50, "random", 16, 5, tmp_path, tiles=False)
    assert (len(slide), slide.features["random"].shape, len(slide.genes)) == (50, (50, 16), 5)
    distances = np.linalg.norm(slide.centres_um[:, None] - slide.centres_um[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_allclose(distances.min(axis=1), 100.0)
    tiled = made_slide(4, TILES, 16, 5, tmp_path, tiles=True)
    assert (tiled.features, tiled.tiles is None) == ({}, False)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the system does not tell what a process holds")
def test_the_peak_is_what_came_after_it_was_forgotten() -> None:
    np.ones(30_000_000)
    forget_peak("cpu")
    before = held_mb("cpu", peak=False)
    kept = np.ones(10_000_000)
    grown = held_mb("cpu", peak=True) - before
    assert grown > 0.8 * kept.nbytes / 1e6
