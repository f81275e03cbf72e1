"""An encoder around another: what it does not change, it passes on."""

from __future__ import annotations

from typing import Any

import numpy as np

from stflow.encoders.base import Encoder

_PASSED_ON = ("name", "dim", "transform", "licence", "n_params", "input_px", "weights", "needs_gpu", "uses_torch")


class Wrapped(Encoder):
    """Base of the variants that every encoder of tiles has.

    Parameters
    ----------
    inner
        The encoder that it stands around; its attributes become the wrapper's own.
    """

    def __init__(self, inner: Encoder) -> None:
        super().__init__(inner.device, inner.precision, weights=inner.weights_path)
        self.inner = inner
        for attribute in _PASSED_ON:
            setattr(self, attribute, getattr(inner, attribute))
        self.cpu_batch: int | None = getattr(inner, "cpu_batch", None)

    @property
    def weights_sha256(self) -> str:
        """That of the encoder inside."""
        return self.inner.weights_sha256

    def fit_slide(self, tiles: np.ndarray) -> None:
        """See `Encoder.fit_slide`."""
        self.inner.fit_slide(tiles)

    def prepare(self, tiles: np.ndarray) -> np.ndarray:
        """See `Encoder.prepare`."""
        return self.inner.prepare(tiles)

    def encode(self, tiles: Any) -> np.ndarray:
        """See `Encoder.encode`."""
        return self.inner.encode(tiles)
