"""LongNet over the tiles of a slide, as GigaPath pretrained it: every tile sees the slide, at a cost linear in tiles.

Ding et al., LongNet, 2023 (arXiv 2307.02486); Xu et al., Nature 2024. Dilated attention is a mixture of branches. The
branch of segment length w and ratio r cuts the sequence into segments of w tokens and lets each token attend to every
r-th one of its own segment, by softmax. Heads are dealt into r groups of neighbours, and the group j sees the tokens
j, j + r, j + 2r, ... of each segment: between them the heads see all. A token's branches are added with weights in
proportion to the denominators of their softmax (equations 9 and 10 there).

Names of modules are those of the published ``slide_encoder.pth``, so that its tensors load as they are. Only what
evaluation needs is here: dropout and stochastic depth hold no tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from stflow.encoders.lse_attention import attention_with_lse

#: Five lengths spaced evenly in logarithm from 2^10 to 2^20 tokens, cut to whole ones, and their ratios.
SEGMENT_LENGTHS = (1024, 5792, 32768, 185363, 1048576)
RATIOS = (1, 2, 4, 8, 16)
#: Rows and columns of the grid of positions.
GRID_CELLS = 1000
#: What stands for the log-sum-exp of a branch that does not see a token.
_UNSEEN = -1e8
#: Tokens that go through a feed-forward network at a time: its hidden layer is four times as wide.
_ROWS = 4096


class LongNet(nn.Module):
    """The slide encoder.

    Parameters
    ----------
    dim
        Size of a token, C.
    depth
        Layers.
    heads
        Heads of attention.
    in_dim
        Size of a tile's features.
    segment_lengths, ratios
        Of the branches of dilated attention, one each.
    """

    def __init__(
        self,
        dim: int = 768,
        depth: int = 12,
        heads: int = 16,
        in_dim: int = 1536,
        segment_lengths: Sequence[int] = SEGMENT_LENGTHS,
        ratios: Sequence[int] = RATIOS,
    ) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.patch_embed = _TileEmbedding(in_dim, dim)
        self.encoder = _Layers(dim, depth, heads, tuple(segment_lengths), tuple(ratios))
        #: Not applied by `forward`: the published embedding of a slide is its class token's state after this norm too.
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, features: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """States after the last layer and the layers' norm, and before `norm`: the published encoder's output.

        Parameters
        ----------
        features
            (N, in_dim) features of the tiles; their order decides which tokens share segments and strides.
        cells
            (N, 2) int64 column and row of each tile in the grid, both from 0 to 999.

        Returns
        -------
        (1 + N, C): the class token first.
        """
        x = self.patch_embed(features)
        x = x + positions(cells, self.cls_token.shape[2]).to(x.device)
        # The class token's position is the row of zeros that precedes the grid.
        x = torch.cat([self.cls_token[0].to(x.dtype), x])
        for layer in self.encoder.layers:
            x = layer(x)
        return self.encoder.layer_norm(x)


class _TileEmbedding(nn.Module):
    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_dim, dim)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.proj(features)


class _Layers(nn.Module):
    def __init__(self, dim: int, depth: int, heads: int, lengths: tuple[int, ...], ratios: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Layer(dim, heads, lengths, ratios) for _ in range(depth)])
        self.layer_norm = nn.LayerNorm(dim)


class _Layer(nn.Module):
    """Norms precede attention and the feed-forward network; each has one more inside (Magneto's sub-LayerNorm)."""

    def __init__(self, dim: int, heads: int, lengths: tuple[int, ...], ratios: tuple[int, ...]) -> None:
        super().__init__()
        self.self_attn = _Attention(dim, heads, lengths, ratios)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.ffn = _FeedForward(dim, 4 * dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        return torch.cat([rows + self.ffn(self.final_layer_norm(rows)) for rows in x.split(_ROWS)])


class _FeedForward(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.ffn_layernorm = nn.LayerNorm(hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.ffn_layernorm(F.gelu(self.fc1(x))))


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int, lengths: tuple[int, ...], ratios: tuple[int, ...]) -> None:
        super().__init__()
        self.heads, self.lengths, self.ratios = heads, lengths, ratios
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))
        self.inner_attn_ln = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (project(x).unflatten(1, (self.heads, -1)) for project in (self.q_proj, self.k_proj, self.v_proj))
        mixed = dilated_attention(q, k, v, self.lengths, self.ratios)
        return self.out_proj(self.inner_attn_ln(mixed.flatten(1)))


