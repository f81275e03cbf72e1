"""The gene's training mean, wherever the spot: the floor that every method must beat.

Its Pearson correlation is 0 by definition (`stflow.evaluation.metrics`); its squared error is not, and says how much
of a method's error an informed constant already removes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stflow.data.slide import Slide
from stflow.layout import TILES
from stflow.models.base import Fit, Method, Settings, SettingsBase
from stflow.models.state import require_arrays


class MeanSettings(Settings):
    """The mean has nothing to set."""


class Mean(Method):
    """Mean log1p count of each gene over all spots of the training slides."""

    name = "mean"
    Settings = MeanSettings
    stochastic = False

    mean: np.ndarray  # (G,)

    @classmethod
    def own_encoders(cls, settings: SettingsBase) -> tuple[str, ...]:
        """None: it looks at no picture."""
        del settings
        return (TILES,)

    def fit(
        self,
        train: Sequence[Slide],
        select: Sequence[Slide],
        *,
        seed: int,
        checkpoint: Path | None = None,
        device: str = "cpu",
    ) -> Fit:
        """Average every gene over the spots of ``train``, each spot counted once."""
        total = sum(slide.expression(self.task.genes).sum(axis=0, dtype=np.float64) for slide in train)
        n_spots = sum(map(len, train))
        self.mean = np.asarray(total / n_spots, dtype=np.float32)
        return Fit(facts={"n_spots": n_spots})

    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        """(N, G) float32, every row the same."""
        return np.tile(self.mean, (len(slide), 1))

    def state(self) -> Mapping[str, np.ndarray]:
        """``mean`` (G,)."""
        return {"mean": self.mean}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of ``state``."""
        require_arrays(state, {"mean": "G"}, G=len(self.task.genes))
        self.mean = state["mean"]
