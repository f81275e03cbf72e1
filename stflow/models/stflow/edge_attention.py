"""From spots and their geometry to context (section 3.3 of the paper), a block of spots at a time.

For a spot i, its neighbours j, the four frames f and a head h::

    c_ij    = edge network: W_2 mean_f normalise(gate(W_1 x_ijf + b_1)) + b_2
    logit   = w_l . normalise(gate(own_i^h + theirs_j^h + W_c c_ij^h)) + b_l        A = softmax over j
    context = [sum_j A_ij v_j, sum_j A_ij c_ij]

with ``gate([a, b]) = SiLU(a) * b`` and ``normalise`` to zero mean and unit variance over the hidden units; the norms'
gain and shift are in the weights that follow them. An edge and head has hundreds of numbers on the way to a single
logit, so what bounds the speed is moving them. A block's edges fit in the processor's cache; nothing of them is kept
for the backward pass, which makes them again, block by block, and writes the gradient out.

The plain formulas stand in the tests, with autograd's gradient.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stflow.models.stflow.gate import centre, gate, gate_backward
from stflow.models.stflow.graph import Graph
from stflow.models.stflow.masks import Masks, times

#: Spots a block: their edges (16 kB a spot and array) stay in a core's cache on the CPU; on a GPU, enough to fill it.
BLOCK_SPOTS = {"cpu": 128, "cuda": 16_384}


class EdgeWeights(NamedTuple):
    """Weights of the edge network and of the logit network, norms folded in.

    Attributes
    ----------
    w_1, b_1
        (n_e, 3) and (n_e,): first map of the edge network.
    w_2, b_2
        (d_edge, n_e / 2) and (d_edge,): its second.
    w_c
        (n, d_edge / H): the part of the logit network's first map that takes ``c_ij^h``.
    w_l, b_l
        (n / 2,) and (): its second.
    """

    w_1: Tensor
    b_1: Tensor
    w_2: Tensor
    b_2: Tensor
    w_c: Tensor
    w_l: Tensor
    b_l: Tensor


class Workspace:
    """Memory by name that all blocks of a pass use in turn, so that it stays in the cache."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._memory: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        """Uninitialised memory of a shape; a block's own until the next block asks for the same name."""
        n = math.prod(shape)
        if name not in self._memory or len(self._memory[name]) < n:
            self._memory[name] = self._like.new_empty(n)
        return self._memory[name][:n].view(shape)


class Drop(NamedTuple):
    """Dropout in training: probabilities for hidden units and attention weights, and the seed of the masks."""

    hidden: float
    attention: float
    seed: int


def edge_vectors(x: Tensor, weights: EdgeWeights) -> Tensor:
    """(M, k, 4, 3) geometry of every edge and frame -> (M, k, d_edge) ``c_ij``, without gradient or dropout."""
    out = x.new_empty(*x.shape[:2], len(weights.w_2))
    space = Workspace(x)
    for rows in _blocks(len(x), x.device):
        out[rows] = _Edges(x[rows], weights, space).c.view_as(out[rows])
    return out


def attend(own: Tensor, theirs: Tensor, v: Tensor, c: Tensor, weights: EdgeWeights, graph: Graph) -> Tensor:
    """(M, d + d_edge) context from given edge vectors, without gradient or dropout; arguments as `EdgeAttention`."""
    out = v.new_empty(len(v), v.shape[1] + c.shape[2])
    space = Workspace(v)
    for rows in _blocks(len(v), v.device):
        out[rows] = _Attention(own[rows], theirs, v, c[rows], weights, graph, rows, space).context()
    return out


