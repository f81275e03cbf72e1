"""The mean predicts the training mean of each gene, and nothing of the test slide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from stflow.data.slide import Slide
from stflow.models.base import Task
from stflow.models.mean import Mean, MeanSettings

GENES = ("A", "B", "C")


def make_slide(name: str, n_spots: int, seed: int) -> Slide:
    rng = np.random.default_rng(seed)
    return Slide(
        name=name,
        patient=name,
        barcodes=np.array([f"{name}-{i}" for i in range(n_spots)], dtype=object),
        centres_px=rng.uniform(0, 1000, (n_spots, 2)),
        mpp=0.5,
        genes=GENES,
        counts=sparse.csc_matrix(rng.poisson(3.0, (n_spots, len(GENES)))),
        features={"e": rng.normal(size=(n_spots, 4)).astype(np.float32)},
    )


def test_every_spot_counts_once() -> None:
    slides = [make_slide("one", 10, 0), make_slide("two", 50, 1)]
    mean = Mean(MeanSettings(), Task(("C", "A"), "e"))
    mean.fit(slides, [], seed=0)
    pooled = np.concatenate([slide.expression(("C", "A")) for slide in slides])
    predicted = mean.predict(make_slide("test", 7, 2), seed=0)
    assert predicted.shape == (7, 2)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, np.tile(pooled.mean(axis=0), (7, 1)), rtol=1e-6)


def test_select_slides_are_not_learned_from() -> None:
    train, select = make_slide("one", 10, 0), make_slide("two", 50, 1)
    mean = Mean(MeanSettings(), Task(GENES, "e"))
    mean.fit([train], [select], seed=0)
    np.testing.assert_allclose(mean.mean, train.expression(GENES).mean(axis=0), rtol=1e-6)


def test_saved_and_loaded_predicts_the_same_bits(tmp_path: Path) -> None:
    mean = Mean(MeanSettings(), Task(GENES, "e"))
    slide = make_slide("one", 10, 0)
    mean.fit([slide], [], seed=0)
    mean.save(tmp_path / "model.safetensors")
    loaded = Mean.load(tmp_path / "model.safetensors")
    assert loaded.task == mean.task
    np.testing.assert_array_equal(loaded.predict(slide, seed=0), mean.predict(slide, seed=0))


def test_one_seed_is_enough() -> None:
    assert not Mean.stochastic


def test_settings_refuse_anything() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        MeanSettings.model_validate({"x": 1})


def test_a_method_that_draws_nothing_has_one_sample() -> None:
    slide = make_slide("one", 10, 0)
    mean = Mean(MeanSettings(), Task(("A",), "e"))
    mean.fit([slide], [], seed=0)
    (only,) = mean.sample(slide, samples=5, seed=0)
    np.testing.assert_array_equal(only, mean.predict(slide, seed=0))
