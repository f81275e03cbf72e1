"""Attention without positions: what is left of the paper's layer without its edge vectors, and the textbook's.

Both keep the k nearest neighbours and know nothing else of where a spot lies. For a spot i, a neighbour j, a head h::

    MLPAttention          logit_ij^h = MLP[q_i^h, k_j^h, Y_j - Y_i]
    DotProductAttention   logit_ij^h = q_i^h . k_j^h / sqrt(d_head)

    A = softmax over the neighbours of i                  context_i = sum_j A_ij v_j

The paper's "w/o FA" (tables 4 and 9) is "standard attention without spatial information"; no code of it is public, and
either reading is possible. The first differs from the full model by the edge vectors alone.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from stflow.models.stflow.graph import Graph
from stflow.models.stflow.layers import Dropout, SwiGLU
from stflow.models.stflow.mixer import Mixer
from stflow.models.stflow.rows import in_blocks, take


class PlainAttention(Mixer):
    """Attention to the neighbours by logits that no position enters.

    Parameters
    ----------
    d
        Size of spot states, split evenly between heads.
    heads
        Attention heads, H.
    dropout, attention_dropout
        Drop probability of hidden units, and of attention weights.
    """

    #: Spots whose edges are in memory at once when no gradient is kept.
    block_spots = 4096

    def __init__(self, d: int, heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d)
        self.out = SwiGLU(d, d, d, dropout)
        self.attention_dropout = Dropout(attention_dropout)

    @abstractmethod
    def parts(self, q: Tensor, k: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """What a spot brings to the logits as the one that attends, and as a neighbour.

        (M, H, d / H) queries and keys, (M, G) expression state -> (M, H, n) and (M, H, n).
        """

    @abstractmethod
    def logits(self, own: Tensor, theirs: Tensor) -> Tensor:
        """(m, 1, H, n) and (m, K, H, n) of `parts` -> (m, K, H)."""

    def forward(self, z: Tensor, y: Tensor, graph: Graph, geometry: Tensor | None = None) -> Tensor:
        """See `Mixer`; the context of a spot without neighbours is zero before the output MLP."""
        M, d = z.shape  # spots, size of a state
        H = self.heads
        q, k, v = (part.reshape(M, H, d // H) for part in self.qkv(self.norm(z)).chunk(3, dim=-1))
        own, theirs = self.parts(q, k, y)

        def context(rows: slice) -> Tensor:
            index, present = graph.index[rows], graph.present[rows, :, None]  # (m, K), (m, K, 1)
            logits = self.logits(own[rows, None], take(theirs, index))
            logits = logits.masked_fill(~present, torch.finfo(logits.dtype).min)
            weights = self.attention_dropout(torch.softmax(logits, dim=1) * present)
            return (weights[..., None] * take(v, index)).sum(dim=1).flatten(1)

        return self.out(in_blocks(context, M, self.block_spots))


class MLPAttention(PlainAttention):
    """The paper's attention with the edge vectors left out of logits and context; ``n_genes`` is G."""

    def __init__(self, d: int, n_genes: int, heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__(d, heads, dropout, attention_dropout)
        self.logit = SwiGLU(2 * d // heads + n_genes, d, 1, dropout)

    def parts(self, q: Tensor, k: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        # The first linear map is a sum over its inputs: what depends on one spot alone is made once a spot.
        d_head = q.shape[2]
        w_q, w_k, w_y = self.logit.fc1.weight.split([d_head, d_head, y.shape[1]], dim=1)
        of_y = (y @ w_y.T)[:, None]
        return q @ w_q.T - of_y, k @ w_k.T + of_y

    def logits(self, own: Tensor, theirs: Tensor) -> Tensor:
        return self.logit.project(self.logit.gate(own + theirs)).squeeze(-1)


class DotProductAttention(PlainAttention):
    """Scaled dot-product attention (Vaswani et al. 2017).

    The paper's layer reads the expression state nowhere but in its logits, so with these the expression does not
    enter the network at all and the flow degenerates: the answer is the same from every draw of the prior, and of a
    sampler's S calls only the last counts, through its time. Kept because it is what "standard attention" says.
    """

    def parts(self, q: Tensor, k: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        del y
        return q / math.sqrt(q.shape[2]), k

    def logits(self, own: Tensor, theirs: Tensor) -> Tensor:
        return (own * theirs).sum(dim=-1)
