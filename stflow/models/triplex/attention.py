"""Pre-norm transformer layers of TRIPLEX: among tokens, and from one token to others.

Queries, keys and values stand in this order, each with its heads side by side, whatever kernel PyTorch takes: weights
mean the same on every device. Attention weights are not dropped; what leaves attention and MLP is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Attention among T tokens; (B, T, E) -> (B, T, E)."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.to_out = nn.Sequential(nn.Linear(hidden, hidden), nn.Dropout(dropout))

    def forward(self, tokens: Tensor, logits: Tensor | None) -> Tensor:
        """``logits`` (B, heads, T, T) are added before the softmax."""
        query, key, value = (_apart(part, self.heads) for part in self.to_qkv(tokens).chunk(3, dim=-1))
        return self.to_out(_together(F.scaled_dot_product_attention(query, key, value, attn_mask=logits)))


class CrossAttention(nn.Module):
    """Attention of (B, Q, E) tokens to (B, T, E) others; -> (B, Q, E)."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(hidden, hidden, bias=False)
        self.to_kv = nn.Linear(hidden, 2 * hidden, bias=False)
        self.to_out = nn.Sequential(nn.Linear(hidden, hidden), nn.Dropout(dropout))

    def forward(self, tokens: Tensor, others: Tensor, logits: Tensor | None) -> Tensor:
        """``logits`` (B, 1, Q, T) are added before the softmax."""
        query = _apart(self.to_q(tokens), self.heads)
        key, value = (_apart(part, self.heads) for part in self.to_kv(others).chunk(2, dim=-1))
        return self.to_out(_together(F.scaled_dot_product_attention(query, key, value, attn_mask=logits)))


class SelfLayer(nn.Module):
    """Attention among tokens and an MLP, each on normalised tokens and added to them."""

    def __init__(self, hidden: int, heads: int, mlp: float, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(hidden)
        self.attention = SelfAttention(hidden, heads, dropout)
        self.mlp_norm = nn.LayerNorm(hidden)
        self.mlp = _mlp(hidden, mlp, dropout)

    def forward(self, tokens: Tensor, logits: Tensor | None = None) -> Tensor:
        """See `SelfAttention`."""
        tokens = tokens + self.attention(self.attention_norm(tokens), logits)
        return tokens + self.mlp(self.mlp_norm(tokens))


class CrossLayer(nn.Module):
    """Attention to other tokens and an MLP; one norm serves the tokens and the others."""

    def __init__(self, hidden: int, heads: int, mlp: float, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(hidden)
        self.attention = CrossAttention(hidden, heads, dropout)
        self.mlp_norm = nn.LayerNorm(hidden)
        self.mlp = _mlp(hidden, mlp, dropout)

    def forward(self, tokens: Tensor, others: Tensor, logits: Tensor | None = None) -> Tensor:
        """See `CrossAttention`."""
        tokens = tokens + self.attention(self.attention_norm(tokens), self.attention_norm(others), logits)
        return tokens + self.mlp(self.mlp_norm(tokens))


def blocked(present: Tensor, like: Tensor) -> Tensor:
    """(B, 1, 1, T) logits for (B, T) ``present``: 0 where there is a token, minus infinity where there is none."""
    return torch.zeros_like(present, dtype=like.dtype).masked_fill(~present, -torch.inf)[:, None, None]


def _mlp(hidden: int, factor: float, dropout: float) -> nn.Sequential:
    wide = int(hidden * factor)
    return nn.Sequential(
        nn.Linear(hidden, wide), nn.GELU(), nn.Dropout(dropout), nn.Linear(wide, hidden), nn.Dropout(dropout)
    )


def _apart(tokens: Tensor, heads: int) -> Tensor:
    """(B, T, E) -> (B, heads, T, E / heads)."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)


def _together(tokens: Tensor) -> Tensor:
    """Inverse of `_apart`."""
    return tokens.transpose(1, 2).flatten(2)
