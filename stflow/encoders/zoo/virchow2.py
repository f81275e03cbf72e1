"""Virchow2: ViT-H/14 with four registers, trained with DINOv2 on 3.1 million slides.

Zimmermann et al., arXiv 2408.00738, 2024.
"""

from __future__ import annotations

from typing import ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.vit import ViTEncoder


class Virchow2(ViTEncoder):
    """2560 numbers a tile: the class token, then the mean of the patches."""

    name: ClassVar[str] = "virchow2"
    dim = 2560
    n_params: ClassVar[int] = 631_239_424
    licence: ClassVar[str] = "CC-BY-NC-ND-4.0"
    weights: ClassVar[Weights] = Weights("paige-ai/Virchow2")
    transform = "resize 224 bicubic; ImageNet normalisation"
    resize = 224
    interpolation = "bicubic"
    width: ClassVar[int] = 1280
    depth: ClassVar[int] = 32
    heads: ClassVar[int] = 16
    hidden: ClassVar[int] = 6832
    registers: ClassVar[int] = 4
    pooling = "cls+mean"
