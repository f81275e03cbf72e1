"""The forest: its trees are CART's within their limits, its numbers depend on names and seed alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from stflow.data.slide import Slide
from stflow.models.base import Task
from stflow.models.random_forest import RandomForest, RandomForestSettings
from stflow.models.random_forest.bins import edges_of, to_bins
from stflow.models.random_forest.trees import Trees

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


def depths(trees: Trees, tree: int = 0) -> list[int]:
    """Splits above each leaf of one tree."""
    root, found, waiting = trees.roots.ravel()[tree], [], [(0, 0)]
    while waiting:
        node, depth = waiting.pop()
        if trees.feature[root + node] < 0:
            found.append(depth)
        else:
            waiting += [(node + 1, depth + 1), (trees.next[root + node], depth + 1)]
    return found


@pytest.mark.parametrize("depth", [1, 3, 6])
@pytest.mark.parametrize("n_spots", [20, 200, 2500])
@pytest.mark.parametrize("n_features", [5, 8, 21])
def test_one_tree_is_scikit_learns(depth: int, n_spots: int, n_features: int) -> None:
    """Each value has a bin of its own and no two gains are equal: the best splits are unique."""
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(depth)
    x = rng.permuted(np.tile(np.arange(n_spots)[:, None] % 60, n_features), axis=0).astype(np.float32)
    y = rng.normal(size=n_spots) + 0.05 * x[:, 0]
    slide = with_target(x, y)
    forest = fitted(slide, genes=("A",), trees=1, depth=depth, bootstrap=False, min_samples_leaf=3)
    tree = DecisionTreeRegressor(max_depth=depth, min_samples_leaf=3, random_state=0).fit(x, y.astype(np.float32))
    np.testing.assert_allclose(forest.predict(slide, seed=0)[:, 0], tree.predict(x), rtol=1e-5, atol=1e-6)


def test_forest_agrees_with_scikit_learns_exact_one_on_other_spots() -> None:
    """As well as scikit-learn's agrees with itself under another seed, and with the same score."""
    from sklearn.ensemble import RandomForestRegressor

    train, test = make_slide("one", 300, 0), make_slide("test", 300, 1)
    x, y = train.features["e"], train.expression(GENES)[:, 0]
    ours = fitted(train, genes=("A",)).predict(test, seed=0)[:, 0]
    one, two = (
        RandomForestRegressor(70, max_depth=16, random_state=seed).fit(x, y).predict(test.features["e"])
        for seed in (0, 1)
    )
    truth = test.expression(GENES)[:, 0]
    score, theirs = (np.corrcoef(p, truth)[0, 1] for p in (ours, one))
    assert score > 0.5
    assert abs(score - theirs) < 0.03
    assert np.corrcoef(ours, one)[0, 1] > np.corrcoef(one, two)[0, 1] - 0.02


def test_an_interaction_of_features_is_learned() -> None:
    forest = fitted(make_slide("one", 400, 0), trees=30)
    test = make_slide("test", 300, 1)
    assert np.corrcoef(forest.predict(test, seed=0)[:, 1], test.expression(GENES)[:, 1])[0, 1] > 0.5


@pytest.mark.parametrize("max_features", [1.0, 0.4])
def test_limits_hold(max_features: float) -> None:
    slide = make_slide("one", 400, 0)
    forest = fitted(slide, trees=2, depth=5, bins=7, max_features=max_features)
    assert max(max(depths(forest.trees, tree)) for tree in range(6)) == 5
    assert forest.edges.shape == (6, 6)
    assert forest.trees.cut.max() <= 5  # the last of seven bins is right of every cut
    forest = fitted(slide, trees=1, min_samples_leaf=50, bootstrap=False, max_features=max_features)
    assert min(np.unique(forest.predict(slide, seed=0)[:, 0], return_counts=True)[1]) >= 50


def test_a_leaf_counts_a_spot_as_often_as_it_was_drawn() -> None:
    """As cuML does: of 40 draws, leaves of 20 leave room for one split, though fewer spots stand behind them."""
    forest = fitted(make_slide("one", 40, 0), trees=20, min_samples_leaf=20)
    assert max(len(depths(forest.trees, tree)) for tree in range(60)) == 2


def test_a_bootstrap_draws_with_replacement() -> None:
    """The mean of n draws with replacement has variance var / n; .632 n spots without would give .58 of it."""
    y = np.random.default_rng(0).normal(size=200)
    slide = with_target(np.zeros((200, 1)), y)
    means = fitted(slide, genes=("A",), trees=2000).trees.value
    assert len(means) == 2000
    np.testing.assert_allclose(means.var() / (y.var() / 200), 1, atol=0.12)
    np.testing.assert_allclose(means.mean(), y.mean(), atol=4 * y.std() / 200**0.5 / 2000**0.5)
    whole = fitted(slide, genes=("A",), trees=3, bootstrap=False).trees.value
    np.testing.assert_allclose(whole, y.mean(), rtol=1e-5)


