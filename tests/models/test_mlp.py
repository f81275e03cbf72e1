"""The perceptron is the network that it says, and trains as every network here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stflow.data.slide import Slide
from stflow.errors import RunFailed
from stflow.models.base import Task
from stflow.models.check import GENES, made_slides
from stflow.models.mlp import MLP, MLPSettings
from stflow.models.network.spots import SpotLearner
from stflow.training.score import mean_pearson

TASK = Task(GENES, "made", ("mlp test",))
TINY = MLPSettings(hidden=16, epochs=3, learning_rate=2e-3, batch_spots=32)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Slide]:
    """Four slides of 81 spots whose genes follow their features."""
    return list(made_slides(tmp_path_factory.mktemp("none"), "made", tiles=False))


def test_is_three_linear_layers_with_gelu_and_without_dropout_when_it_predicts(slides: list[Slide]) -> None:
    from scipy.special import erf

    method = MLP(TINY, TASK)
    method.fit(slides[:2], slides[2:3], seed=0)
    state = method.state()
    linear = sorted(name.removesuffix(".weight") for name in state if name.endswith(".weight"))
    assert linear == ["network.0", "network.3", "network.6"]
    x = slides[3].features["made"].astype(np.float64)
    for name in linear:
        x = x @ state[f"{name}.weight"].T + state[f"{name}.bias"]
        if name != linear[-1]:
            x = x * (1 + erf(x / np.sqrt(2))) / 2
    np.testing.assert_allclose(method.predict(slides[3], seed=0), x, atol=1e-5)


def test_numbers_of_parameters() -> None:
    assert MLP.n_params(MLPSettings(), 1024, 50) == (1024 + 1) * 512 + (512 + 1) * 512 + (512 + 1) * 50
    assert MLP.n_params(MLPSettings(layers=1), 1024, 50) == (1024 + 1) * 50


def test_learns_a_signal_in_the_features(slides: list[Slide]) -> None:
    method = MLP(TINY.model_copy(update={"epochs": 30, "learning_rate": 5e-3}), TASK)
    method.fit(slides[:3], slides[2:3], seed=0)
    measured, predicted = slides[3].expression(GENES), method.predict(slides[3], seed=0)
    mean = np.concatenate([slide.expression(GENES) for slide in slides[:3]]).mean(axis=0)
    assert mean_pearson(measured[:, :4], predicted[:, :4]) > 0.4
    assert np.square(measured - predicted).mean() < 0.9 * np.square(measured - mean).mean()


def test_resumes_to_the_same_bits(slides: list[Slide], tmp_path: Path, interrupted: Callable) -> None:
    def go(checkpoint: Path) -> dict[str, np.ndarray]:
        method = MLP(TINY, TASK)
        method.fit(slides[:2], slides[2:3], seed=0, checkpoint=checkpoint)
        return dict(method.state())

    whole = go(tmp_path / "whole")
    with interrupted(2):
        go(tmp_path / "killed")
    assert (tmp_path / "killed").exists()
    resumed = go(tmp_path / "killed")
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


def test_backs_off_when_memory_runs_out(slides: list[Slide], monkeypatch: pytest.MonkeyPatch) -> None:
    plain, sizes = SpotLearner.loss, []

    def loss(self: SpotLearner, inputs: Tensor, expression: Tensor, generator: torch.Generator) -> Tensor:
        if len(inputs) > 12:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(inputs))
        return plain(self, inputs, expression, generator)

    monkeypatch.setattr(SpotLearner, "loss", loss)
    fit = MLP(TINY, TASK).fit(slides[:2], [], seed=0)
    assert fit.facts["out_of_memory"] == 2
    assert fit.facts["spots_limit"] == 8
    assert max(sizes) <= 8


def test_a_loss_that_diverges_fails_the_run(slides: list[Slide]) -> None:
    with pytest.raises(RunFailed, match=r"the loss became (inf|nan) in epoch"):
        MLP(TINY.model_copy(update={"learning_rate": 1e30}), TASK).fit(slides[:1], [], seed=0)
