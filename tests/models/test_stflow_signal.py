"""STFlow learns what a spot's own picture cannot show: expression that answers to the neighbouring spots."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.spatial import cKDTree

from stflow.data.slide import Slide
from stflow.device import set_threads
from stflow.errors import IntegrityError
from stflow.models.base import Task
from stflow.models.stflow import STFlow, STFlowSettings
from stflow.models.stflow.denoiser import Denoiser
from stflow.models.stflow.learner import Learner
from stflow.models.stflow.regions import Regions
from stflow.seeds import torch_generator
from stflow.training.score import mean_pearson

N_INTERACTION, N_OWN = 20, 10
GENES = tuple(f"G{index:02d}" for index in range(N_INTERACTION + N_OWN))
TASK = Task(GENES, "enc", ("synthetic",))

#: Small and quick: one layer, one head and little dropout learn most from a few hundred steps.
QUICK = STFlowSettings(
    hidden=64,
    edge_hidden=16,
    layers=1,
    heads=1,
    dropout=0.1,
    attention_dropout=0.0,
    standardise_features=True,
    learning_rate=4e-3,
    epochs=20,
    regions_per_slide=4,
    select_every=4,
)


def make(seed: int, n_side: int = 24) -> Slide:
    """576 spots on a hexagonal grid; every spot sends or not, at random, and its neighbours' genes answer.

    Features show a spot's own sender and six other things of its own, mixed and noisy.
    """
    world, rng = np.random.default_rng(7), np.random.default_rng(100 + seed)
    mixing, effect = world.normal(size=(7, 24)), world.uniform(2.5, 4.5, N_INTERACTION)
    own_effect = 0.35 * world.normal(size=(6, N_OWN))
    row, column = np.mgrid[:n_side, :n_side]
    centres = np.stack([(column + 0.5 * (row % 2)) * 100.0, row * 100.0 * np.sqrt(0.75)], axis=-1).reshape(-1, 2)
    n = len(centres)
    sender = rng.random(n) < 0.3
    own = rng.normal(size=(n, 6))
    features = np.column_stack([2.0 * sender, own]) @ mixing + 0.3 * rng.normal(size=(n, 24))
    around = cKDTree(centres).query_ball_point(centres, 110.0)
    heard = np.array([np.mean([sender[j] for j in spots if j != i]) for i, spots in enumerate(around)])
    log_mean = np.concatenate([0.4 + effect * (heard[:, None] - 0.3), 0.6 + own @ own_effect], axis=1)
    counts = rng.poisson(rng.gamma(4.0, np.exp(log_mean) / 4.0)).astype(np.float32)
    barcodes = np.array([f"b{index}" for index in range(n)], dtype=object)
    return Slide(
        f"S{seed}", f"P{seed}", barcodes, centres, 1.0, GENES, sparse.csc_matrix(counts),
        {"enc": features.astype(np.float32)},
    )  # fmt: skip


def scores(slide: Slide, predicted: np.ndarray) -> dict[str, float]:
    measured = slide.expression(GENES)
    return {
        "interaction": mean_pearson(measured[:, :N_INTERACTION], predicted[:, :N_INTERACTION]),
        "own": mean_pearson(measured[:, N_INTERACTION:], predicted[:, N_INTERACTION:]),
    }


def ridge_on_own_features(train: list[Slide], test: Slide) -> np.ndarray:
    x = np.concatenate([slide.features["enc"] for slide in train])
    y = np.concatenate([slide.expression(GENES) for slide in train])
    x_0, y_0 = x.mean(axis=0), y.mean(axis=0)
    weights = np.linalg.solve((x - x_0).T @ (x - x_0) + 10 * np.eye(x.shape[1]), (x - x_0).T @ (y - y_0))
    return (test.features["enc"] - x_0) @ weights + y_0


@pytest.fixture(scope="module")
def slides() -> list[Slide]:
    return [make(seed) for seed in range(5)]


@pytest.fixture(scope="module")
def fitted(slides: list[Slide]) -> tuple[STFlow, float]:
    """STFlow fitted on three slides, and the CPU seconds it took."""
    set_threads(1)
    method = STFlow(QUICK, TASK)
    start = time.process_time()
    method.fit(slides[:3], [slides[3]], seed=0)
    return method, time.process_time() - start


def test_hears_the_neighbours_where_ridge_cannot(slides: list[Slide], fitted: tuple[STFlow, float]) -> None:
    test = slides[4]
    ours = scores(test, fitted[0].predict(test, seed=0))
    ridge = scores(test, ridge_on_own_features(slides[:4], test))
    assert ridge["interaction"] < 0.1
    assert ours["interaction"] > 0.3
    assert ours["own"] > ridge["own"] - 0.08


def test_trains_in_seconds(fitted: tuple[STFlow, float]) -> None:
    """About five on one thread; what would fail this is a graph or a frame computed again at every step."""
    assert fitted[1] < 30


def test_prediction_is_decided_by_the_seed(slides: list[Slide], fitted: tuple[STFlow, float]) -> None:
    method = fitted[0]
    first = method.predict(slides[4], seed=3)
    assert first.dtype == np.float32
    assert first.shape == (576, len(GENES))
    np.testing.assert_array_equal(first, method.predict(slides[4], seed=3))
    assert np.abs(first - method.predict(slides[4], seed=4)).max() > 0


def test_more_samples_begin_with_the_same_ones_and_encode_the_slide_once(
    slides: list[Slide], fitted: tuple[STFlow, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, slide = fitted[0], slides[4].subset(np.arange(60))
    calls = []
    encode = Denoiser.encode
    monkeypatch.setattr(Denoiser, "encode", lambda *of: calls.append(1) or encode(*of))
    draws = list(method.sample(slide, samples=3, seed=0))
    assert len(calls) == 1
    assert len(draws) == 3
    np.testing.assert_array_equal(draws[0], method.predict(slide, seed=0))
    for one, other in zip(draws, method.sample(slide, samples=2, seed=0), strict=False):
        np.testing.assert_array_equal(one, other)
    assert np.abs(draws[0] - draws[1]).max() > 0


def test_too_few_samples_for_the_interval_are_told() -> None:
    with pytest.raises(ValueError, match=r"samples = 18 span an interval of at most 0\.895, not 0\.9"):
        STFlowSettings(samples=18)
    assert STFlowSettings(samples=19).interval == STFlowSettings(samples=1).interval == 0.9


def test_saved_and_loaded_predicts_the_same_bits(
    slides: list[Slide], fitted: tuple[STFlow, float], tmp_path: Path
) -> None:
    method = fitted[0]
    path = tmp_path / "model.safetensors"
    method.save(path)
    loaded = STFlow.load(path)
    assert loaded.settings == method.settings
    assert loaded.task == method.task
    np.testing.assert_array_equal(loaded.predict(slides[4], seed=0), method.predict(slides[4], seed=0))
    first = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == first


def test_a_model_cut_short_or_of_another_method_is_refused(fitted: tuple[STFlow, float], tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "model.safetensors"
    fitted[0].save(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(IntegrityError, match="not a whole model file"):
        STFlow.load(path)
    save_file({}, path, metadata={"stflow": '{"method": "ridge"}'})
    with pytest.raises(IntegrityError, match="is a ridge model, not stflow"):
        STFlow.load(path)


def test_turning_and_moving_the_slide_changes_nothing(slides: list[Slide], fitted: tuple[STFlow, float]) -> None:
    from dataclasses import replace

    slide = slides[4]
    angle = np.deg2rad(29)
    turn = np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])
    there = replace(slide, centres_px=slide.centres_px @ turn.T + 1e4)
    method = fitted[0]
    np.testing.assert_allclose(method.predict(there, seed=0), method.predict(slide, seed=0), atol=1e-4)


def test_standardising_undoes_the_features_scale(slides: list[Slide]) -> None:
    from dataclasses import replace

    def stretched(slide: Slide, scale: np.ndarray) -> Slide:
        return replace(slide, features={"enc": slide.features["enc"] * scale.astype(np.float32)})

    scale = np.logspace(-2, 3, 24)
    settings = QUICK.model_copy(update={"epochs": 1, "regions_per_slide": 1})
    made = []
    for train, test in ((slides[0], slides[1]), (stretched(slides[0], scale), stretched(slides[1], scale))):
        method = STFlow(settings, TASK)
        method.fit([train], [], seed=0)
        made.append(method.predict(test, seed=0))
    np.testing.assert_allclose(made[0], made[1], atol=1e-3)


def test_a_constant_feature_does_no_harm(slides: list[Slide]) -> None:
    from dataclasses import replace

    features: Mapping[str, np.ndarray] = {
        "enc": np.concatenate([slides[0].features["enc"], np.full((576, 1), 0.1, np.float32)], axis=1)
    }
    slide = replace(slides[0], features=features)
    method = STFlow(QUICK.model_copy(update={"epochs": 1, "regions_per_slide": 1}), TASK)
    method.fit([slide], [], seed=0)
    assert np.isfinite(method.predict(slide, seed=0)).all()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_tiny_slides_train_and_predict(slides: list[Slide], n: int) -> None:
    slide = slides[0].subset(np.arange(n))
    method = STFlow(QUICK.model_copy(update={"epochs": 2, "regions_per_step": 2}), TASK)
    method.fit([slide, slides[1].subset(np.arange(30))], [slide], seed=0)
    assert np.isfinite(method.predict(slide, seed=0)).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"prior": "zero"},
        {"prior": "gaussian"},
        {"prior_mean": "released"},
        {"prior_transform": "paper"},
        {"steps": 1},
        {"flow_time": "zero", "steps": 1},
        {"times": "released"},
    ],
)
def test_ablations_run(slides: list[Slide], changes: dict[str, object]) -> None:
    small = [slide.subset(np.arange(60)) for slide in slides[:2]]
    settings = QUICK.model_validate({**QUICK.model_dump(), **changes, "epochs": 1})
    method = STFlow(settings, TASK)
    fit = method.fit(small[:1], small[1:], seed=0)
    assert np.isfinite(method.predict(small[1], seed=0)).all()
    assert np.isfinite(fit.history[0]["score"])


def test_training_without_flow_sees_the_same_regions_at_time_zero(slides: list[Slide]) -> None:
    """At t = 0 the network sees the prior alone, as the one step of its prediction does."""
    drawn = []
    for flow_time in ("uniform", "zero"):
        learner = Learner(STFlow(QUICK.model_copy(update={"flow_time": flow_time}), TASK), 24, 0)
        problem = Regions(learner, slides[:2], [], torch_generator(0, "regions"), 0, "cpu")
        drawn.append(list(problem.batches()))
    for uniform, zero in zip(*drawn, strict=True):
        assert torch.equal(uniform.features, zero.features)
        assert torch.equal(uniform.x_0, zero.x_0)
        assert not zero.t.any()
    assert len({batch.t[0].item() for batch in drawn[0]}) == len(drawn[0])


def test_predicting_before_fitting_is_an_error(slides: list[Slide]) -> None:
    with pytest.raises(RuntimeError, match="needs a fitted or loaded model"):
        STFlow(QUICK, TASK).predict(slides[0], seed=0)
