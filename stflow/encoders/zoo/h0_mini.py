"""H0-mini: ViT-B/14 with four registers, distilled from H-optimus-0.

Filiot et al., arXiv 2501.16239, 2025.
"""

from __future__ import annotations

from typing import ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.vit import ViTEncoder


class H0Mini(ViTEncoder):
    """768 numbers a tile: the class token; with ``mean`` the mean of the patches after it, 1536 in all."""

    name: ClassVar[str] = "h0_mini"
    dim = 768
    n_params: ClassVar[int] = 85_739_520
    licence: ClassVar[str] = "CC-BY-NC-ND-4.0"
    weights: ClassVar[Weights] = Weights("bioptimus/H0-mini")
    transform = "resize 224 bicubic; Bioptimus normalisation"
    mean = (0.707223, 0.578729, 0.703617)
    std = (0.211883, 0.230117, 0.177517)
    resize = 224
    interpolation = "bicubic"
    width: ClassVar[int] = 768
    depth: ClassVar[int] = 12
    heads: ClassVar[int] = 12
    hidden: ClassVar[int] = 4096
    registers: ClassVar[int] = 4
    patches_alone_have_positions: ClassVar[bool] = True
    variants: ClassVar = {"mean": {"dim": 1536, "pooling": "cls+mean"}}
