"""Midnight-12k: ViT-g/14 trained with DINOv2 on 12,000 public slides.

Karasikov et al., arXiv 2504.05186, 2025.
"""

from __future__ import annotations

from typing import ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.dinov2 import DINOv2Encoder


class Midnight(DINOv2Encoder):
    """3072 numbers a tile: the class token, then the mean of the patches."""

    name: ClassVar[str] = "midnight"
    dim = 3072
    n_params: ClassVar[int] = 1_134_768_128
    licence: ClassVar[str] = "MIT"
    weights: ClassVar[Weights] = Weights("kaiko-ai/midnight")
    transform = "resize 224 bilinear; mean and deviation 0.5"
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    resize = 224
    width: ClassVar[int] = 1536
    depth: ClassVar[int] = 40
    heads: ClassVar[int] = 24
    hidden: ClassVar[int] = 8192
    pooling = "cls+mean"
