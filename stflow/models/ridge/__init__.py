"""Ridge regression as the HEST benchmark does it, and what costs little more: a chosen penalty, a look at neighbours.

Source: Jaume et al., "HEST-1k", NeurIPS 2024, and its benchmark code, which uses scikit-learn's ``StandardScaler``,
``PCA(256)`` and ``Ridge(solver="lsqr", alpha=100 / (n_components * n_genes), fit_intercept=False, max_iter=1000)``.
The same three steps, from the same library, with a seeded PCA; what is learned is kept as plain arrays.

Without an intercept the predictions have mean zero, whatever the gene's level. Pearson correlation does not see it,
squared error does; ``fit_intercept`` mends it for who needs the level.

Variants beside it: the penalty chosen on training patients left out in turn (`stflow.models.ridge.alpha`), predictions
averaged with those of the neighbours, and features joined with the mean of the neighbours' (`stflow.models.around`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from stflow.data.slide import Slide
from stflow.models.around import neighbour_means
from stflow.models.base import Fit, Method, Settings
from stflow.models.state import require_arrays, require_width
from stflow.seeds import entropy

if TYPE_CHECKING:
    from stflow.models.ridge.alpha import Chosen


class RidgeSettings(Settings):
    """Settings of the HEST benchmark's ridge, and of what is added to it."""

    components: int = Field(
        256,
        gt=0,
        description="principal components kept, at most the smaller of spots and features",
        json_schema_extra={"unit": "components"},
    )
    alpha: float | Literal["cv"] | None = Field(
        None,
        description="ridge penalty, 0 or more; default 100 / (components kept x genes), as the HEST benchmark; cv: the "
        "one of a grid that predicts training patients left out in turn best",
    )
    cv_lowest: float = Field(0.01, gt=0, description="lowest penalty that cv tries")
    cv_highest: float = Field(1e6, gt=0, description="highest penalty that cv tries")
    cv_tried: int = Field(
        17, gt=0, description="penalties that cv tries, at equal ratios", json_schema_extra={"unit": "penalties"}
    )
    cv_folds: int = Field(
        5, ge=2, description="times that cv leaves out training patients, at most", json_schema_extra={"unit": "folds"}
    )
    neighbours: int = Field(
        0,
        ge=0,
        description="adjacent spots whose mean features are joined to a spot's own; 0: none",
        json_schema_extra={"unit": "spots"},
    )
    fit_intercept: bool = Field(False, description="fit the level of each gene too; the HEST benchmark does not")
    max_iter: int = Field(
        1000, gt=0, description="iterations of LSQR at most", json_schema_extra={"unit": "iterations"}
    )
    own_weight: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of a spot's own prediction; the rest is the mean prediction of adjacent spots",
        json_schema_extra={"unit": "share"},
    )
    smoothed_over: int = Field(
        8,
        gt=0,
        description="adjacent spots, at most, that a prediction is averaged with",
        json_schema_extra={"unit": "spots"},
    )

    @model_validator(mode="after")
    def _penalties(self) -> RidgeSettings:
        if isinstance(self.alpha, float) and self.alpha < 0:
            raise ValueError(f"alpha = {self.alpha} must not be negative")
        if self.cv_lowest > self.cv_highest:
            raise ValueError(f"cv_lowest = {self.cv_lowest} lies above cv_highest = {self.cv_highest}")
        return self


