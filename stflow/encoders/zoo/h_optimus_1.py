"""H-optimus-1: H-optimus-0's network, trained on a million slides of 800,000 patients.

Bioptimus, 2025.
"""

from __future__ import annotations

from typing import ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.zoo.h_optimus_0 import HOptimus0


class HOptimus1(HOptimus0):
    """1536 numbers a tile: the class token."""

    name: ClassVar[str] = "h_optimus_1"
    licence: ClassVar[str] = "CC-BY-NC-ND-4.0"
    weights: ClassVar[Weights] = Weights("bioptimus/H-optimus-1")
