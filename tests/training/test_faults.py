"""Whatever the method: a killed training ends with the bytes of a whole one, memory that runs out makes smaller steps
and is recorded, a loss that diverges is a failure with its reason, and so is memory that will never do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pytest
import torch

from stflow.io import read_json
from stflow.layout import TILES, Layout, Run
from stflow.models import METHODS
from stflow.training import fit
from stflow.training.predict import predict_run
from stflow.training.train import CHECKPOINT, train_run

#: Settings with which each method trains in a second; one that is not here has no epochs.
QUICK: Mapping[str, Mapping[str, object]] = {
    "mlp": {"hidden": 16},
    "stnet": {},
    "bleep": {"retrieved": 5},
    "histogene": {"patch_px": 8, "hidden": 16, "layers": 1, "heads": 2, "head_dim": 8},
    "triplex": {"hidden": 16, "local_heads": 2, "whole_heads": 2, "fusion_heads": 2},
    "stflow": {"hidden": 16, "edge_hidden": 8, "layers": 2, "heads": 2, "neighbours": 6, "steps": 2},
}
SIZES: Mapping[str, object] = {"epochs": 5, "regions_per_slide": 2, "batch_spots": 64, "patience": 9}
METHODS_WITH_EPOCHS = [name for name in METHODS.names() if "epochs" in METHODS.get(name).Settings.model_fields]


@pytest.mark.parametrize("name", METHODS_WITH_EPOCHS)
def test_every_method_with_epochs_is_tried(name: str) -> None:
    assert name in QUICK


@pytest.fixture(params=QUICK)
def trial(request: pytest.FixtureRequest, results: Path, manifest: Path) -> Trial:
    return Trial(request.param, results, manifest)


class Trial:
    """One method on the made results folder."""

    def __init__(self, method: str, results: Path, manifest: Path) -> None:
        self.method, self.results, self.manifest = method, results, manifest
        cls = METHODS.get(method)
        known = cls.Settings.model_fields
        self.settings = {**{key: value for key, value in SIZES.items() if key in known}, **QUICK[method]}
        own = cls.own_encoders(cls.Settings.model_validate(self.settings))
        self.encoder = TILES if own == (TILES,) else "enc"
        self.run = f"made/T/{self.encoder}/{method}/default/clean/fold0/seed0"
        self.layout = Layout(results)

    def train(self, **settings: object) -> dict[str, Any]:
        """Train, or go on; gives run.json."""
        train_run(self.results, self.run, self.manifest, json.dumps({**self.settings, **settings}), device="cpu")
        return read_json(self.layout.run_json(self.run))

    def predict(self) -> anndata.AnnData:
        predict_run(self.results, self.run, self.manifest, device="cpu")
        return anndata.read_h5ad(self.layout.predictions(self.run))

    def outputs(self) -> list[bytes]:
        return [self.layout.model(self.run).read_bytes(), self.layout.history(self.run).read_bytes()]


@pytest.fixture(autouse=True)
def tiles(made: Path) -> None:
    """Tiles of the made slides, whose colours follow the first genes."""
    layout = Layout(made)
    for path in sorted((made / "slides" / "made").glob("*.h5ad")):
        target = layout.tiles("made", path.stem)
        if target.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        slide = anndata.read_h5ad(path)
        colour = 40 + 60 * np.minimum(np.log1p(slide.X[:, :3].toarray()), 3)
        with h5py.File(target, "w") as handle:
            handle["img"] = np.broadcast_to(colour[:, None, None], (len(colour), 32, 32, 3)).astype(np.uint8)
            handle["barcode"] = [[name] for name in slide.obs_names]


KILL = """
import os, signal, sys
from pathlib import Path
from stflow.training import fit
from stflow.training.train import train_run

fit.CHECKPOINT_EVERY_S = 0.0
plain, calls = fit.FlatAdam.step, []

def step(self):
    calls.append(1)
    if len(calls) == {calls}:
        os.kill(os.getpid(), signal.SIGKILL)
    plain(self)

fit.FlatAdam.step = step
train_run(Path({results!r}), {run!r}, Path({manifest!r}), {settings!r}, device="cpu")
"""


def test_sigkill(trial: Trial, capsys: pytest.CaptureFixture[str]) -> None:
    record = trial.train()
    assert record["status"] == "ok"
    whole = trial.outputs()
    (trial.results / "runs").rename(trial.results / "runs-whole")
    steps_an_epoch = record["fit"]["steps"] // record["fit"]["epochs"]
    code = KILL.format(
        results=str(trial.results), run=trial.run, manifest=str(trial.manifest), settings=json.dumps(trial.settings),
        calls=2 * steps_an_epoch + steps_an_epoch // 2 + 1,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert (trial.layout.run_dir(trial.run) / CHECKPOINT).exists()
    assert not trial.layout.model(trial.run).exists()
    capsys.readouterr()
    trial.train()
    assert "resumes after epoch 2 of 5" in capsys.readouterr().err
    assert trial.outputs() == whole


def spots_of(batch: Any) -> int:
    """Spots of a training step, whatever its batch is."""
    if isinstance(batch, torch.Tensor):
        return len(batch)
    return sum(len(expression) for _, expression in batch) if isinstance(batch, list) else len(batch.x_1)


def starve(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Let every step with more than ``most`` spots run out of memory; gives the sizes of those that did not."""
    sizes: list[int] = []
    plain = fit._Training.__init__

    def init(self: Any, module: Any, problem: Any, *rest: Any) -> None:
        loss = problem.loss

        def starved(batch: Any) -> torch.Tensor:
            if spots_of(batch) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
            sizes.append(spots_of(batch))
            return loss(batch)

        problem.loss = starved
        plain(self, module, problem, *rest)

    monkeypatch.setattr(fit._Training, "__init__", init)
    for module in ("stflow.models.network.regions", "stflow.models.network.spots", "stflow.models.stflow.regions"):
        monkeypatch.setattr(f"{module}.FEWEST_SPOTS", 8)
    return sizes


def test_memory_runs_out_and_the_training_goes_on_with_less(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = starve(monkeypatch, 20)
    record = trial.train()
    assert record["status"] == "ok", record["reason"]
    assert record["fit"]["out_of_memory"] == 2, "64 spots, 32, 16"
    assert record["fit"]["spots_limit"] == 16
    assert sizes
    assert max(sizes) <= 20
    assert np.isfinite(trial.predict().X).all()


def test_memory_never_does_and_that_is_a_recorded_failure(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    starve(monkeypatch, 0)
    record = trial.train()
    assert record["status"] == "failed"
    assert "out of memory with 8 spots in a" in record["reason"]
    found = trial.predict()
    assert found.uns["stflow"]["status"] == "failed"
    assert "out of memory" in found.uns["stflow"]["reason"]
    assert np.isnan(found.X).all()


def test_a_loss_that_diverges_is_a_recorded_failure(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fit.FlatAdam.step

    def explode(self: Any) -> None:
        plain(self)
        self.values.fill_(float("inf"))

    monkeypatch.setattr(fit.FlatAdam, "step", explode)
    record = trial.train()
    assert record["status"] == "failed"
    assert any(words in record["reason"] for words in ("the loss became nan in epoch", "training diverged"))
    assert "Lower learning_rate" in record["reason"]
    assert Run.parse(trial.run) == Run.parse(trial.predict().uns["stflow"]["run"])
