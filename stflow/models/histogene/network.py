"""The transformer: a linear layer for a spot's pixels, its place, pre-norm layers of full attention, a linear head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from stflow.models.histogene import HisToGeneSettings
    from stflow.models.histogene.patches import Patches

#: Hidden size of a layer's perceptron, in multiples of the state's.
_EXPANSION = 2

#: Spots whose pixels are numbers at once where no gradient needs them: 0.15 GB at 112 px.
_SPOTS_AT_ONCE = 1024


class Attention(nn.Module):
    """Every spot attends to every spot; nothing of size N x N is kept (`scaled_dot_product_attention`)."""

    def __init__(self, hidden: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(hidden)
        self.to_qkv = nn.Linear(hidden, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, hidden) -> (N, hidden), to be added."""
        N = len(x)
        qkv = self.to_qkv(self.norm(x)).view(N, 3, self.heads, -1).permute(1, 2, 0, 3)  # (3, heads, N, head_dim)
        q, k, v = qkv[:, None].unbind(0)
        heard = F.scaled_dot_product_attention(q, k, v)[0]
        out: Tensor = self.dropout(self.out(heard.transpose(0, 1).reshape(N, -1)))
        return out


class Perceptron(nn.Sequential):
    """The second half of a layer: (N, hidden) -> (N, hidden), to be added."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__(
            nn.LayerNorm(hidden),
            nn.Linear(hidden, _EXPANSION * hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(_EXPANSION * hidden, hidden),
            nn.Dropout(dropout),
        )


class TablePositions(nn.Module):
    """A learned vector for every column of the array and one for every row, added."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.columns = nn.Embedding(size, hidden)
        self.rows = nn.Embedding(size, hidden)

    def forward(self, positions: Tensor) -> Tensor:
        """(N, 2) int64 column and row -> (N, hidden)."""
        vectors: Tensor = self.columns(positions[:, 0]) + self.rows(positions[:, 1])
        return vectors


class PatchTransformer(nn.Module):
    """`stflow.models.histogene.patches.Patches` of N spots -> (N, G) log1p counts."""

    def __init__(self, settings: HisToGeneSettings, n_genes: int) -> None:
        super().__init__()
        s = settings
        self.raw = s.pixels == "raw"
        self.patch = nn.Linear(3 * s.patch_px**2, s.hidden)
        self.position = TablePositions(s.table_size, s.hidden) if s.positions == "tables" else nn.Linear(2, s.hidden)
        self.dropout = nn.Dropout(s.dropout)
        self.layers = nn.ModuleList(
            layer
            for _ in range(s.layers)
            for layer in (
                Attention(s.hidden, s.heads, s.head_dim, s.dropout),
                Perceptron(s.hidden, s.dropout),
            )
        )
        self.head = nn.Sequential(nn.LayerNorm(s.hidden), nn.Linear(s.hidden, n_genes))

    def embed(self, pixels: Tensor) -> Tensor:
        """(N, 3 px px) uint8 pixels -> (N, hidden); with gradients in one piece, else a thousand spots at a time."""
        if torch.is_grad_enabled():
            return self._embed(pixels)
        return torch.cat([self._embed(part) for part in pixels.split(_SPOTS_AT_ONCE)])

    def _embed(self, pixels: Tensor) -> Tensor:
        values = pixels.to(self.patch.weight.dtype)
        if not self.raw:
            values.div_(127.5).sub_(1)  # in place: a spot's pixels take 151 kB
        embedded: Tensor = self.patch(values)
        return embedded

    def forward(self, spots: Patches) -> Tensor:
        """(N, G)."""
        x = self.dropout(self.embed(spots.pixels) + self.position(spots.positions))
        for layer in self.layers:
            x = x + layer(x)
        out: Tensor = self.head(x)
        return out