def test_equal_features_are_chosen_equally_often() -> None:
    """Twelve copies of one feature: every split is a tie."""
    x = np.repeat(np.random.default_rng(0).normal(size=(60, 1)), 12, axis=1)
    for max_features in (1.0, 0.3):
        forest = fitted(with_target(x, x[:, 0] ** 2), trees=40, max_features=max_features)
        chosen = np.bincount(forest.trees.feature[forest.trees.feature >= 0], minlength=12)
        assert chosen.min() > 0.8 * chosen.mean()
        assert chosen.max() < 1.2 * chosen.mean()


def test_features_that_do_not_differ_do_not_count_as_tried() -> None:
    """One feature a node is tried, and nine of ten are constant: the tree still grows."""
    x = np.zeros((100, 10))
    x[:, 7] = np.random.default_rng(0).normal(size=100)
    slide = with_target(x, x[:, 7])
    forest = fitted(slide, trees=1, max_features=0.1, bootstrap=False)
    np.testing.assert_allclose(forest.predict(slide, seed=0)[:, 0], x[:, 7], rtol=1e-5, atol=1e-6)


def test_a_constant_gene_or_feature_is_one_leaf() -> None:
    slide = with_target(np.random.default_rng(0).normal(size=(50, 6)), np.full(50, 1.25))
    forest = fitted(slide, trees=3)
    assert (forest.trees.feature == -1).all()
    np.testing.assert_array_equal(forest.predict(slide, seed=0), np.full((50, 3), 1.25, np.float32))
    flat = make_slide("one", 50, 0, np.ones((50, 6)))
    assert (fitted(flat, trees=2).trees.feature == -1).all()


def test_a_slide_of_one_spot() -> None:
    """As training slide it is what every spot gets; as test slide it gets what it gets among others."""
    one, many = make_slide("one", 1, 0), make_slide("many", 60, 1)
    predicted = fitted(one, trees=2).predict(many, seed=0)
    np.testing.assert_allclose(predicted, np.repeat(one.expression(GENES), 60, axis=0), rtol=1e-6)
    forest = fitted(many, trees=3)
    first = forest.predict(many.subset(np.array([0])), seed=0)
    np.testing.assert_array_equal(first, forest.predict(many, seed=0)[:1])


def test_same_seed_same_bits_other_seed_other_forest() -> None:
    slide = make_slide("one", 120, 0)
    first, again, other = (fitted(slide, seed=seed, trees=5).predict(slide, seed=0) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_same_bits_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    slide = make_slide("one", 301, 0)
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        forest = fitted(slide, trees=4, max_features=0.5)
        found.append({**forest.state(), "predicted": forest.predict(slide, seed=0)})
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name])


def test_neither_other_genes_nor_their_order_matter() -> None:
    slide = make_slide("one", 120, 0)
    together = fitted(slide, trees=5).predict(slide, seed=0)
    np.testing.assert_array_equal(fitted(slide, genes=("C",), trees=5).predict(slide, seed=0)[:, 0], together[:, 2])
    turned = fitted(slide, genes=GENES[::-1], trees=5).predict(slide, seed=0)
    np.testing.assert_array_equal(turned, together[:, ::-1])


def test_more_trees_begin_with_the_same_ones() -> None:
    slide = make_slide("one", 100, 0)
    few, many = (fitted(slide, genes=("A",), trees=trees).trees for trees in (2, 5))
    np.testing.assert_array_equal(many.feature[: len(few.feature)], few.feature)


def test_saved_and_loaded_predicts_the_same_bits(tmp_path: Path) -> None:
    slide = make_slide("one", 80, 0)
    forest = fitted(slide, trees=4, max_features=0.5)
    forest.save(tmp_path / "model.safetensors")
    loaded = RandomForest.load(tmp_path / "model.safetensors")
    assert loaded.settings == forest.settings
    np.testing.assert_array_equal(loaded.predict(slide, seed=0), forest.predict(slide, seed=0))


def test_unseen_values_fall_into_the_outer_bins() -> None:
    edges = edges_of(np.linspace(0, 1, 500)[:, None], 128)
    bins = to_bins(np.array([[-9.0], [0.5], [9.0]], dtype=np.float32), edges)[:, 0]
    assert bins[0] == 0
    assert 60 <= bins[1] <= 67
    assert bins[2] == 127


