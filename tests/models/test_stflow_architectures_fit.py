"""Every architecture learns inside the method, is decided by the seed, and reads the noise or does not."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import sparse

from stflow.data.slide import Slide
from stflow.flow.sampler import times
from stflow.models.base import Task
from stflow.models.stflow import STFlow, STFlowSettings
from stflow.models.stflow.architectures import ARCHITECTURES

D = 12
QUICK = {
    **{"hidden": 16, "edge_hidden": 8, "layers": 1},
    **{"epochs": 3, "regions_per_slide": 8, "learning_rate": 4e-3, "select_every": 3},
}
GENES = tuple(f"G{index}" for index in range(5))
TASK = Task(GENES, "enc", ("synthetic",))


def slide(seed: int) -> Slide:
    """64 spots on a square grid; genes follow the first features."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(64, D)).astype(np.float32)
    counts = rng.poisson(np.exp(0.8 + 0.7 * features[:, : len(GENES)])).astype(np.float32)
    barcodes = np.array([f"b{index}" for index in range(64)], dtype=object)
    places = np.stack(np.mgrid[:8, :8], axis=-1).reshape(-1, 2) * 100.0
    return Slide(f"S{seed}", "P", barcodes, places, 1.0, GENES, sparse.csc_matrix(counts), {"enc": features})


def fit(name: str, seed: int = 0) -> tuple[STFlow, list[float]]:
    """The method after three epochs, and the loss of each."""
    method = STFlow(STFlowSettings.model_validate({"architecture": name, **QUICK}), TASK)
    history = method.fit([slide(0), slide(1)], [slide(2)], seed=seed).history
    return method, [row["loss"] for row in history]


@pytest.fixture(scope="module")
def fitted() -> Callable[[str], tuple[STFlow, list[float]]]:
    """``fitted(name)``, fitted once."""
    return functools.cache(fit)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "frames"])
def test_learns_and_is_decided_by_the_seed(name: str, fitted: Callable[[str], tuple[STFlow, list[float]]]) -> None:
    method, losses = fitted(name)
    assert losses[-1] < 0.8 * losses[0]
    again, _ = fit(name)
    first = method.predict(slide(3), seed=5)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again.predict(slide(3), seed=5))
    other = method.predict(slide(3), seed=6)
    assert np.array_equal(first, other) != (name != "dot_product"), (
        "which alone does not read the expression, and so no noise"
    )


def test_without_expression_only_the_last_step_of_the_sampler_counts(
    fitted: Callable[[str], tuple[STFlow, list[float]]],
) -> None:
    learner = fitted("dot_product")[0]._learner
    assert learner is not None
    section = learner.section(slide(3), "cpu")
    last = times(learner.settings.steps, learner.settings.times)[-2]
    with torch.inference_mode():
        once = learner.denoiser(section.features, torch.zeros(64, len(GENES)), torch.full((1, 1), last), section.graph)
    sampled = fitted("dot_product")[0].predict(slide(3), seed=0)
    np.testing.assert_allclose(sampled, section.restored(once.numpy()), atol=1e-6)
