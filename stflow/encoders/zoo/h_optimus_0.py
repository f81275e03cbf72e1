"""H-optimus-0: ViT-g/14 with four registers, trained with DINOv2 on 500,000 slides.

Saillard et al., Bioptimus, 2024.
"""

from __future__ import annotations

from typing import ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.vit import ViTEncoder


class HOptimus0(ViTEncoder):
    """1536 numbers a tile: the class token."""

    name: ClassVar[str] = "h_optimus_0"
    dim = 1536
    n_params: ClassVar[int] = 1_134_774_272
    licence: ClassVar[str] = "Apache-2.0"
    weights: ClassVar[Weights] = Weights("bioptimus/H-optimus-0")
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
