"""Ridge is the HEST benchmark's recipe, read back from plain arrays; its penalty may be chosen, its eyes wander."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from stflow.data.slide import Slide
from stflow.models.around import neighbour_means
from stflow.models.base import Task
from stflow.models.ridge import Ridge, RidgeSettings
from stflow.models.ridge.alpha import choose, inner_folds, path
from stflow.training.score import mean_pearson

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
        "import sys, stflow.models.ridge, stflow.models.mean, stflow.models.random_forest, stflow.models.knn\n"
        "import stflow.models.mlp, stflow.models.histogene\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# -- the penalty chosen in training ----------------------------------------------------------------------------


@pytest.mark.parametrize(("n_spots", "n_features"), [(80, 12), (15, 40)], ids=["tall", "wide"])
@pytest.mark.parametrize("alpha", [0.01, 3.0, 1e4])
def test_every_penalty_of_the_grid_is_scikit_learns(n_spots: int, n_features: int, alpha: float) -> None:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge as SklearnRidge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = make_slide("one", n_spots, n_features, 0), make_slide("two", 30, n_features, 1)
    x, y = train.features["e"].astype(np.float64), train.expression(GENES).astype(np.float64)
    x[:, 3] = 2.5  # constant
    reference = make_pipeline(
        StandardScaler(), PCA(7, svd_solver="full"), SklearnRidge(alpha, solver="cholesky")
    ).fit(x, y)  # fmt: skip
    found = path(x, y, test.features["e"].astype(np.float64), [1.0, alpha], 7)
    np.testing.assert_allclose(found[1], reference.predict(test.features["e"].astype(np.float64)), atol=1e-8)


def test_the_chosen_penalty_scores_best_on_patients_left_out() -> None:
    train = [make_slide(name, 40, 20, seed) for seed, name in enumerate("abc")]
    settings = RidgeSettings(alpha="cv", components=20, cv_lowest=0.1, cv_highest=1e5, cv_tried=7)
    fit = Ridge(settings, Task(GENES, "e")).fit(train, [], seed=0)
    tried = np.geomspace(0.1, 1e5, 7)
    scores = np.zeros(7)
    for out in range(3):
        rest = [slide for index, slide in enumerate(train) if index != out]
        for index, alpha in enumerate(tried):
            one = Ridge(RidgeSettings(alpha=alpha, components=20, fit_intercept=True), Task(GENES, "e"))
            one.fit(rest, [], seed=0)
            scores[index] += mean_pearson(train[out].expression(GENES), one.predict(train[out], seed=0)) / 3
    np.testing.assert_allclose(list(fit.facts["scores"].values()), scores, atol=1e-3)
    assert fit.facts["alpha"] == pytest.approx(tried[scores.argmax()])
    assert fit.facts["left_out"] == "patient"
    assert scores.max() > scores.min() + 0.01, "a flat grid would prove nothing"


def test_patients_are_left_out_whole_then_slides_then_parts_of_the_slide() -> None:
    centres = [np.random.default_rng(i).uniform(0, 100, (n, 2)) * [1, 5] for i, n in enumerate([6, 4, 5])]
    what, fold = inner_folds(["P", "Q", "P"], ["a", "b", "c"], centres, 5)
    assert what == "patient"
    np.testing.assert_array_equal(fold, [0] * 6 + [1] * 4 + [0] * 5)
    what, fold = inner_folds(["P"] * 3, ["a", "b", "c"], centres, 2)
    assert what == "slide"
    np.testing.assert_array_equal(fold, [0] * 6 + [1] * 4 + [0] * 5)
    what, fold = inner_folds(["P"], ["a"], [np.concatenate(centres)], 5)
    assert what == "part"
    y = np.concatenate(centres)[:, 1]
    for lower in range(3):
        assert y[fold == lower].max() < y[fold == lower + 1].min()


def test_with_nothing_to_leave_out_the_largest_penalty_is_taken() -> None:
    chosen = choose(np.ones((1, 3)), np.ones((1, 2)), np.zeros(1), "part", [1.0, 10.0], 3)
    assert chosen.alpha == 10


def test_one_gene_is_enough() -> None:
    slide = make_slide("one", 50, 10, 0)
    both = {}
    for genes in (("B",), GENES):
        method = Ridge(RidgeSettings(components=4, alpha=1.0), Task(genes, "e"))
        method.fit([slide], [], seed=0)
        both[genes] = method.predict(slide, seed=0)
    assert both["B",].shape == (50, 1)
    np.testing.assert_allclose(both["B",][:, 0], both[GENES][:, 1], atol=1e-3)


@pytest.mark.parametrize("n_spots", [2, 3])
def test_a_handful_of_spots_is_enough(n_spots: int) -> None:
    method = Ridge(RidgeSettings(alpha="cv"), Task(GENES, "e"))
    method.fit([make_slide("one", n_spots, 5, 0)], [], seed=0)
    assert np.isfinite(method.predict(make_slide("two", 4, 5, 1), seed=0)).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"alpha": -1.0}, "must not be negative"), ({"cv_lowest": 10, "cv_highest": 1}, "lies above cv_highest")],
)
def test_penalties_that_make_no_sense_are_told(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RidgeSettings(**settings)


# -- neighbours ------------------------------------------------------------------------------------------------

#: A 3 x 3 grid 200 um apart, a spot of its own far away, in px of 0.5 um.
GRID = np.array([[x, y] for y in range(3) for x in range(3)] + [[9, 9]]) * 400.0


def on_grid(features: np.ndarray) -> Slide:
    slide = make_slide("grid", 10, features.shape[1], 0)
    return replace(slide, centres_px=GRID, features={"e": features.astype(np.float32)})


def test_smoothing_on_a_grid_by_hand() -> None:
    method = Ridge(RidgeSettings(alpha=1.0, components=4), Task(GENES, "e"))
    method.fit([make_slide("one", 60, 6, 0)], [], seed=0)
    slide = on_grid(np.random.default_rng(1).normal(size=(10, 6)))
    plain = method.predict(slide, seed=0).astype(np.float64)
    method.settings = method.settings.model_copy(update={"own_weight": 0.75})
    smooth = method.predict(slide, seed=0)
    around = {0: [1, 3, 4], 1: [0, 2, 3, 4, 5], 4: [0, 1, 2, 3, 5, 6, 7, 8]}
    for spot, spots in around.items():
        np.testing.assert_allclose(smooth[spot], 0.75 * plain[spot] + 0.25 * plain[spots].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(smooth[9], plain[9], rtol=1e-6)  # no neighbours


def test_neighbours_are_adjacent_spots_and_no_others() -> None:
    values = np.arange(10.0)[:, None]
    np.testing.assert_allclose(neighbour_means(values, GRID, 8)[[0, 4, 9], 0], [8 / 3, 4, 9])
    np.testing.assert_allclose(neighbour_means(values, GRID, 2)[[0, 4], 0], [2, 2])  # of equally near, the first rows
    row, column = np.mgrid[:5, :5]
    hexagonal = np.stack([(column + 0.5 * (row % 2)).ravel(), row.ravel() * np.sqrt(0.75)], axis=1) * 100
    np.testing.assert_allclose(neighbour_means(np.eye(25), hexagonal, 8)[12, [6, 7, 11, 13, 16, 17]], 1 / 6)
    same_place = np.zeros((3, 2))
    np.testing.assert_allclose(neighbour_means(values[:3], same_place, 8)[:, 0], [1.5, 1, 0.5])
    assert neighbour_means(values[:0], same_place[:0], 8).shape == (0, 1)


def test_neighbours_features_are_joined_to_a_spots_own() -> None:
    features = np.random.default_rng(1).normal(size=(10, 6))
    inputs = Ridge(RidgeSettings(neighbours=8), Task(GENES, "e")).inputs(on_grid(features))
    assert inputs.shape == (10, 12)
    np.testing.assert_allclose(inputs[:, :6], features, rtol=1e-6)
    np.testing.assert_allclose(inputs[0, 6:], features[[1, 3, 4]].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(inputs[9, 6:], features[9], rtol=1e-6)


def test_hears_the_neighbours_where_ridge_cannot() -> None:
    """A gene that answers to the neighbours' first feature alone."""
    train, test = [heard(seed) for seed in range(3)], heard(3)
    scores = {}
    for variant in ("alpha_cv", "neighbours"):
        method = Ridge(RidgeSettings(**Ridge.variants[variant]), Task(("A",), "e"))
        method.fit(train, [], seed=0)
        scores[variant] = mean_pearson(test.expression(("A",)), method.predict(test, seed=0))
    assert scores["alpha_cv"] < 0.15
    assert scores["neighbours"] > 0.4


