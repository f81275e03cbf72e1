"""Features at mean 0 and variance 1 over the training spots, or as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stflow.models.state import require_arrays

_MEAN, _SCALE = "features.mean", "features.scale"


@dataclass(frozen=True, eq=False)
class Scaling:
    """What is taken off each feature, and what it is divided by: (D,) float32 ``mean`` and ``scale``."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def none(cls, n_features: int) -> Scaling:
        """Features stay as they are."""
        return cls(np.zeros(n_features, dtype=np.float32), np.ones(n_features, dtype=np.float32))

    @classmethod
    def measured(cls, features: Sequence[np.ndarray]) -> Scaling:
        """Mean and standard deviation over all rows of several (N, D) arrays; constant features keep their size."""
        values = np.concatenate(list(features)).astype(np.float64)
        deviation = values.std(axis=0)
        constant = deviation <= 1e-6 * np.abs(values).max(axis=0)
        return cls(values.mean(axis=0).astype(np.float32), np.where(constant, 1.0, deviation).astype(np.float32))

    def apply(self, features: np.ndarray) -> np.ndarray:
        """(N, D) float32."""
        return (np.asarray(features, dtype=np.float32) - self.mean) / self.scale

    def state(self) -> dict[str, np.ndarray]:
        """As named arrays of a model file."""
        return {_MEAN: self.mean, _SCALE: self.scale}

    @classmethod
    def of_state(cls, state: Mapping[str, np.ndarray]) -> Scaling:
        """Inverse of `state`."""
        require_arrays({name: state[name] for name in (_MEAN, _SCALE)}, {_MEAN: "D", _SCALE: "D"})
        return cls(state[_MEAN], state[_SCALE])
