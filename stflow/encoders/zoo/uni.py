"""UNI: ViT-L/16 trained with DINOv2 on 100 million tiles of 100,000 slides.

Chen et al., Nature Medicine 30, 2024.
"""

from __future__ import annotations

from typing import ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.vit import ViTEncoder


class UNI(ViTEncoder):
    """1024 numbers a tile: the class token."""

    name: ClassVar[str] = "uni"
    dim = 1024
    n_params: ClassVar[int] = 303_350_784
    licence: ClassVar[str] = "CC-BY-NC-ND-4.0"
    weights: ClassVar[Weights] = Weights("MahmoodLab/UNI")
    transform = "resize 224 bilinear; ImageNet normalisation"
    resize = 224
    patch_px: ClassVar[int] = 16
    width: ClassVar[int] = 1024
    depth: ClassVar[int] = 24
    heads: ClassVar[int] = 16
    hidden: ClassVar[int] = 4096
    swiglu: ClassVar[bool] = False