def heard(seed: int) -> Slide:
    rng = np.random.default_rng(seed)
    centres = np.stack(np.divmod(np.arange(144), 12), axis=1) * 200.0
    features = rng.normal(size=(144, 4))
    rate = np.exp(0.5 + 2 * neighbour_means(features, centres, 8)[:, :1])
    slide = make_slide(f"h{seed}", 144, 4, seed)
    counts = sparse.csc_matrix(np.repeat(rng.poisson(rate), 3, axis=1).astype(np.float32))
    return replace(slide, centres_px=centres, counts=counts, features={"e": features.astype(np.float32)})


def test_smoothing_uses_the_trained_model_that_is_there() -> None:
    smoothed = RidgeSettings(**Ridge.variants["smoothed"]).model_dump(exclude=set(Ridge.sampling))
    assert smoothed == RidgeSettings().model_dump(exclude=set(Ridge.sampling))
    assert Ridge.variants["smoothed"] == {"own_weight": 0.75}


def test_saved_and_loaded_with_neighbours_predicts_the_same_bits(tmp_path: Path) -> None:
    slide = heard(0)
    method = Ridge(RidgeSettings(**Ridge.variants["neighbours"]), Task(GENES, "e"))
    method.fit([slide], [], seed=0)
    method.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(
        Ridge.load(tmp_path / "model.safetensors").predict(slide, seed=0), method.predict(slide, seed=0)
    )
    smooth = Ridge.load(tmp_path / "model.safetensors", {"own_weight": 0.5}).predict(slide, seed=0)
    assert np.abs(smooth - method.predict(slide, seed=0)).max() > 1e-3