class EdgeAttention(torch.autograd.Function):
    """Context of every spot, with gradient.

    Arguments, M spots, H heads: ``own`` (M, H, n) and ``theirs`` (M, H n), what a spot gives to its logits as itself
    and as a neighbour; ``v`` (M, d) values; the graph; dropout, None outside training; then the `EdgeWeights`.
    Gives (M, d + d_edge).
    """

    @staticmethod
    def forward(
        ctx: Any, own: Tensor, theirs: Tensor, v: Tensor, graph: Graph, drop: Drop | None, *weights: Tensor
    ) -> Tensor:
        ctx.save_for_backward(own, theirs, v, *weights)
        ctx.graph, ctx.drop = graph, drop
        w = EdgeWeights(*weights)
        out = v.new_empty(len(v), v.shape[1] + len(w.w_2))
        space = Workspace(v)
        for rows in _blocks(len(v), v.device):
            masks = _masks(drop, rows, v.device)
            edges = _Edges(graph.edges[rows], w, space, masks)
            out[rows] = _Attention(own[rows], theirs, v, edges.c, w, graph, rows, space, masks).context()
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        own, theirs, v, *weights = ctx.saved_tensors
        (grad,), graph, drop, w = grads, ctx.graph, ctx.drop, EdgeWeights(*weights)
        d_own, d_theirs, d_v = torch.empty_like(own), torch.zeros_like(theirs), torch.zeros_like(v)
        d_w = EdgeWeights(*(torch.zeros_like(weight) for weight in w))
        space = Workspace(v)
        for rows in _blocks(len(v), v.device):
            masks = _masks(drop, rows, v.device)
            edges = _Edges(graph.edges[rows], w, space, masks)
            attention = _Attention(own[rows], theirs, v, edges.c, w, graph, rows, space, masks)
            d_own[rows], d_c = attention.backward(grad[rows], d_theirs, d_v, d_w)
            edges.backward(d_c, d_w)
        return d_own, d_theirs, d_v, None, None, *d_w


class _BlockMasks(Masks):
    """The masks of one block, the same in the backward pass as they were in the forward pass."""

    def __init__(self, drop: Drop, rows: slice, device: torch.device) -> None:
        super().__init__(drop.seed + rows.start, device)
        self.drop = drop


class _Edges:
    """The edge network on a block of m spots: E = m k edges, four frames each.

    Attributes
    ----------
    c
        (E, d_edge) edge vectors.
    """

    def __init__(self, x: Tensor, w: EdgeWeights, space: Workspace, masks: _BlockMasks | None = None) -> None:
        p = masks.drop.hidden if masks else 0.0
        F = x.shape[2]  # frames
        self.w = w
        self.x = x.reshape(-1, x.shape[3])
        shape = (len(self.x), w.w_2.shape[1])
        memory = space("edge a", *shape), space("edge b", *shape)
        self.keep = masks.keep(shape, p, space("edge keep", *shape)) if masks else None
        # A row-major copy of the narrow weight makes a faster product.
        self.pre = space("edge pre", len(self.x), len(w.w_1))
        torch.addmm(w.b_1, self.x, w.w_1.T.contiguous(), out=self.pre)
        self.sigmoid, hidden = gate(self.pre, self.keep, memory)
        self.scale = centre(hidden, p, space("square", *shape))
        self.normal = hidden.mul_(self.scale[:, None]).view(-1, F, hidden.shape[1])
        self.mean = self.normal.sum(dim=1).mul_(1 / F)
        self.keep_out = masks.draw((len(self.mean), len(w.w_2)), p) if masks else None
        self.c = times(torch.addmm(w.b_2, self.mean, w.w_2.T), self.keep_out)

    def backward(self, d_c: Tensor, d_w: EdgeWeights) -> None:
        """Add to ``d_w`` what (E, d_edge) ``d_c`` implies."""
        E, F, n = self.normal.shape  # edges, frames, hidden units
        d_c = times(d_c, self.keep_out)
        d_w.b_2.add_(d_c.sum(dim=0))
        d_w.w_2.addmm_(d_c.T, self.mean)
        d_mean = (d_c @ self.w.w_2).mul_(1 / F)
        # Through the normalisation: scale * (g - mean(g) - normal * mean(g * normal)), g the same for all frames.
        slope = (self.normal * d_mean[:, None]).mean(dim=2, keepdim=True)
        d_hidden = d_mean.sub_(d_mean.mean(dim=1, keepdim=True))[:, None] - self.normal.mul_(slope)
        d_hidden.mul_(self.scale.view(E, F, 1))
        d_pre = gate_backward(d_hidden.view(E * F, n), self.pre, self.sigmoid, self.keep)
        d_w.b_1.add_(d_pre.sum(dim=0))
        d_w.w_1.add_((self.x.T @ d_pre).T)


