"""UNI2-h: ViT-H/14 with eight registers, trained with DINOv2 on 200 million tiles of 350,000 slides.

Chen et al., Nature Medicine 30, 2024 (UNI); the second release, January 2025.
"""

from __future__ import annotations

from typing import ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.vit import ViTEncoder


class UNI2H(ViTEncoder):
    """1536 numbers a tile: the class token."""

    name: ClassVar[str] = "uni2_h"
    dim = 1536
    n_params: ClassVar[int] = 681_394_176
    licence: ClassVar[str] = "CC-BY-NC-ND-4.0"
    weights: ClassVar[Weights] = Weights("MahmoodLab/UNI2-h")
    transform = "resize 224 bilinear; ImageNet normalisation"
    resize = 224
    width: ClassVar[int] = 1536
    depth: ClassVar[int] = 24
    heads: ClassVar[int] = 24
    hidden: ClassVar[int] = 8192
    registers: ClassVar[int] = 8
    patches_alone_have_positions: ClassVar[bool] = True