def dilated_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, segment_lengths: Sequence[int], ratios: Sequence[int]
) -> torch.Tensor:
    """Every token's attention in each branch, added by the branches' denominators.

    The last segment, and each segment's stride, are filled up with tokens of zeros. The pretrained network saw them as
    keys, without a mask, so they count here too. No such token is made: its score is 0 and its value nothing, hence n
    of them add n to the denominator.

    Parameters
    ----------
    q, k, v
        (L, H, D): tokens, heads, numbers a head.
    segment_lengths, ratios
        One of each a branch.

    Returns
    -------
    (L, H, D) float32.
    """
    L, H, _ = q.shape
    seen = q.new_full((len(ratios), L, H), _UNSEEN, dtype=torch.float32)
    parts: list[torch.Tensor] = []
    for branch, (length, ratio) in enumerate(zip(segment_lengths, ratios, strict=True)):
        views = (_strides(tensor, length, ratio) for tensor in (q, k, v, seen[branch]))
        keys = -(-min(length, L) // ratio)
        for q_part, k_part, v_part, seen_part in zip(*views, strict=True):
            output, lse = attention_with_lse(*(part.transpose(1, 2) for part in (q_part, k_part, v_part)))
            zeros = keys - k_part.shape[1]
            if zeros:
                every = torch.logaddexp(lse, lse.new_full((), math.log(zeros)))
                output, lse = output * (lse - every).exp()[..., None], every
            parts.append(output.transpose(1, 2))
            seen_part.copy_(lse.transpose(1, 2))
    # The published code takes a log-sum-exp of exactly 0 for a branch that does not see the token. Next to never true,
    # but for a lone key with a score of 0.
    seen.masked_fill_(seen == 0, _UNSEEN)
    weights = seen.softmax(dim=0)
    mixed = q.new_zeros(q.shape, dtype=torch.float32)
    remaining = iter(parts)
    for weight, length, ratio in zip(weights, segment_lengths, ratios, strict=True):
        for mixed_part, weight_part in zip(
            _strides(mixed, length, ratio), _strides(weight, length, ratio), strict=True
        ):
            mixed_part.addcmul_(next(remaining).float(), weight_part[..., None])
    return mixed


def _strides(x: torch.Tensor, length: int, ratio: int) -> Iterator[torch.Tensor]:
    """Views of (L, H, ...) tokens that attend among themselves: (segments, tokens, heads of a group, ...) each.

    First those of all whole segments, a group of heads each, then those of the segment that the end cuts short.
    """
    L, H = x.shape[:2]
    length = min(length, L)
    whole, group = L // length, -(-H // ratio)
    for segments in (x[: whole * length].unflatten(0, (whole, length)), x[whole * length :][None]):
        # A group whose offset is past the end of a segment sees none of its tokens.
        for offset in range(min(-(-H // group), segments.shape[1])):
            yield segments[:, offset::ratio, offset * group : (offset + 1) * group]


def positions(cells: torch.Tensor, dim: int) -> torch.Tensor:
    """Sine and cosine of a tile's place: rows of the published table of 1000 x 1000, without the table.

    Parameters
    ----------
    cells
        (N, 2) int64 column and row.
    dim
        Size of a token, C; a multiple of 4.

    Returns
    -------
    (N, C) float32 on the CPU: the row in the first half of the numbers, the column in the second; sines first in each.
    """
    axis = _axis(dim // 2)
    column, row = cells.cpu().unbind(1)
    return torch.cat([axis[row], axis[column]], dim=1)


@cache
def _axis(dim: int) -> torch.Tensor:
    """(1000, dim) sines and cosines of places along one axis, worked out in float64 as the published table is."""
    frequency = 10000.0 ** -(np.arange(dim // 2) / (dim / 2))
    angle = np.outer(np.arange(GRID_CELLS), frequency)
    return torch.from_numpy(np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32))
