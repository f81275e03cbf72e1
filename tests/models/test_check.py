"""Every registered method passes the checks, and the checks find what they are for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from stflow.cli import main
from stflow.data.slide import Slide
from stflow.device import set_threads
from stflow.models import METHODS
from stflow.models.base import Fit, Method, SettingsBase
from stflow.models.check import CHECKS, check_method

#: Settings that a method is checked with where its defaults will not do.
SETTINGS: Mapping[str, Mapping[str, object]] = {
    # A spot's noise comes from its place in the slide, so that only without noise the order of spots does not matter.
    "stflow": {"prior": "zero"},
    # A small network is checked as well as a large one.
    "histogene": {"patch_px": 8, "hidden": 16, "heads": 2},
    "triplex": {"hidden": 32, "fusion_heads": 4, "whole_heads": 4, "local_heads": 4},
}


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    """Same seed, same bits is promised for any number of threads; with one, sums have but one order."""
    before = torch.get_num_threads()
    set_threads(2)
    yield
    set_threads(before)


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_passes(name: str) -> None:
    outcomes = check_method(name, SETTINGS.get(name))
    assert [outcome.check for outcome in outcomes] == list(CHECKS)
    assert [f"{outcome.check}: {outcome.problem}" for outcome in outcomes if outcome.problem] == []


class Sound(Method):
    """The training mean: passes everything."""

    name = "sound"

    class Settings(SettingsBase):
        epochs: int = 100

    stochastic = False

    def fit(
        self, train: Sequence[Slide], select: Sequence[Slide], *, seed: int, checkpoint: Path | None = None,
        device: str = "cpu",
    ) -> Fit:  # fmt: skip
        self.mean = np.concatenate([slide.expression(self.task.genes) for slide in train]).mean(axis=0)
        return Fit()

    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        return np.tile(self.mean, (len(slide), 1))

    def state(self) -> Mapping[str, np.ndarray]:
        return {"mean": self.mean}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.mean = state["mean"]


class Doubles(Sound):
    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        return super().predict(slide, seed=seed).astype(np.float64)


class Forgetful(Sound):
    def fit(self, train: Sequence[Slide], select: Sequence[Slide], **how: object) -> Fit:
        self.shift = 1.0
        return super().fit(train, select, **how)

    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        return super().predict(slide, seed=seed) + np.float32(getattr(self, "shift", 0.0))


class Peeking(Sound):
    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        return super().predict(slide, seed=seed) + 1e-3 * slide.expression(self.task.genes)


class Counting(Sound):
    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        found = super().predict(slide, seed=seed)
        return found + np.arange(len(found), dtype=np.float32)[:, None]


class Unseeded(Sound):
    def fit(self, train: Sequence[Slide], select: Sequence[Slide], **how: object) -> Fit:
        fit = super().fit(train, select, **how)
        self.mean = self.mean + np.random.default_rng().normal(size=self.mean.shape).astype(np.float32) * 1e-3
        return fit


class Alone(Sound):
    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        return super().predict(slide, seed=seed) + np.float32(np.nan if len(slide) == 1 else 0)


class ClaimsSeeds(Sound):
    stochastic = True


class Objects(Sound):
    def state(self) -> Mapping[str, np.ndarray]:
        return {**super().state(), "names": np.array(["a"], dtype=object)}


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Sound, []),
        (Doubles, ["float64, not"]),
        (Forgetful, ["predicts otherwise"]),
        (Peeking, ["measured on the predicted slide"]),
        (Counting, ["in another order"]),
        (Unseeded, ["differ in mean"]),
        (Alone, ["not finite"]),
        (ClaimsSeeds, ["stochastic = False"]),
        (Objects, ["Python objects"]),
    ],
)
def test_what_is_wrong_is_found(cls: type[Method], words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS._added, "sound", cls)
    problems = [outcome.problem for outcome in check_method("sound") if outcome.problem]
    assert bool(problems) == bool(words)
    for word in words:
        assert any(word in problem for problem in problems), problems


def test_the_command_prints_a_line_a_check_and_fails_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for cls, code in ((Sound, 0), (Peeking, 1)):
        monkeypatch.setitem(METHODS._added, "sound", cls)
        command = ["check-method", "sound", "--settings", json.dumps({"epochs": 1})]
        if code:
            with pytest.raises(SystemExit, match="1"):
                main(command)
        else:
            main(command)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == len(CHECKS)
        assert sum(line.startswith("FAILED") for line in lines) == code
