"""H-optimus-1: H-optimus-0's network, trained on a million slides of 800,000 patients.

Bioptimus, 2025.
"""

from __future__ import annotations

from typing import ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.vit import ViTEncoder


class HOptimus1(ViTEncoder):
    """1536 numbers a tile: the class token."""

    name: ClassVar[str] = "h_optimus_1"
    dim = 1536
    n_params: ClassVar[int] = 1_134_774_272
    licence: ClassVar[str] = "CC-BY-NC-ND-4.0"
    weights: ClassVar[Weights] = Weights("bioptimus/H-optimus-1")
    transform = "resize 224 bilinear; Bioptimus normalisation"
    mean = (0.707223, 0.578729, 0.703617)
    std = (0.211883, 0.230117, 0.177517)
    resize = 224
    width: ClassVar[int] = 1536
    depth: ClassVar[int] = 40
    heads: ClassVar[int] = 24
    hidden: ClassVar[int] = 8192
    registers: ClassVar[int] = 4
    patches_alone_have_positions: ClassVar[bool] = True
