"""Hibou-L: ViT-L/14 with four registers, trained with DINOv2 on 1.2 billion tiles of 1.1 million slides.

Nechaev et al., arXiv 2406.05074, 2024.
"""

from __future__ import annotations

from typing import ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.dinov2 import DINOv2Encoder


class HibouL(DINOv2Encoder):
    """1024 numbers a tile: the class token."""

    name: ClassVar[str] = "hibou_l"
    dim = 1024
    n_params: ClassVar[int] = 303_657_216
    licence: ClassVar[str] = "Apache-2.0"
    weights: ClassVar[Weights] = Weights("histai/hibou-L")
    transform = "resize 224 bicubic; Hibou normalisation"
    mean = (0.7068, 0.5755, 0.722)
    std = (0.195, 0.2316, 0.1816)
    resize = 224
    interpolation = "bicubic"
    width: ClassVar[int] = 1024
    depth: ClassVar[int] = 24
    heads: ClassVar[int] = 16
    hidden: ClassVar[int] = 5472
    registers: ClassVar[int] = 4
    antialias: ClassVar[bool] = True
