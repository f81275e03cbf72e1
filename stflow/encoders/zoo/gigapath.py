"""Prov-GigaPath's tile encoder: ViT-g/16 trained with DINOv2 on 1.3 billion tiles of 171,000 slides.

Xu et al., Nature 630, 2024. The authors enlarge a tile to 256 px and cut out the middle 224; STFlow cuts alone, which
leaves a tile of 224 px as it is, and so does the default here.
"""

from __future__ import annotations

from typing import ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.vit import ViTEncoder


class GigaPath(ViTEncoder):
    """1536 numbers a tile: the class token."""

    name: ClassVar[str] = "gigapath"
    dim = 1536
    n_params: ClassVar[int] = 1_134_953_984
    licence: ClassVar[str] = "Apache-2.0"
    weights: ClassVar[Weights] = Weights("prov-gigapath/prov-gigapath")
    transform = "centre crop 224; ImageNet normalisation"
    interpolation = "bicubic"
    patch_px: ClassVar[int] = 16
    width: ClassVar[int] = 1536
    depth: ClassVar[int] = 40
    heads: ClassVar[int] = 24
    hidden: ClassVar[int] = 8192
    variants: ClassVar = {
        "resize": {"resize": 256, "transform": "resize 256 bicubic, centre crop 224; ImageNet normalisation"}
    }
