"""The one interface of every encoder. Light to import: torch loads inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np


class Encoder(ABC):
    """An image encoder.

    Class attributes: ``dim`` (feature size D), ``transform`` (what is done to a tile, in words, recorded in the
    features file), ``licence``, ``gated`` (whether a hub account must be granted access), ``needs_gpu``,
    ``uses_torch`` (False: NumPy alone, so that torch is not imported for it).
    """

    name: ClassVar[str]
    dim: ClassVar[int]
    transform: ClassVar[str]
    licence: ClassVar[str]
    gated: ClassVar[bool] = False
    needs_gpu: ClassVar[bool] = False
    uses_torch: ClassVar[bool] = True

    def __init__(self, device: str = "cpu", precision: str = "fp32") -> None:
        self.device = device
        self.precision = precision

    @property
    @abstractmethod
    def weights_sha256(self) -> str:
        """SHA-256 of the weights file; for an encoder without weights, of what defines it."""

    @abstractmethod
    def encode(self, tiles: np.ndarray) -> np.ndarray:
        """(B, 224, 224, 3) uint8 RGB tiles at 0.5 um/px -> (B, D) float32 features."""