class _Attention:
    """Logits, weights and context of a block of m spots with k neighbours and H heads: R = m k H rows."""

    def __init__(
        self,
        own: Tensor,
        theirs: Tensor,
        v: Tensor,
        c: Tensor,
        w: EdgeWeights,
        graph: Graph,
        rows: slice,
        space: Workspace,
        masks: _BlockMasks | None = None,
    ) -> None:
        p = masks.drop.hidden if masks else 0.0
        present = graph.present[rows, :, None]
        (m, K, _), (_, H, n) = present.shape, own.shape
        self.w, self.shape = w, (m, K, H, -1)
        self.flat = graph.index[rows].reshape(-1)
        self.c = c.reshape(m * K * H, -1)
        self.v = v.index_select(0, self.flat).view(self.shape)
        self.pre = torch.index_select(theirs, 0, self.flat, out=space("logit pre", m * K, H * n))
        self.pre.view(m, K, H * n).add_(own.reshape(m, 1, H * n))
        self.pre = self.pre.view(-1, n).addmm_(self.c, w.w_c.T)
        shape = (m * K * H, n // 2)
        memory = space("logit a", *shape), space("logit b", *shape)
        self.keep = masks.keep(shape, p, space("logit keep", *shape)) if masks else None
        self.sigmoid, self.hidden = gate(self.pre, self.keep, memory)
        self.scale = centre(self.hidden, p, space("square", *shape))
        self.normal_logit = torch.mv(self.hidden, w.w_l).mul_(self.scale)
        self.keep_logit = masks.draw((m, K, H), p) if masks else None
        logits = times(self.normal_logit.add(w.b_l).view(m, K, H), self.keep_logit)
        logits.masked_fill_(~present, torch.finfo(logits.dtype).min)
        self.softmax = torch.softmax(logits, dim=1) * present
        self.keep_weights = masks.draw((m, K, H), masks.drop.attention) if masks else None
        self.weights = self.softmax if self.keep_weights is None else self.softmax * self.keep_weights

    def context(self) -> Tensor:
        """(m, d + d_edge)."""
        weights = self.weights[..., None]
        of_v, of_c = (weights * self.v).sum(dim=1), (weights * self.c.view(self.shape)).sum(dim=1)
        return torch.cat([of_v.flatten(1), of_c.flatten(1)], dim=1)

    def backward(self, grad: Tensor, d_theirs: Tensor, d_v: Tensor, d_w: EdgeWeights) -> tuple[Tensor, Tensor]:
        """``d_own`` (m, H, n) and ``d_c`` (E, d_edge) from (m, d + d_edge) ``grad``; adds the rest to the others."""
        m, K, H, _ = self.shape  # spots, neighbours, heads
        d = d_v.shape[1]
        of_v, of_c = grad[:, :d].reshape(m, 1, H, -1), grad[:, d:].reshape(m, 1, H, -1)
        d_v.index_add_(0, self.flat, (self.weights[..., None] * of_v).view(m * K, d))
        d_c = (self.weights[..., None] * of_c).view(m * K * H, -1)
        d_weights = (self.v * of_v).sum(dim=3).add_((self.c.view(self.shape) * of_c).sum(dim=3))
        times(d_weights, self.keep_weights)
        d_logits = self.softmax * (d_weights - (self.softmax * d_weights).sum(dim=1, keepdim=True))
        d_q = times(d_logits, self.keep_logit).view(-1)
        # q = w_l . h scale with h centred: dq/dh = scale (w_l - mean(w_l)) - h scale^2 q / n.
        n = self.hidden.shape[1]
        of_scale = d_q * self.scale
        d_w.b_l.add_(d_q.sum())
        d_w.w_l.add_(torch.mv(self.hidden.T, of_scale))
        d_hidden = self.hidden.mul_((of_scale * self.scale * self.normal_logit).mul_(-1 / n)[:, None])
        d_hidden.addr_(of_scale, self.w.w_l - self.w.w_l.mean())
        d_pre = gate_backward(d_hidden, self.pre, self.sigmoid, self.keep)
        d_w.w_c.add_((self.c.T @ d_pre).T)
        d_c.addmm_(d_pre, self.w.w_c)
        by_edge = d_pre.view(m * K, -1)
        d_theirs.index_add_(0, self.flat, by_edge)
        return by_edge.view(m, K, H, -1).sum(dim=1), d_c.view(m * K, -1)


def _blocks(n_spots: int, device: torch.device) -> list[slice]:
    size = BLOCK_SPOTS[device.type]
    return [slice(start, min(start + size, n_spots)) for start in range(0, n_spots, size)]


def _masks(drop: Drop | None, rows: slice, device: torch.device) -> _BlockMasks | None:
    return None if drop is None else _BlockMasks(drop, rows, device)
