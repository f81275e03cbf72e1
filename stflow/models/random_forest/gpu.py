"""Forests by cuML on a GPU, the library of the paper; its trees are kept in the same plain arrays as the CPU's.

Facts of cuML 26: ``as_sklearn`` gives the trees in scikit-learn's form; since 26.08 the depth is not limited unless it
is set; with one stream the trees of a seed are grown in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stflow.models.random_forest import kernels
from stflow.models.random_forest.trees import Tree

if TYPE_CHECKING:
    from stflow.models.random_forest import RandomForestSettings


def grow_forests(
    bins: np.ndarray, y: np.ndarray, settings: RandomForestSettings, seeds: Sequence[int]
) -> tuple[list[list[Tree]], dict[str, object]]:
    """As `cpu.grow_forests`: (N, D) uint8 bins, (N, G) targets -> a forest a target, and facts for run.json."""
    import cuml

    x = bins.astype(np.float32)
    forests = []
    for column, seed in zip(y.T, seeds, strict=True):
        forest = cuml.ensemble.RandomForestRegressor(
            n_estimators=settings.trees,
            max_depth=settings.depth,
            n_bins=min(settings.bins, len(x)),
            max_features=settings.max_features,
            min_samples_leaf=settings.min_samples_leaf,
            bootstrap=settings.bootstrap,
            random_state=seed % 2**31,
            n_streams=1,
        ).fit(x, column.astype(np.float32))
        forests.append([from_sklearn(one.tree_) for one in forest.as_sklearn().estimators_])
    return forests, {"library": "cuml", "cuml": cuml.__version__, "threads": 1}


def from_sklearn(tree: Any) -> Tree:
    """A tree of scikit-learn's form on whole numbers, in whatever order its nodes are."""
    left = np.asarray(tree.children_left, dtype=np.int64)
    order, after = kernels.preorder(left, np.asarray(tree.children_right, dtype=np.int64))
    leaf = left[order] < 0
    after[leaf] = np.arange(leaf.sum())
    # A threshold lies on or above the last whole number that goes left.
    cut = np.where(leaf, 0, np.floor(tree.threshold[order]))
    return Tree(
        np.where(leaf, -1, tree.feature[order]).astype(np.int16),
        cut.astype(np.uint8),
        after.astype(np.int32),
        tree.value[order][leaf, 0, 0].astype(np.float32),
    )
