"""Ridge is the HEST benchmark's recipe, read back from plain arrays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from stflow.data.slide import Slide
from stflow.models.base import Task
from stflow.models.ridge import Ridge, RidgeSettings

GENES = ("A", "B", "C")


def make_slide(name: str, n_spots: int, n_features: int, seed: int) -> Slide:
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n_spots, 5))
    mixing = np.random.default_rng(99).normal(size=(5, n_features))
    x = latent @ mixing + 0.3 * rng.normal(size=(n_spots, n_features))
    x = x * np.geomspace(0.01, 100, n_features) + 7  # features of very different scales
    rate = np.exp(0.5 + 0.5 * latent[:, : len(GENES)])
    return Slide(
        name=name,
        patient=name,
        barcodes=np.array([f"{name}-{i}" for i in range(n_spots)], dtype=object),
        centres_px=rng.uniform(0, 1000, (n_spots, 2)),
        mpp=0.5,
        genes=GENES,
        counts=sparse.csc_matrix(rng.poisson(rate)),
        features={"e": x.astype(np.float32)},
    )


def reference(train: list[Slide], test: Slide, components: int, *, intercept: bool = False) -> np.ndarray:
    """The recipe in scikit-learn's own words."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge as SklearnRidge
    from sklearn.preprocessing import StandardScaler

    x = np.concatenate([slide.features["e"] for slide in train]).astype(np.float64)
    y = np.concatenate([slide.expression(GENES) for slide in train]).astype(np.float64)
    scaler = StandardScaler().fit(x)
    pca = PCA(components, svd_solver="full").fit(scaler.transform(x))
    model = SklearnRidge(
        solver="lsqr", alpha=100 / (components * y.shape[1]), fit_intercept=intercept, max_iter=1000, random_state=0
    )
    model.fit(pca.transform(scaler.transform(x)), y)
    return model.predict(pca.transform(scaler.transform(test.features["e"].astype(np.float64))))


@pytest.mark.parametrize("intercept", [False, True])
def test_agrees_with_scikit_learn(intercept: bool) -> None:
    train = [make_slide("one", 150, 20, 0), make_slide("two", 90, 20, 1)]
    test = make_slide("test", 60, 20, 2)
    ridge = Ridge(RidgeSettings(components=8, fit_intercept=intercept), Task(GENES, "e"))
    fit = ridge.fit(train, [], seed=0)
    assert fit.facts["alpha"] == pytest.approx(100 / (8 * 3))
    expected = reference(train, test, 8, intercept=intercept)
    np.testing.assert_allclose(ridge.predict(test, seed=0), expected, atol=1e-4)
    assert np.abs(expected).max() > 0.5


@pytest.mark.parametrize(("n_spots", "n_features"), [(12, 40), (40, 12), (20, 20)])
def test_components_are_capped_by_spots_and_features(n_spots: int, n_features: int) -> None:
    slide = make_slide("one", n_spots, n_features, 0)
    ridge = Ridge(RidgeSettings(), Task(GENES, "e"))
    fit = ridge.fit([slide], [], seed=0)
    assert fit.facts["components"] == min(n_spots, n_features)
    predicted = ridge.predict(make_slide("test", 5, n_features, 1), seed=0)
    assert np.isfinite(predicted).all()
    assert predicted.shape == (5, 3)


def test_a_constant_feature_does_no_harm() -> None:
    slide = make_slide("one", 50, 6, 0)
    slide.features["e"][:, 2] = 4.0
    ridge = Ridge(RidgeSettings(), Task(GENES, "e"))
    ridge.fit([slide], [], seed=0)
    assert np.isfinite(ridge.predict(slide, seed=0)).all()


def test_saved_and_loaded_predicts_the_same_bits(tmp_path: Path) -> None:
    slide = make_slide("one", 50, 10, 0)
    ridge = Ridge(RidgeSettings(components=4, alpha=1.0), Task(GENES, "e"))
    ridge.fit([slide], [], seed=0)
    ridge.save(tmp_path / "model.safetensors")
    loaded = Ridge.load(tmp_path / "model.safetensors")
    assert loaded.settings == ridge.settings
    np.testing.assert_array_equal(loaded.predict(slide, seed=0), ridge.predict(slide, seed=0))


def test_the_seed_changes_nothing() -> None:
    slide = make_slide("one", 50, 10, 0)
    predictions = []
    for seed in (0, 1):
        ridge = Ridge(RidgeSettings(components=4), Task(GENES, "e"))
        ridge.fit([slide], [], seed=seed)
        predictions.append(ridge.predict(slide, seed=seed))
    np.testing.assert_array_equal(*predictions)
    assert not Ridge.stochastic


def test_import_stays_light() -> None:
    heavy = "sklearn", "torch", "pandas", "scipy.sparse.linalg", "numba"
    code = (
        "import sys, stflow.models.ridge, stflow.models.mean, stflow.models.random_forest\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
