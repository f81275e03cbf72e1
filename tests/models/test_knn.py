"""Regression by nearest neighbours is scikit-learn's, with ties decided by the training row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from stflow.data.slide import Slide
from stflow.models import knn
from stflow.models.base import Task
from stflow.models.knn import KNN, KNNSettings, nearest_rows

GENES = ("A", "B")
TASK = Task(GENES, "e")


def make_slide(name: str, n_spots: int, seed: int, n_features: int = 10) -> Slide:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_spots, n_features)) * np.geomspace(0.1, 10, n_features) + 3
    counts = rng.poisson(np.exp(0.3 * (x[:, :2] - 3) / np.geomspace(0.1, 10, n_features)[:2] + 0.5))
    names = np.array([f"{name}-{spot}" for spot in range(n_spots)], dtype=object)
    return Slide(
        name, name, names, rng.uniform(0, 1000, (n_spots, 2)), 0.5, GENES,
        sparse.csc_matrix(counts.astype(np.float32)), {"e": x.astype(np.float32)},
    )  # fmt: skip


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("components", [None, 4])
def test_agrees_with_scikit_learn(
    weights: str, distance: str, components: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    monkeypatch.setattr(knn, "_MOST_DISTANCES", 2000)  # 15 queries at once
    train, test = [make_slide("a", 80, 0), make_slide("b", 50, 1)], make_slide("c", 40, 2)
    method = KNN(KNNSettings(neighbours=7, components=components, distance=distance, weights=weights), TASK)
    fit = method.fit(train, [], seed=0)
    assert fit.facts == {"n_spots": 130, "compared": components or 10}
    x, y = np.concatenate([s.features["e"] for s in train]), np.concatenate([s.expression(GENES) for s in train])
    seen = make_pipeline(StandardScaler(), PCA(components, svd_solver="full") if components else "passthrough")
    reference = KNeighborsRegressor(7, weights=weights, metric=distance, algorithm="brute")
    reference.fit(seen.fit_transform(x.astype(np.float64)), y)
    expected = reference.predict(seen.transform(test.features["e"].astype(np.float64)))
    np.testing.assert_allclose(method.predict(test, seed=0), expected, atol=1e-3 if weights == "distance" else 1e-5)
    assert expected.std() > 0.1


def test_of_equally_distant_spots_the_first_rows_count() -> None:
    distance = np.array([[2.0, 1, 2, 2, 0, 2], [1, 1, 1, 1, 1, 1], [6, 5, 4, 3, 2, 1]])
    np.testing.assert_array_equal(nearest_rows(distance, 3), [[4, 1, 0], [0, 1, 2], [5, 4, 3]])
    np.testing.assert_array_equal(nearest_rows(distance[:1], 9), [[4, 1, 0, 2, 3, 5]])


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_weighted_a_training_spot_gets_its_own_expression(distance: str) -> None:
    slide = make_slide("a", 60, 0)
    method = KNN(KNNSettings(neighbours=5, components=None, distance=distance, weights="distance"), TASK)
    method.fit([slide], [], seed=0)
    # Distances are float32: a spot is at nearly 0 from itself, so that it has nearly all the weight.
    np.testing.assert_allclose(method.predict(slide, seed=0), slide.expression(GENES), atol=5e-3)


def test_all_training_spots_where_there_are_few() -> None:
    slide = make_slide("a", 6, 0)
    method = KNN(KNNSettings(), TASK)
    method.fit([slide], [], seed=0)
    mean = slide.expression(GENES).mean(axis=0)
    np.testing.assert_allclose(method.predict(make_slide("b", 3, 1), seed=0), np.tile(mean, (3, 1)), rtol=1e-5)


def test_the_model_file_holds_the_training_spots_as_float32(tmp_path: Path) -> None:
    slide = make_slide("a", 90, 0)
    method = KNN(KNNSettings(components=4, neighbours=3), TASK)
    method.fit([slide], [], seed=0)
    state = method.state()
    assert state["reference"].dtype == state["expression"].dtype == np.float32
    assert state["reference"].shape == (90, 4)
    method.save(tmp_path / "model.safetensors")
    test = make_slide("b", 20, 1)
    np.testing.assert_array_equal(
        KNN.load(tmp_path / "model.safetensors").predict(test, seed=0), method.predict(test, seed=0)
    )
