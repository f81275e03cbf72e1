"""Attention of a spot to its neighbours, with the expression state and the geometry in the logits (section 3.3).

For a spot i, a neighbour j and a head h::

    logit_ij^h = MLP[q_i^h, k_j^h, c'_ij^h, Y_j - Y_i]          A = softmax over the neighbours of i
    message_i  = MLP[sum_j A_ij v_j, sum_j A_ij c'_ij]

with ``c'_ij`` the frame-averaged edge vector. The paper prints ``Y_i - Y_j``; the released code takes the neighbour
minus the spot, for coordinates and expression alike, and so does this one (the MLP learns either).

The first linear map of the logit MLP is a sum over its four inputs, so the parts of q, k and Y are applied once a
spot; what is left to do an edge is in `edge_attention`. Weights keep the shape of the plain form.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stflow.models.stflow.edge_attention import Drop, EdgeAttention, EdgeWeights, Spots, attend, edge_vectors
from stflow.models.stflow.graph import Graph
from stflow.models.stflow.layers import Dropout, SwiGLU
from stflow.models.stflow.mixer import Mixer


class NeighbourAttention(Mixer):
    """The paper's attention over the neighbourhood graph.

    Parameters
    ----------
    d, d_edge
        Sizes of spot states and edge vectors; both are split evenly between heads.
    n_genes
        Size G of the expression state.
    heads
        Attention heads.
    dropout, attention_dropout
        Drop probability of hidden units, and of attention weights.
    """

    def __init__(self, d: int, d_edge: int, n_genes: int, heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d)
        self.edge = SwiGLU(3, d_edge, d_edge, dropout)
        self.logit = SwiGLU(2 * d // heads + d_edge // heads + n_genes, d, 1, dropout)
        self.out = SwiGLU(d + d_edge, d, d, dropout)
        self.attention_dropout = Dropout(attention_dropout)

    def geometry(self, graph: Graph) -> Tensor | None:
        """(M, k, d_edge) edge vectors ``c'_ij``; None with gradient, as the backward pass makes them anew."""
        return None if torch.is_grad_enabled() else edge_vectors(graph.edges, self._edge_weights())

    def forward(self, z: Tensor, y: Tensor, graph: Graph, geometry: Tensor | None = None) -> Tensor:
        """See `Mixer`; the context of a spot without neighbours is zero before the output MLP."""
        M, H = len(z), self.heads  # spots, heads
        q, k, v = self.qkv(self.norm(z)).chunk(3, dim=-1)
        weights = self._edge_weights()
        _, w_k, _, w_y = self._logit_parts()
        theirs = (k.reshape(M * H, -1) @ w_k.T).view(M, -1)
        spots = Spots(q, theirs, y @ w_y.T, v)
        if geometry is None:
            return self.out(EdgeAttention.apply(graph, self._drop(), *spots, *weights))
        return self.out(attend(spots, geometry, weights, graph))

    def _logit_parts(self) -> tuple[Tensor, ...]:
        """The logit network's first map by what it takes: q, k, c' and Y."""
        d_head, d_edge_head = self.qkv.in_features // self.heads, self.edge.fc2.out_features // self.heads
        sizes = [d_head, d_head, d_edge_head]
        return self.logit.fc1.weight.split([*sizes, self.logit.fc1.in_features - sum(sizes)], dim=1)

    def _edge_weights(self) -> EdgeWeights:
        w_q, _, w_c, _ = self._logit_parts()
        (w_2, b_2), (w_l, b_l) = self.edge.folded(), self.logit.folded()
        return EdgeWeights(
            self.edge.fc1.weight, self.edge.fc1.bias, w_2, b_2, w_q, self.logit.fc1.bias, w_c, w_l[0], b_l[0]
        )

    def _drop(self) -> Drop | None:
        hidden, attention = self.logit.dropout, self.attention_dropout
        if not (hidden.active or attention.active):
            return None
        return Drop(hidden.p, attention.p, (hidden if hidden.active else attention).seed())
