"""CTransPath: Swin-T whose patches are cut by convolutions, trained by semantically relevant contrastive learning.

Wang et al., Medical Image Analysis 81, 2022; the network of Liu et al., ICCV 2021 (Swin). The file has the names of
timm 0.5: there a stage ends with the merging of patches that now begins the next.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.network import NetworkEncoder

if TYPE_CHECKING:
    import torch

_MERGING = re.compile(r"^layers\.(\d+)\.downsample\.")
#: Tables that follow from the sizes alone; the network makes its own.
_TABLES = (".attn_mask", ".relative_position_index")


class CTransPath(NetworkEncoder):
    """768 numbers a tile: the mean of the last stage's tokens after the last norm."""

    name: ClassVar[str] = "ctranspath"
    dim = 768
    n_params: ClassVar[int] = 27_520_038
    licence: ClassVar[str] = "GPL-3.0"
    weights: ClassVar[Weights] = Weights("MahmoodLab/hest-bench", "ctranspath")
    transform = "resize 224 bilinear; ImageNet normalisation"
    resize = 224
    key: ClassVar[str] = "model"
    depths: ClassVar[tuple[int, ...]] = (2, 2, 6, 2)

    @classmethod
    def build(cls) -> torch.nn.Module:
        """(B, 3, 224, 224) -> (B, 768)."""
        from timm.models.swin_transformer import SwinTransformer

        stem: Any = _conv_stem
        return SwinTransformer(
            img_size=cls.input_px,
            patch_size=4,
            num_classes=0,
            embed_dim=96,
            depths=cls.depths,
            num_heads=(3, 6, 12, 24),
            window_size=7,
            embed_layer=stem,
        )

    @classmethod
    def convert(cls, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Today's names, without the tables."""
        return {
            _MERGING.sub(lambda match: f"layers.{int(match[1]) + 1}.downsample.", name): value
            for name, value in state.items()
            if not name.endswith(_TABLES)
        }


def _conv_stem(**options: Any) -> torch.nn.Module:
    """Patches of 4 px by two convolutions of stride 2: (B, 3, H, W) -> (B, H / 4, W / 4, embed_dim) after a norm."""
    from timm.layers import PatchEmbed
    from torch import nn

    stem: Any = PatchEmbed(**options)
    width = options["embed_dim"]
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, width // 8), (width // 8, width // 4)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    stem.proj = nn.Sequential(*layers, nn.Conv2d(width // 4, width, 1))
    made: nn.Module = stem
    return made
