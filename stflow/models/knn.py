"""The mean expression of the training spots that look most alike: regression by nearest neighbours.

Features are standardised and reduced to principal components, as `stflow.models.ridge` does it; then every training
spot is compared, in chunks, so that memory stays bounded and the answer exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from stflow.data.slide import Slide
from stflow.models.base import Fit, Method, Settings
from stflow.models.state import require_arrays, require_width
from stflow.seeds import entropy

#: Distances held at once: 64 MB.
_MOST_DISTANCES = 1 << 23


class KNNSettings(Settings):
    """Settings of the regression."""

    neighbours: int = Field(
        50, gt=0, description="most similar training spots averaged, k", json_schema_extra={"unit": "spots"}
    )
    components: int | None = Field(
        256,
        gt=0,
        description="principal components of the standardised features that are compared; null: the features",
        json_schema_extra={"unit": "components"},
    )
    distance: Literal["cosine", "euclidean"] = Field("cosine", description="how unlike two spots are")
    weights: Literal["uniform", "distance"] = Field(
        "uniform", description="uniform: the mean of the k; distance: weighted by 1 / distance"
    )


class KNN(Method):
    """Mean log1p counts of the k training spots with the most similar features."""

    name = "knn"
    Settings = KNNSettings
    stochastic = False

    if TYPE_CHECKING:
        settings: KNNSettings
    centre: np.ndarray  # (D,) float64 feature means
    scale: np.ndarray  # (D,) float64 feature standard deviations
    axes: np.ndarray  # (K, D) float64 principal axes; (0, D) where the features themselves are compared
    reference: np.ndarray  # (M, K) float32 training spots, as they are compared
    expression: np.ndarray  # (M, G) float32 their log1p counts

    def fit(
        self,
        train: Sequence[Slide],
        select: Sequence[Slide],
        *,
        seed: int,
        checkpoint: Path | None = None,
        device: str = "cpu",
    ) -> Fit:
        """Keep all training spots."""
        from sklearn.decomposition import PCA
        from sklearn.preprocessing import StandardScaler

        x = np.concatenate([slide.features[self.task.encoder] for slide in train]).astype(np.float64)
        scaler = StandardScaler().fit(x)
        self.centre, self.scale = scaler.mean_, scaler.scale_
        self.axes = np.zeros((0, x.shape[1]))
        if self.settings.components:
            # Seeded by the run's names alone: the method has no seed, and two seeds must not differ.
            random_state = entropy(0, *self.task.names, "knn") % 2**32
            pca = PCA(min(self.settings.components, *x.shape), random_state=random_state)
            self.axes = pca.fit(scaler.transform(x)).components_
        self.reference = self._compared(x)
        self.expression = np.concatenate([slide.expression(self.task.genes) for slide in train])
        return Fit(facts={"n_spots": len(x), "compared": self.reference.shape[1]})

    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        """(N, G) float32; of equally distant training spots the first rows count."""
        require_width(slide.features[self.task.encoder].shape[1], len(self.centre), slide.name, self.task.encoder)
        queries = self._compared(slide.features[self.task.encoder].astype(np.float64))
        size = max(1, _MOST_DISTANCES // len(self.reference))
        parts = [self._averaged(queries[start : start + size]) for start in range(0, len(queries), size)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.task.genes)), dtype=np.float32)

    def _compared(self, x: np.ndarray) -> np.ndarray:
        """(N, D) features -> (N, K) float32 as they are compared; of unit length where angles are."""
        x = (x - self.centre) / self.scale
        if len(self.axes):
            x = x @ self.axes.T
        if self.settings.distance == "cosine":
            length = np.linalg.norm(x, axis=1, keepdims=True)
            x = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
        return x.astype(np.float32)

    def _averaged(self, queries: np.ndarray) -> np.ndarray:
        """(B, G) float32 mean expression of the spots nearest to (B, K) queries."""
        from sklearn.metrics.pairwise import euclidean_distances

        # Between vectors of unit length, half the squared distance is one minus the cosine.
        squared = euclidean_distances(queries, self.reference, squared=True).astype(np.float64)
        distance = squared / 2 if self.settings.distance == "cosine" else np.sqrt(squared)
        rows = nearest_rows(distance, self.settings.neighbours)
        near = self.expression[rows].astype(np.float64)  # (B, k, G)
        if self.settings.weights == "uniform":
            return near.mean(axis=1).astype(np.float32)
        found = np.take_along_axis(distance, rows, axis=1)
        same = found <= 0
        # A query that is a training spot gets that spot's expression, not infinity.
        weight = np.where(same.any(axis=1, keepdims=True), same, 1 / np.where(same, 1, found))
        return np.einsum("bk,bkg->bg", weight / weight.sum(axis=1, keepdims=True), near).astype(np.float32)

    def state(self) -> Mapping[str, np.ndarray]:
        """``centre`` (D,), ``scale`` (D,), ``axes`` (K, D), ``reference`` (M, K), ``expression`` (M, G)."""
        return {name: getattr(self, name) for name in ("centre", "scale", "axes", "reference", "expression")}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of ``state``."""
        forms = {"centre": "D", "scale": "D", "axes": "AD", "reference": "MK", "expression": "MG"}
        sizes = require_arrays(state, forms, G=len(self.task.genes))
        if sizes["K"] != (sizes["A"] or sizes["D"]) or not sizes["M"]:
            raise ValueError(f"its reference is {state['reference'].shape}, its axes are {state['axes'].shape}")
        for name in forms:
            setattr(self, name, state[name])


def nearest_rows(distance: np.ndarray, k: int) -> np.ndarray:
    """(B, k) columns of the smallest entries of each row of (B, M) ``distance``, smallest first; of equals the first.

    All M columns where there are no more than k.
    """
    k = min(k, distance.shape[1])
    furthest = np.partition(distance, k - 1, axis=1)[:, k - 1]
    rows = np.empty((len(distance), k), dtype=np.int64)
    for query, (row, limit) in enumerate(zip(distance, furthest, strict=True)):
        candidates = np.flatnonzero(row <= limit)
        rows[query] = candidates[np.argsort(row[candidates], kind="stable")[:k]]
    return rows