def test_facts_say_what_grew_the_trees() -> None:
    slide = make_slide("one", 40, 0)
    forest = RandomForest(RandomForestSettings(trees=2), Task(GENES, "e", ("IDC", 0)))
    facts = forest.fit([slide], [], seed=0).facts
    assert facts["n_spots"] == 40
    assert facts["nodes_per_tree"] == len(forest.trees.feature) / 6
    assert {"library", "numba", "threads"} <= facts.keys()


class FakeCuml(ModuleType):
    """cuML's interface on scikit-learn's trees: what `gpu` asks of the library, and nothing of how it computes."""

    __version__ = "0.fake"

    def __init__(self) -> None:
        super().__init__("cuml")
        self.asked: list[dict[str, Any]] = []
        self.ensemble = SimpleNamespace(RandomForestRegressor=self.regressor)

    def regressor(self, *, n_bins: int, n_streams: int, **settings: Any) -> Any:
        from sklearn.ensemble import RandomForestRegressor

        self.asked.append({"n_bins": n_bins, "n_streams": n_streams, **settings})
        forest = RandomForestRegressor(**settings)
        forest.as_sklearn = lambda: forest
        return forest


@pytest.fixture
def fake_cuml(monkeypatch: pytest.MonkeyPatch) -> FakeCuml:
    fake = FakeCuml()
    fake.__spec__ = SimpleNamespace(name="cuml")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "cuml", fake)
    return fake


def test_on_a_gpu_cumls_trees_are_kept(fake_cuml: FakeCuml) -> None:
    """Limits and seeds reach the library, and the arrays predict what its trees do."""
    from sklearn.ensemble import RandomForestRegressor

    train, test = make_slide("one", 200, 0), make_slide("test", 100, 1)
    forest = RandomForest(RandomForestSettings(trees=7, depth=9), Task(GENES, "e", ("IDC", 0)))
    facts = forest.fit([train], [], seed=0, device="cuda").facts
    assert facts["library"] == "cuml"
    assert facts["cuml"] == "0.fake"
    asked = fake_cuml.asked[0]
    assert len({each["random_state"] for each in fake_cuml.asked}) == 3
    assert {
        "n_bins": 128,
        "n_streams": 1,
        "max_depth": 9,
        "n_estimators": 7,
        "bootstrap": True,
    }.items() <= asked.items()
    bins = [to_bins(slide.features["e"], forest.edges).astype(np.float32) for slide in (train, test)]
    theirs = RandomForestRegressor(7, max_depth=9, random_state=asked["random_state"])
    theirs.fit(bins[0], train.expression(("A",))[:, 0])
    np.testing.assert_allclose(forest.predict(test, seed=0)[:, 0], theirs.predict(bins[1]), rtol=1e-5)
    assert forest.fit([train], [], seed=0, device="cpu").facts["library"] != "cuml"


def test_a_tree_in_any_order_of_nodes_is_read_right() -> None:
    """Exported trees may come level by level; scikit-learn's own come in preorder already."""
    from sklearn.tree import DecisionTreeRegressor

    from stflow.models.random_forest.gpu import from_sklearn

    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 40, (150, 4)).astype(np.float32), rng.normal(size=150)
    tree = DecisionTreeRegressor(random_state=0).fit(x, y).tree_
    place = np.r_[0, 1 + rng.permutation(tree.node_count - 1)]  # node -> its row in the mixed tree
    mixed: dict[str, np.ndarray] = {}
    for name in ("children_left", "children_right", "feature", "threshold", "value"):
        mixed[name] = np.empty_like(getattr(tree, name))
        mixed[name][place] = getattr(tree, name)
    for name in ("children_left", "children_right"):
        mixed[name] = np.where(mixed[name] < 0, -1, place[mixed[name]])
    plain, turned = from_sklearn(tree), from_sklearn(SimpleNamespace(**mixed))
    for one, two in zip(plain, turned, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(Trees.of([[plain]]).predict(x.astype(np.uint8))[:, 0], y, rtol=1e-6)


def test_a_gpu_is_asked_for_only_where_cuml_is() -> None:
    code = "import sys; from types import ModuleType; from importlib.machinery import ModuleSpec\n"
    fake = "m = ModuleType('cuml'); m.__spec__ = ModuleSpec('cuml', None); sys.modules['cuml'] = m\n"
    ask = "from stflow.models.random_forest import RandomForest; print(RandomForest.needs_gpu)"
    said = subprocess.run([sys.executable, "-c", code + fake + ask], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "True"
    hide = "sys.modules['cuml'] = None; import importlib.util; find = importlib.util.find_spec\n"
    none = "importlib.util.find_spec = lambda name, *rest: None if name == 'cuml' else find(name, *rest)\n"
    said = subprocess.run([sys.executable, "-c", code + hide + none + ask], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
