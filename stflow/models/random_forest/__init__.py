"""One random forest a gene on a spot's own features: the head that the paper puts on every foundation model.

The paper uses cuML's forest on a GPU with 70 trees; what that library set by default is set here by name: depth 16,
splits between 128 quantile bins of each feature, all features tried at a node, bootstrap with replacement, leaves of
one spot. `gpu` runs cuML itself where there is a GPU and the package; `cpu` grows trees of the same limits everywhere
else. A model of 10,000 spots x 50 genes is some 5,500 nodes a tree and 170 MB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from stflow.data.slide import Slide
from stflow.models.base import Fit, Method, Settings
from stflow.models.state import require_width
from stflow.seeds import entropy

if TYPE_CHECKING:
    from stflow.models.random_forest.trees import Trees


class RandomForestSettings(Settings):
    """Settings of the forest; the defaults are the paper's."""

    trees: int = Field(70, gt=0, description="trees a gene", json_schema_extra={"unit": "trees"})
    depth: int = Field(16, gt=0, description="splits from root to leaf at most", json_schema_extra={"unit": "splits"})
    bins: int = Field(128, ge=2, le=256, description="quantile bins of a feature", json_schema_extra={"unit": "bins"})
    max_features: float = Field(
        1.0, gt=0, le=1, description="share of the features tried at a node", json_schema_extra={"unit": "share"}
    )
    min_samples_leaf: int = Field(1, gt=0, description="spots of a leaf at least", json_schema_extra={"unit": "spots"})
    bootstrap: bool = Field(True, description="each tree sees N spots drawn with replacement; false: all spots")


class RandomForest(Method):
    """A forest a gene on a spot's own features, as the paper puts on every foundation model."""

    name = "random_forest"
    Settings = RandomForestSettings
    # Without cuML the forest grows on the CPU, and a GPU that its job asked for would stand idle.
    needs_gpu = find_spec("cuml") is not None

    if TYPE_CHECKING:
        settings: RandomForestSettings
    edges: np.ndarray  # (D, bins - 1) float32 edges between bins
    trees: Trees

    def fit(
        self,
        train: Sequence[Slide],
        select: Sequence[Slide],
        *,
        seed: int,
        checkpoint: Path | None = None,
        device: str = "cpu",
    ) -> Fit:
        """Grow the forests on all spots of ``train``; each gene's draws are named after it."""
        from stflow.models.random_forest.bins import edges_of, to_bins
        from stflow.models.random_forest.trees import Trees

        x = np.concatenate([slide.features[self.task.encoder] for slide in train])
        y = np.concatenate([slide.expression(self.task.genes) for slide in train])
        self.edges = edges_of(x, self.settings.bins)
        bins = to_bins(x, self.edges)
        seeds = [entropy(seed, *self.task.names, "random_forest", gene) for gene in self.task.genes]
        if device == "cuda" and find_spec("cuml"):
            from stflow.models.random_forest.gpu import grow_forests
        else:
            from stflow.models.random_forest.cpu import grow_forests
        forests, facts = grow_forests(bins, y, self.settings, seeds)
        self.trees = Trees.of(forests)
        return Fit(facts={"n_spots": len(x), "nodes_per_tree": self.trees.nodes_per_tree, **facts})

    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        """(N, G) float32: the mean of the trees' leaves, each gene's own forest; on the CPU, whatever grew them."""
        from stflow.models.random_forest.bins import to_bins

        features = slide.features[self.task.encoder]
        require_width(features.shape[1], len(self.edges), slide.name, self.task.encoder)
        return self.trees.predict(to_bins(features, self.edges))

    def state(self) -> Mapping[str, np.ndarray]:
        """``edges``, and the nodes of all trees: gene after gene, tree after tree (`trees.Trees`)."""
        return {"edges": self.edges, **self.trees.arrays()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of ``state``."""
        from stflow.models.random_forest.trees import Trees

        self.edges = state["edges"]
        self.trees = Trees(**{name: value for name, value in state.items() if name != "edges"})
        if self.edges.ndim != 2 or self.edges.dtype.kind != "f":
            raise ValueError(f"edges is {self.edges.shape} {self.edges.dtype}, not (D, bins - 1) and floating")
        if problem := self.trees.problem(n_features=len(self.edges), n_genes=len(self.task.genes)):
            raise ValueError(problem)