class Ridge(Method):
    """Linear regression of log1p counts on the principal components of standardised features."""

    name = "ridge"
    Settings = RidgeSettings
    stochastic = False
    variants: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "alpha_cv": {"alpha": "cv"},
        # Of one trained model with the default: only what is made of the prediction differs.
        "smoothed": {"own_weight": 0.75},
        "smoothed_cv": {"alpha": "cv", "own_weight": 0.75},
        # A published row that is hard to beat: strong penalty, prediction smoothed.
        "smoothed_strong": {"alpha": 30000.0, "own_weight": 0.75},
        # The penalty is chosen: that of the HEST benchmark scores half as much on her2st (docs/baselines.md).
        "neighbours": {"neighbours": 8, "alpha": "cv"},
    }
    sampling = frozenset({"own_weight", "smoothed_over"})

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
        """Solve min |S w - y|^2 + alpha |w|^2 for each gene, S the (N, K) component scores of all training spots.

        With ``alpha: cv`` the facts tell the penalty, the score of each that was tried, and what was left out.
        """
        from sklearn.decomposition import PCA
        from sklearn.linear_model import Ridge as RidgeRegression
        from sklearn.preprocessing import StandardScaler

        s = self.settings
        x = np.concatenate([self.inputs(slide) for slide in train])
        y = np.concatenate([slide.expression(self.task.genes) for slide in train]).astype(np.float64)
        K, G = min(s.components, *x.shape), y.shape[1]
        facts: dict[str, object] = {"n_spots": len(x), "components": K}
        if s.alpha == "cv":
            chosen = self._choose(train, x, y)
            alpha = chosen.alpha
            facts |= {"left_out": chosen.left_out, "scores": chosen.scores}
        else:
            alpha = 100 / (K * G) if s.alpha is None else s.alpha
        scaler = StandardScaler()
        x = scaler.fit_transform(x)
        # Seeded by the run's names alone: the method has no seed, and two seeds must not differ.
        pca = PCA(K, random_state=entropy(0, *self.task.names, "ridge") % 2**32)
        model = RidgeRegression(alpha, solver="lsqr", fit_intercept=s.fit_intercept, max_iter=s.max_iter)
        model.fit(pca.fit_transform(x), y)
        self.centre = scaler.mean_ + pca.mean_ * scaler.scale_
        self.scale, self.axes = scaler.scale_, pca.components_
        self.weights = np.atleast_2d(model.coef_).T  # of one gene, scikit-learn gives a vector
        self.intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64), G).copy()
        return Fit(facts={**facts, "alpha": alpha, "iterations": int(np.max(model.n_iter_))})

    def _choose(self, train: Sequence[Slide], x: np.ndarray, y: np.ndarray) -> Chosen:
        """The penalty that predicts training spots left out best."""
        from stflow.models.ridge.alpha import choose, inner_folds

        s = self.settings
        left_out, fold = inner_folds(
            [slide.patient for slide in train],
            [slide.name for slide in train],
            [slide.centres_um for slide in train],
            s.cv_folds,
        )
        alphas = np.geomspace(s.cv_lowest, s.cv_highest, s.cv_tried).tolist()
        return choose(x, y, fold, left_out, alphas, s.components)

    def inputs(self, slide: Slide) -> np.ndarray:
        """(N, D) float64 features of the spots, or (N, 2 D) with the mean of their neighbours'."""
        own = slide.features[self.task.encoder].astype(np.float64)
        if not self.settings.neighbours:
            return own
        return np.concatenate([own, neighbour_means(own, slide.centres_um, self.settings.neighbours)], axis=1)

    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        """(N, G) float32 predicted log1p counts."""
        s = self.settings
        x = self.inputs(slide)
        require_width(x.shape[1], len(self.centre), slide.name, self.task.encoder)
        x = (x - self.centre) / self.scale
        predicted = x @ self.axes.T @ self.weights + self.intercept
        if s.own_weight < 1:
            around = neighbour_means(predicted, slide.centres_um, s.smoothed_over)
            predicted = s.own_weight * predicted + (1 - s.own_weight) * around
        return predicted.astype(np.float32)

    def state(self) -> Mapping[str, np.ndarray]:
        """``centre`` (D,), ``scale`` (D,), ``axes`` (K, D), ``weights`` (K, G), ``intercept`` (G,), all float64."""
        return {name: getattr(self, name) for name in ("centre", "scale", "axes", "weights", "intercept")}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of ``state``."""
        forms = {"centre": "D", "scale": "D", "axes": "KD", "weights": "KG", "intercept": "G"}
        require_arrays(state, forms, G=len(self.task.genes))
        for name in forms:
            setattr(self, name, state[name])
