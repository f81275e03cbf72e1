"""Phikon-v2: ViT-L/16 trained with DINOv2 on 456 million tiles of public slides.

Filiot et al., arXiv 2409.09173, 2024.
"""

from __future__ import annotations

from typing import ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.dinov2 import DINOv2Encoder


class PhikonV2(DINOv2Encoder):
    """1024 numbers a tile: the class token."""

    name: ClassVar[str] = "phikon_v2"
    dim = 1024
    n_params: ClassVar[int] = 303_349_760
    licence: ClassVar[str] = "Owkin non-commercial"
    weights: ClassVar[Weights] = Weights("owkin/phikon-v2")
    transform = "resize 224 bilinear; ImageNet normalisation"
    resize = 224
    patch_px: ClassVar[int] = 16
    width: ClassVar[int] = 1024
    depth: ClassVar[int] = 24
    heads: ClassVar[int] = 16
    hidden: ClassVar[int] = 4096
    swiglu: ClassVar[bool] = False
