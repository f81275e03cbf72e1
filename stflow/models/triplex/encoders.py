"""The three parts between tokens and heads: a spot's surroundings, the whole section, and their fusion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stflow.models.triplex import TriplexSettings
from stflow.models.triplex.attention import CrossLayer, SelfLayer, blocked
from stflow.models.triplex.geometry import SIDE, Grid

#: Offsets of the table of position biases along one axis: 0 to 4 cells, as in a field of 5 x 5; more count as 4.
_OFFSETS = 5


class LocalEncoder(nn.Module):
    """Transformer among the tokens of a spot's surroundings.

    Each layer adds a learned bias to its attention logits, by head and by how many rows and columns of the grid lie
    between two tokens, whatever the direction.
    """

    def __init__(self, s: TriplexSettings) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            SelfLayer(s.hidden, s.local_heads, s.local_mlp, s.local_dropout) for _ in range(s.local_layers)
        )
        self.biases = nn.ParameterList(torch.zeros(s.local_heads, _OFFSETS**2) for _ in range(s.local_layers))
        self.norm = nn.LayerNorm(s.hidden)

    def forward(self, tokens: Tensor, present: Tensor, steps: Tensor) -> Tensor:
        """(B, T, E) tokens, (B, T) whether they are there, (B or 1, T, 2) rows and columns to each -> (B, T, E)."""
        apart = (steps[:, :, None] - steps[:, None]).abs().clamp(max=_OFFSETS - 1)
        offset = apart[..., 0] * _OFFSETS + apart[..., 1]
        absent = blocked(present, tokens)
        for layer, bias in zip(self.layers, self.biases, strict=True):
            tokens = layer(tokens, bias[:, offset].transpose(0, 1) + absent)
        found: Tensor = self.norm(tokens)
        return found


class APEG(nn.Module):
    """Atypical position encoding generator: a depthwise 3 x 3 convolution over the grid that the spots lie on.

    Only cells with spots are computed. An empty cell counts as zero and gets nothing; a cell with several spots holds
    their mean, and all of them get its answer.
    """

    def __init__(self, hidden: int, *, added: bool) -> None:
        super().__init__()
        self.added = added
        self.convolution = nn.Conv2d(hidden, hidden, SIDE, padding=SIDE // 2, groups=hidden)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """(N, E) tokens of the spots of a grid -> (N, E)."""
        n_cells = len(grid.around)
        held = tokens.new_zeros(n_cells + 1, tokens.shape[1]).index_add(0, grid.cell, tokens)
        spots = tokens.new_zeros(n_cells + 1).index_add(0, grid.cell, tokens.new_ones(len(tokens)))
        held = held / spots.clamp(min=1)[:, None]  # the last row stands for all empty cells
        weight, answer = self.convolution.weight.flatten(1), self.convolution.bias
        assert answer is not None
        for place in range(SIDE**2):
            answer = answer + weight[:, place] * held[grid.around[:, place]]
        answer = answer[grid.cell]
        return tokens + answer if self.added else answer


class WholeEncoder(nn.Module):
    """Transformer among all spots of a section: one layer, `APEG`, and the others."""

    def __init__(self, s: TriplexSettings) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            SelfLayer(s.hidden, s.whole_heads, s.whole_mlp, s.whole_dropout) for _ in range(s.whole_layers)
        )
        self.apeg = APEG(s.hidden, added=s.apeg == "added")
        self.norm = nn.LayerNorm(s.hidden)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """(N, E) tokens of the spots of a grid -> (N, E)."""
        first, *others = self.layers
        tokens = self.apeg(first(tokens[None])[0], grid)[None]
        for layer in others:
            tokens = layer(tokens)
        found: Tensor = self.norm(tokens[0])
        return found


class Fusion(nn.Module):
    """A spot's token of the whole section asks the target's tokens, and those around it, by the same layers."""

    def __init__(self, s: TriplexSettings) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            CrossLayer(s.hidden, s.fusion_heads, s.fusion_mlp, s.fusion_dropout) for _ in range(s.fusion_layers)
        )
        self.norm = nn.LayerNorm(s.hidden)

    def forward(self, whole: Tensor, target: Tensor, local: Tensor, present: Tensor) -> Tensor:
        """(B, E), (B, T, E), (B, L, E) tokens and (B, L) which of the last are there -> (B, E)."""
        from_target = from_local = whole[:, None]
        absent = blocked(present, local)
        for layer in self.layers:
            from_target = layer(from_target, target)
            from_local = layer(from_local, local, absent)
        found: Tensor = self.norm((from_target + from_local)[:, 0])
        return found
