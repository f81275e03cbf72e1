"""A training that was killed ends with the bytes of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stflow.layout import Layout
from stflow.training import fit
from stflow.training.train import CHECKPOINT, train_run

KILL = """
import os, signal, sys
from pathlib import Path
from stflow.models.stflow.regions import Regions
from stflow.training import fit
from stflow.training.train import train_run

fit.CHECKPOINT_EVERY_S = 0.0
plain, calls = Regions.loss, []

def loss(self, batch):
    calls.append(1)
    if len(calls) == {calls}:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, batch)

Regions.loss = loss
train_run(Path({results!r}), {run!r}, Path({manifest!r}), {settings!r}, threads=1, device="cpu")
"""


class Interrupted(Exception):
    """Stands for anything that ends a training early."""


def outputs(results: Path, run: str) -> list[bytes]:
    layout = Layout(results)
    return [layout.model(run).read_bytes(), layout.history(run).read_bytes()]


@pytest.fixture
def go(results: Path, manifest: Path, run_name: Callable[..., str], tiny: str) -> Callable[[], list[bytes]]:
    """Train (or go on with) the run; gives its model and history."""

    def train() -> list[bytes]:
        train_run(results, run_name(), manifest, tiny, threads=1, device="cpu")
        return outputs(results, run_name())

    return train


@pytest.fixture
def whole(go: Callable[[], list[bytes]], results: Path) -> list[bytes]:
    """Model and history of an uninterrupted training, whose files are then moved away."""
    made = go()
    (results / "runs").rename(results / "runs-uninterrupted")
    return made


def test_sigkill_in_the_middle_of_an_epoch(
    whole: list[bytes], go: Callable[[], list[bytes]], results: Path, manifest: Path, run_name: Callable[..., str],
    tiny: str, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = run_name()
    code = KILL.format(results=str(results), run=run, manifest=str(manifest), settings=tiny, calls=6)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    layout = Layout(results)
    assert (layout.run_dir(run) / CHECKPOINT).exists()
    assert not layout.model(run).exists()
    capsys.readouterr()
    assert go() == whole
    assert "resumes after epoch" in capsys.readouterr().err
    assert not (layout.run_dir(run) / CHECKPOINT).exists()


@pytest.mark.parametrize("epochs_done", [1, 5])
def test_interrupted_after_an_epoch(
    epochs_done: int, whole: list[bytes], go: Callable[[], list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fit.save_checkpoint

    def save_and_stop(path: Path, fingerprint: str, tensors: dict, state: dict) -> None:
        plain(path, fingerprint, tensors, state)
        if state["epoch"] == epochs_done:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(fit, "CHECKPOINT_EVERY_S", 0.0)
        patch.setattr(fit, "save_checkpoint", save_and_stop)
        with pytest.raises(Interrupted):
            go()
    assert go() == whole


def test_a_broken_checkpoint_is_dropped_and_training_starts_anew(
    whole: list[bytes], go: Callable[[], list[bytes]], results: Path, run_name: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = Layout(results).run_dir(run_name()) / CHECKPOINT
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a checkpo")
    assert go() == whole
    assert "is not used: it cannot be read" in capsys.readouterr().err


def test_a_checkpoint_of_other_settings_is_not_used(
    whole: list[bytes], go: Callable[[], list[bytes]], results: Path, manifest: Path, run_name: Callable[..., str],
    tiny: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    plain = fit.save_checkpoint

    def save_and_stop(*arguments: object) -> None:
        plain(*arguments)  # type: ignore[arg-type]
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(fit, "CHECKPOINT_EVERY_S", 0.0)
        patch.setattr(fit, "save_checkpoint", save_and_stop)
        with pytest.raises(Interrupted):
            train_run(results, run_name(), manifest, tiny.replace("0.002", "0.003"), threads=1, device="cpu")
    assert go() == whole
    assert "is of other settings, data, seed or code" in capsys.readouterr().err
