"""Ridge regression as the HEST benchmark does it: standardise, 256 principal components, ridge without intercept.

Source: Jaume et al., "HEST-1k", NeurIPS 2024, and its benchmark code, which uses scikit-learn's ``StandardScaler``,
``PCA(256)`` and ``Ridge(solver="lsqr", alpha=100 / (n_components * n_genes), fit_intercept=False, max_iter=1000)``.
The same three steps, from the same library, with a seeded PCA; what is learned is kept as plain arrays.

Without an intercept the predictions have mean zero, whatever the gene's level. Pearson correlation does not see it,
squared error does; ``fit_intercept`` mends it for who needs the level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from stflow.data.slide import Slide
from stflow.models.base import Fit, Method, Settings
from stflow.seeds import entropy


class RidgeSettings(Settings):
    """Settings of the HEST benchmark's ridge."""

    components: int = Field(
        256,
        gt=0,
        description="principal components kept, at most the smaller of spots and features",
        json_schema_extra={"unit": "components"},
    )
    alpha: float | None = Field(
        None, ge=0, description="ridge penalty; default 100 / (components kept x genes), as the HEST benchmark"
    )
    fit_intercept: bool = Field(False, description="fit the level of each gene too; the HEST benchmark does not")
    max_iter: int = Field(
        1000, gt=0, description="iterations of LSQR at most", json_schema_extra={"unit": "iterations"}
    )


class Ridge(Method):
    """Linear regression of log1p counts on the principal components of standardised features."""

    name = "ridge"
    Settings = RidgeSettings
    stochastic = False

    if TYPE_CHECKING:
        settings: RidgeSettings
    centre: np.ndarray  # (D,) feature means
    scale: np.ndarray  # (D,) feature standard deviations
    axes: np.ndarray  # (K, D) principal axes of the standardised features
    weights: np.ndarray  # (K, G)
    intercept: np.ndarray  # (G,)

    def fit(
        self,
        train: Sequence[Slide],
        select: Sequence[Slide],
        *,
        seed: int,
        checkpoint: Path | None = None,
        device: str = "cpu",
    ) -> Fit:
        """Solve min |S w - y|^2 + alpha |w|^2 for each gene, S the (N, K) component scores of all training spots."""
        from sklearn.decomposition import PCA
        from sklearn.linear_model import Ridge as RidgeRegression
        from sklearn.preprocessing import StandardScaler

        x = np.concatenate([slide.features[self.task.encoder] for slide in train]).astype(np.float64)
        y = np.concatenate([slide.expression(self.task.genes) for slide in train]).astype(np.float64)
        scaler = StandardScaler()
        x = scaler.fit_transform(x)
        K, G = min(self.settings.components, *x.shape), y.shape[1]
        # Seeded by the run's names alone: the method has no seed, and two seeds must not differ.
        pca = PCA(K, random_state=entropy(0, *self.task.names, "ridge") % 2**32)
        alpha = 100 / (K * G) if self.settings.alpha is None else self.settings.alpha
        model = RidgeRegression(
            alpha,
            solver="lsqr",
            fit_intercept=self.settings.fit_intercept,
            max_iter=self.settings.max_iter,
        ).fit(pca.fit_transform(x), y)
        self.centre = scaler.mean_ + pca.mean_ * scaler.scale_
        self.scale, self.axes = scaler.scale_, pca.components_
        self.weights = model.coef_.T
        self.intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64), G).copy()
        return Fit(
            facts={
                "n_spots": len(x),
                "components": K,
                "alpha": alpha,
                "iterations": int(np.max(model.n_iter_)),
            }
        )

    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        """(N, G) float32 predicted log1p counts."""
        x = (slide.features[self.task.encoder].astype(np.float64) - self.centre) / self.scale
        return (x @ self.axes.T @ self.weights + self.intercept).astype(np.float32)

    def state(self) -> Mapping[str, np.ndarray]:
        """``centre`` (D,), ``scale`` (D,), ``axes`` (K, D), ``weights`` (K, G), ``intercept`` (G,), all float64."""
        return {name: getattr(self, name) for name in ("centre", "scale", "axes", "weights", "intercept")}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of ``state``."""
        for name, value in state.items():
            setattr(self, name, value)
