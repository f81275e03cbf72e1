"""Vision transformers: all of one shape, told apart by a handful of numbers.

Dosovitskiy et al., ICLR 2021; LayerScale of Touvron et al., ICCV 2021; registers of Darcet et al., ICLR 2024; SwiGLU
of Shazeer, 2020. The blocks are timm's, whose attention is PyTorch's fused one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from stflow.encoders.network import NetworkEncoder
from stflow.errors import WeightsError

if TYPE_CHECKING:
    import torch


class ViTEncoder(NetworkEncoder):
    """A vision transformer over square patches, with one class token.

    Class attributes:

    patch_px
        Side of a patch, px.
    width, depth, heads
        Numbers in a token, blocks, and attention heads.
    hidden
        Outputs of the first linear layer of a block's MLP; of SwiGLU, half of them are gates.
    swiglu
        SwiGLU instead of GELU.
    registers
        Tokens that stand between the class token and the patches and are no part of the features.
    patches_alone_have_positions
        Whether the class token and the registers have no position of their own.
    pooling
        ``cls``: the class token after the last norm; ``cls+mean``: it, and then the mean of the patches.
    """

    patch_px: ClassVar[int] = 14
    width: ClassVar[int]
    depth: ClassVar[int]
    heads: ClassVar[int]
    hidden: ClassVar[int]
    swiglu: ClassVar[bool] = True
    registers: ClassVar[int] = 0
    patches_alone_have_positions: ClassVar[bool] = False
    pooling: Literal["cls", "cls+mean"] = "cls"

    @classmethod
    def build(cls) -> torch.nn.Module:
        """(B, 3, input_px, input_px) -> (B, 1 + registers + patches, width) tokens after the last norm."""
        from timm.layers import Mlp, SwiGLUPacked
        from timm.models.vision_transformer import VisionTransformer
        from torch import nn

        mlp: Any = SwiGLUPacked if cls.swiglu else Mlp
        return VisionTransformer(
            img_size=cls.input_px,
            patch_size=cls.patch_px,
            num_classes=0,
            global_pool="",
            embed_dim=cls.width,
            depth=cls.depth,
            num_heads=cls.heads,
            mlp_ratio=cls.hidden / cls.width,
            init_values=1e-5,  # gives every block its scales; their values are the file's
            no_embed_class=cls.patches_alone_have_positions,
            reg_tokens=cls.registers,
            mlp_layer=mlp,
            act_layer=nn.SiLU if cls.swiglu else nn.GELU,
            weight_init="skip",
        )

    def features(self, output: torch.Tensor) -> torch.Tensor:
        """(B, T, width) tokens -> (B, D)."""
        import torch

        if self.pooling == "cls":
            return output[:, 0]
        return torch.cat([output[:, 0], output[:, 1 + self.registers :].mean(dim=1)], dim=1)


def square_side(positions: torch.Tensor, encoder_name: str, width: int | None = None) -> int:
    """Patches a side, of (1, 1 + side * side, D) positions of a class token and a square grid.

    Raises
    ------
    WeightsError
        They are not, or D is not ``width``.
    """
    side = math.isqrt(max(positions.shape[1] - 1, 0)) if positions.dim() == 3 and len(positions) == 1 else 0
    if not side or side**2 + 1 != positions.shape[1] or width not in (None, positions.shape[-1]):
        raise WeightsError(
            f"encoder {encoder_name}: {tuple(positions.shape)} positions are not those of a class token and a square "
            "grid of patches. It is another model's file: see `stflow list encoders`."
        )
    return side
