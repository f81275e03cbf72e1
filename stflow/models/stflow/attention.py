"""Attention of a spot to its neighbours, with the expression state and the geometry in the logits (section 3.3).

For a spot i, a neighbour j and a head h::

    logit_ij^h = MLP[q_i^h, k_j^h, c'_ij^h, Y_j - Y_i]          A = softmax over the neighbours of i
    context_i  = [sum_j A_ij v_j, sum_j A_ij c'_ij]

with ``c'_ij`` the frame-averaged edge vector. The paper prints ``Y_i - Y_j``; the released code takes the neighbour
minus the spot, for coordinates and expression alike, and so does this one (the MLP learns either).

The first linear map of the logit MLP is a sum over its four inputs, so the parts of q, k and Y are applied once a
spot and only gathered to the edges: what is left to do an edge is the part of ``c'``. Weights keep the shape of the
plain form.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stflow.models.stflow.graph import Graph
from stflow.models.stflow.layers import Dropout, SwiGLU
from stflow.models.stflow.mixer import Mixer

#: Spots whose edges are in memory at once when no gradient is kept.
BLOCK_SPOTS = 4096


class EdgeSum(torch.autograd.Function):
    """First linear map of the logit MLP on every edge and head: ``own_i + theirs_j + W_c c_ij``.

    ``own`` (m, H, n), ``theirs`` (M, H n), ``c`` (m K H, e), ``w_c`` (n, e), ``flat`` (m K,) neighbours' rows;
    gives (m, K, H, n). Written as one step so that the sum is built in one buffer.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, theirs: Tensor, c: Tensor, w_c: Tensor, flat: Tensor) -> Tensor:
        m, H, n = own.shape
        ctx.save_for_backward(c, w_c, flat)
        ctx.n_spots = len(theirs)
        out = theirs.index_select(0, flat).view(m, -1, H, n)
        out += own[:, None]
        out.view(-1, n).addmm_(c, w_c.T)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        c, w_c, flat = ctx.saved_tensors
        grad = grads[0].contiguous()
        m, K, H, n = grad.shape
        by_edge = grad.view(-1, n)
        theirs = grad.new_zeros(ctx.n_spots, H * n).index_add_(0, flat, grad.view(m * K, H * n))
        return grad.sum(dim=1), theirs, by_edge @ w_c, (c.T @ by_edge).T, None


class EdgeNetwork(nn.Module):
    """Geometry of an edge to its vector ``c'_ij``: an MLP on each frame's view, averaged over the four frames."""

    def __init__(self, d_edge: int, dropout: float) -> None:
        super().__init__()
        self.mlp = SwiGLU(3, d_edge, d_edge, dropout)

    def forward(self, edges: Tensor) -> Tensor:
        """(M, k, 4, 3) from `frames.edge_inputs` -> (M, k, d_edge).

        The last linear map follows the average, which is the same and four times cheaper; its dropout is therefore
        drawn once an edge, not once a frame.
        """
        # A row-major copy of the narrow weight makes its gradient a (3, 4Mk) x (4Mk, d_edge) product; the other way
        # round it is five times slower.
        pre = edges @ self.mlp.fc1.weight.T.contiguous() + self.mlp.fc1.bias
        return self.mlp.project(self.mlp.gate(pre).mean(dim=2))


class NeighbourAttention(Mixer):
    """One attention block over the neighbourhood graph.

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
        self.edge = EdgeNetwork(d_edge, dropout)
        self.logit = SwiGLU(2 * d // heads + d_edge // heads + n_genes, d, 1, dropout)
        self.out = SwiGLU(d + d_edge, d, d, dropout)
        self.attention_dropout = Dropout(attention_dropout)

    def geometry(self, graph: Graph) -> Tensor:
        """(M, k, d_edge) edge vectors ``c'_ij``."""
        if torch.is_grad_enabled() or len(graph) <= BLOCK_SPOTS:
            return self.edge(graph.edges)
        return torch.cat([self.edge(block) for block in graph.edges.split(BLOCK_SPOTS)])

    def forward(self, z: Tensor, y: Tensor, graph: Graph, geometry: Tensor | None = None) -> Tensor:
        """See `Mixer`; the context of a spot without neighbours is zero before the output MLP."""
        edge_vectors = self.geometry(graph) if geometry is None else geometry
        M, H = len(z), self.heads  # spots, heads
        q, k, v = self.qkv(self.norm(z)).chunk(3, dim=-1)
        d_head, d_edge_head = q.shape[1] // H, edge_vectors.shape[2] // H
        w_q, w_k, w_c, w_y = self.logit.fc1.weight.split([d_head, d_head, d_edge_head, y.shape[1]], dim=1)
        of_y = (y @ w_y.T)[:, None]
        own = q.reshape(M, H, d_head) @ w_q.T + (self.logit.fc1.bias - of_y)
        theirs = (k.reshape(M, H, d_head) @ w_k.T + of_y).flatten(1)

        if torch.is_grad_enabled() or M <= BLOCK_SPOTS:
            return self.out(self._context(own, theirs, v, w_c, edge_vectors, graph.index, graph.present))
        rows = [slice(start, start + BLOCK_SPOTS) for start in range(0, M, BLOCK_SPOTS)]
        return self.out(
            torch.cat(
                [self._context(own[r], theirs, v, w_c, edge_vectors[r], graph.index[r], graph.present[r]) for r in rows]
            )
        )

    def _context(
        self, own: Tensor, theirs: Tensor, v: Tensor, w_c: Tensor, c: Tensor, index: Tensor, present: Tensor
    ) -> Tensor:
        """(m, d + d_edge) for m of the spots: ``own, c, index, present`` are theirs, ``theirs, v`` of all spots."""
        m, K, H = *index.shape, self.heads  # spots, neighbours, heads
        flat = index.reshape(-1)
        pre = EdgeSum.apply(own, theirs, c.view(m * K * H, -1), w_c, flat)
        logits = self.logit.project(self.logit.gate(pre)).squeeze(-1)
        logits = logits.masked_fill(~present[..., None], torch.finfo(logits.dtype).min)
        weights = torch.softmax(logits, dim=1) * present[..., None]
        weights = self.attention_dropout(weights)[..., None]
        of_v = (weights * v.index_select(0, flat).view(m, K, H, -1)).sum(dim=1)
        of_c = (weights * c.view(m, K, H, -1)).sum(dim=1)
        return torch.cat([of_v.flatten(1), of_c.flatten(1)], dim=-1)
