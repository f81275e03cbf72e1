"""The forest: its trees are CART's, its state is whole, its numbers depend on names and seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from stflow.data.slide import Slide
from stflow.models.base import Task
from stflow.models.random_forest import RandomForest, RandomForestSettings
from stflow.seeds import entropy

GENES = ("A", "B", "C")


def make_slide(name: str, n_spots: int, seed: int, features: np.ndarray | None = None) -> Slide:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_spots, 6)) if features is None else features
    rate = np.exp(1 + np.stack([np.sin(2 * x[:, 0]), x[:, 1] * (x[:, 2] > 0), 0 * x[:, 0]], axis=1))
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


def fitted(slide: Slide, *, seed: int = 0, genes: tuple[str, ...] = GENES, **settings: object) -> RandomForest:
    forest = RandomForest(RandomForestSettings.model_validate(settings), Task(genes, "e", ("IDC", 0)))
    forest.fit([slide], [], seed=seed)
    return forest


@dataclass(frozen=True, eq=False)
class ExactSlide(Slide):
    """A slide whose every gene is ``y``, any real number."""

    y: np.ndarray = field(default_factory=lambda: np.empty(0))

    def expression(self, genes: Sequence[str]) -> np.ndarray:
        return np.repeat(self.y[:, None], len(genes), axis=1).astype(np.float32)


def with_target(x: np.ndarray, y: np.ndarray) -> Slide:
    slide = make_slide("one", len(y), 0)
    return ExactSlide(**{**vars(slide), "features": {"e": x.astype(np.float32)}}, y=y)


@pytest.mark.parametrize("depth", [1, 3, 6])
@pytest.mark.parametrize("n_spots", [20, 200])
def test_one_tree_is_scikit_learns(depth: int, n_spots: int) -> None:
    """Fewer values than bins and no two equal gains: the best splits are unique."""
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(depth)
    x = rng.integers(0, 60, (n_spots, 5)).astype(np.float32)
    y = rng.normal(size=n_spots) + 0.05 * x[:, 0]
    slide = with_target(x, y)
    forest = fitted(slide, trees=1, depth=depth, bootstrap=False, min_samples_leaf=3)
    tree = DecisionTreeRegressor(max_depth=depth, min_samples_leaf=3, random_state=0).fit(x, y.astype(np.float32))
    np.testing.assert_allclose(forest.predict(slide, seed=0)[:, 0], tree.predict(x), rtol=1e-5, atol=1e-6)


def test_forest_agrees_with_scikit_learns_on_other_spots() -> None:
    from sklearn.ensemble import RandomForestRegressor

    train, test = make_slide("one", 300, 0), make_slide("test", 300, 1)
    ours = fitted(train, trees=40).predict(test, seed=0)
    theirs = RandomForestRegressor(40, max_depth=16, random_state=0).fit(
        train.features["e"], train.expression(GENES)[:, 0]
    )
    truth = test.expression(GENES)[:, 0]
    one, two = (np.corrcoef(p, truth)[0, 1] for p in (ours[:, 0], theirs.predict(test.features["e"])))
    assert one > 0.5
    assert abs(one - two) < 0.05


def test_the_stored_trees_predict_what_scikit_learn_s_do() -> None:
    """Binned features, our walk: the same as predicting with the forest that was fitted."""
    from sklearn.ensemble import RandomForestRegressor

    train, test = make_slide("one", 200, 0), make_slide("test", 100, 1)
    forest = fitted(train, genes=("A",), trees=7)
    bins = [forest.to_bins(slide.features["e"]).astype(np.float32) for slide in (train, test)]
    seed = entropy(0, "IDC", 0, "random_forest", "A") % 2**32
    theirs = RandomForestRegressor(7, max_depth=16, random_state=seed).fit(bins[0], train.expression(("A",))[:, 0])
    np.testing.assert_allclose(forest.predict(test, seed=0)[:, 0], theirs.predict(bins[1]), rtol=1e-5)


def test_an_interaction_of_features_is_learned() -> None:
    forest = fitted(make_slide("one", 400, 0), trees=30)
    test = make_slide("test", 300, 1)
    assert np.corrcoef(forest.predict(test, seed=0)[:, 1], test.expression(GENES)[:, 1])[0, 1] > 0.5


def test_leaves_hold_at_least_what_is_asked_and_depth_is_kept() -> None:
    slide = make_slide("one", 200, 0)
    forest = fitted(slide, trees=1, depth=3, bootstrap=False)
    assert len(forest.feature) <= 15 * len(GENES)
    forest = fitted(slide, trees=1, min_samples_leaf=50, bootstrap=False)
    predicted = forest.predict(slide, seed=0)
    assert min(np.unique(predicted[:, 0], return_counts=True)[1]) >= 50


def test_a_constant_gene_or_feature_is_one_leaf() -> None:
    slide = with_target(np.random.default_rng(0).normal(size=(50, 6)), np.full(50, 1.25))
    forest = fitted(slide, trees=3)
    assert (forest.feature == -1).all()
    np.testing.assert_array_equal(forest.predict(slide, seed=0), np.full((50, 3), 1.25, np.float32))
    flat = make_slide("one", 50, 0, np.ones((50, 6)))
    assert (fitted(flat, trees=2).feature == -1).all()


def test_same_seed_same_bits_other_seed_other_forest() -> None:
    slide = make_slide("one", 120, 0)
    first, again, other = (fitted(slide, seed=seed, trees=5).predict(slide, seed=0) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_genes_forest_does_not_depend_on_the_other_genes() -> None:
    slide = make_slide("one", 120, 0)
    together = fitted(slide, trees=5).predict(slide, seed=0)
    alone = fitted(slide, genes=("C",), trees=5).predict(slide, seed=0)
    np.testing.assert_array_equal(alone[:, 0], together[:, 2])


def test_saved_and_loaded_predicts_the_same_bits(tmp_path: Path) -> None:
    slide = make_slide("one", 80, 0)
    forest = fitted(slide, trees=4, max_features=0.5)
    forest.save(tmp_path / "model.safetensors")
    loaded = RandomForest.load(tmp_path / "model.safetensors")
    assert loaded.settings == forest.settings
    np.testing.assert_array_equal(loaded.predict(slide, seed=0), forest.predict(slide, seed=0))


def test_unseen_values_fall_into_the_outer_bins() -> None:
    x = np.linspace(0, 1, 500)[:, None]
    forest = fitted(with_target(x, x[:, 0]), trees=1)
    bins = forest.to_bins(np.array([[-9.0], [0.5], [9.0]], dtype=np.float32))[:, 0]
    assert bins[0] == 0
    assert 60 <= bins[1] <= 67
    assert bins[2] == 127
