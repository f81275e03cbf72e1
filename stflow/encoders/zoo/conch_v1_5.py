"""CONCH v1.5: the image tower of a vision-language model, ViT-L/16 at 448 px under an attentional pooler.

Ding et al., arXiv 2411.19666, 2024 (TITAN); Lu et al., Nature Medicine 30, 2024 (CONCH). The published code resamples
the positions of the patches twice: to a grid of 14 bilinearly where the file has another, then, at each call, to 28
bicubically with a scale of 28.1 / 14. Both are done here when the file is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.vit import ViTEncoder, square_side

if TYPE_CHECKING:
    import torch

_POSITIONS = "trunk.pos_embed"
#: Patches a side of the published trunk, built for 224 px, and what its resampling adds to the new side.
_OLD_SIDE, _OFFSET = 14, 0.1


class CONCHv15(ViTEncoder):
    """768 numbers a tile: what one learned query gathers from all tokens, after a norm."""

    name: ClassVar[str] = "conch_v1_5"
    dim = 768
    n_params: ClassVar[int] = 306_711_296
    licence: ClassVar[str] = "CC-BY-NC-ND-4.0"
    weights: ClassVar[Weights] = Weights("MahmoodLab/conchv1_5")
    transform = "resize 448 bilinear; ImageNet normalisation"
    resize = 448
    input_px: ClassVar[int] = 448
    patch_px: ClassVar[int] = 16
    width: ClassVar[int] = 1024
    depth: ClassVar[int] = 24
    heads: ClassVar[int] = 16
    hidden: ClassVar[int] = 4096
    swiglu: ClassVar[bool] = False
    cpu_batch: ClassVar[int] = 2

    @classmethod
    def build(cls) -> torch.nn.Module:
        """(B, 3, 448, 448) -> (B, 768)."""
        from torch import nn

        network = nn.Sequential()
        network.add_module("trunk", super().build())
        network.add_module("attn_pool_contrast", _pooler(cls.width, cls.dim))
        network.add_module("ln_contrast", nn.LayerNorm(cls.dim))
        return network

    @classmethod
    def convert(cls, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The positions on the grid of the input.

        Raises
        ------
        WeightsError
            They are not those of a class token and a square grid.
        """
        import torch
        from torch.nn.functional import interpolate

        positions = state.get(_POSITIONS)
        if positions is None:
            return state  # told as missing
        old = square_side(positions, cls.name)
        grid = positions[:, 1:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
        if old != _OLD_SIDE:
            grid = interpolate(grid, size=(_OLD_SIDE, _OLD_SIDE), mode="bilinear")
        scale = (cls.input_px // cls.patch_px + _OFFSET) / _OLD_SIDE
        grid = interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
        patches = grid.permute(0, 2, 3, 1).flatten(1, 2)
        return {**state, _POSITIONS: torch.cat([positions[:, :1].float(), patches], dim=1)}

    def features(self, output: torch.Tensor) -> torch.Tensor:
        """(B, 768) as they are."""
        return output


def _pooler(width: int, dim: int, heads: int = 8) -> torch.nn.Module:
    """Cross-attention of one learned query over the tokens: (B, T, width) -> (B, dim)."""
    import torch
    from torch import nn
    from torch.nn.functional import scaled_dot_product_attention

    class Pooler(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Parameter(torch.empty(1, dim))
            self.ln_k, self.ln_q = nn.LayerNorm(width), nn.LayerNorm(dim)
            self.to_q = nn.Linear(dim, dim, bias=False)
            self.to_kv = nn.Linear(width, 2 * dim, bias=False)
            self.to_out = nn.Linear(dim, dim, bias=False)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            B = len(tokens)
            query = self.to_q(self.ln_q(self.query)).expand(B, 1, dim)
            key, value = self.to_kv(self.ln_k(tokens)).chunk(2, dim=-1)
            split = [part.reshape(B, -1, heads, dim // heads).transpose(1, 2) for part in (query, key, value)]
            gathered = scaled_dot_product_attention(*split)
            pooled: torch.Tensor = self.to_out(gathered.transpose(1, 2).reshape(B, dim))
            return pooled

    return Pooler()
