"""Grown trees as plain arrays: what a model file holds, and prediction from it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from stflow.device import get_threads
from stflow.models.random_forest import kernels


class Tree(NamedTuple):
    """One tree in preorder: the left child of a node is the next row.

    feature
        (nodes,) int16 feature tested; -1 at a leaf.
    cut
        (nodes,) uint8: go left if the spot's bin is <= cut.
    next
        (nodes,) int32: row of the right child; at a leaf, its row in ``value``.
    value
        (leaves,) float32 mean of the leaf's spots.
    """

    feature: np.ndarray
    cut: np.ndarray
    next: np.ndarray
    value: np.ndarray


#: Types of the arrays of `Trees`.
_KINDS = {"roots": "int64", "leaves": "int64", "feature": "int16", "cut": "uint8", "next": "int32", "value": "float32"}


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """All trees of all genes: the arrays of `Tree` one after the other, nine bytes a node."""

    roots: np.ndarray  # (G, trees) int64 first row of each tree in feature, cut and next
    leaves: np.ndarray  # (G, trees) int64 first row of each tree in value
    feature: np.ndarray
    cut: np.ndarray
    next: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, forests: Sequence[Sequence[Tree]]) -> Trees:
        """Join G forests of equally many trees."""
        trees = [tree for forest in forests for tree in forest]
        sizes = np.array([[len(tree.feature), len(tree.value)] for tree in trees], dtype=np.int64)
        first = (np.cumsum(sizes, axis=0) - sizes).T.reshape(2, len(forests), -1)
        joined = (np.concatenate(arrays) for arrays in zip(*trees, strict=True))
        return cls(*np.ascontiguousarray(first), *joined)

    @property
    def nodes_per_tree(self) -> float:
        """Mean number of nodes, leaves among them."""
        return len(self.feature) / self.roots.size

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def problem(self, *, n_features: int, n_genes: int) -> str:
        """Why these arrays of a file are no trees for (N, n_features) bins, in words; empty if they are.

        The compiled walk goes where they point: every step must lead down its own tree and end at one of its leaves.
        """
        for name, kind in _KINDS.items():
            array, dimensions = getattr(self, name), 2 if name in ("roots", "leaves") else 1
            if array.dtype != kind or array.ndim != dimensions:
                return f"{name} is {array.shape} {array.dtype}, not {dimensions}-dimensional {kind}"
        if self.roots.shape != self.leaves.shape or len(self.roots) != n_genes or not self.roots.size:
            return f"roots are {self.roots.shape}, leaves {self.leaves.shape}, for {n_genes} genes"
        if not len(self.feature) == len(self.cut) == len(self.next):
            return f"{len(self.feature)} nodes, {len(self.cut)} cuts and {len(self.next)} next rows"
        first, first_leaf = self.roots.ravel(), self.leaves.ravel()
        end, end_leaf = (np.append(a[1:], len(b)) for a, b in ((first, self.feature), (first_leaf, self.value)))
        if first[0] != 0 or first_leaf[0] != 0 or (end <= first).any() or (end_leaf <= first_leaf).any():
            return "its trees do not stand one after the other"
        for lo, hi, n_leaves in zip(first, end, end_leaf - first_leaf, strict=True):
            feature, after, row = self.feature[lo:hi], self.next[lo:hi], np.arange(hi - lo)
            inner = feature >= 0
            if (feature[inner] >= n_features).any():
                return f"the tree at node {lo} looks at a feature beyond {n_features}"
            if (after[inner] <= row[inner] + 1).any() or (after[inner] >= hi - lo).any():
                return f"the tree at node {lo} leads out of itself, or back"
            if (after[~inner] < 0).any() or (after[~inner] >= n_leaves).any():
                return f"the tree at node {lo} has a leaf beyond its {n_leaves}"
        return ""

    def predict(self, bins: np.ndarray) -> np.ndarray:
        """(N, G) float32 mean over each gene's trees for (N, D) uint8 bins; threads share the spots."""
        total = np.zeros((len(bins), len(self.roots)))
        limits = np.linspace(0, len(bins), get_threads() + 1).astype(int)

        def walk(lo: int, hi: int) -> None:
            kernels.add_leaves(
                bins[lo:hi], self.roots, self.leaves, self.feature, self.cut, self.next, self.value, total[lo:hi]
            )

        with ThreadPoolExecutor(get_threads()) as pool:
            list(pool.map(walk, limits[:-1], limits[1:]))
        return (total / self.roots.shape[1]).astype(np.float32)
