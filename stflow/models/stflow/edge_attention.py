"""From spots and their geometry to context (section 3.3 of the paper).

For a spot i, its neighbours j, the four frames f and a head h::

    c_ij    = W_2 mean_f normalise(gate(W_1 x_ijf + b_1)) + b_2
    logit   = w_l . normalise(gate(W_q q_i^h + theirs_j^h + W_c c_ij^h + y_j - y_i + b_q)) + b_l
    context = [sum_j A_ij v_j, sum_j A_ij c_ij]        A = softmax over j

with ``gate([a, b]) = SiLU(a) * b`` and ``normalise`` to zero mean and unit variance over the hidden units; the norms'
gain and shift are in the weights that follow them.

An edge and head has hundreds of numbers on the way to a single logit, so what bounds the speed is moving them. Nothing
of an edge is kept for the backward pass, which makes it again. In float32 on the CPU that is done spot by spot
(`kernels`), anywhere else block by block with the formulas below.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stflow.models.stflow.graph import Graph
from stflow.models.stflow.masks import Masks
from stflow.models.stflow.threads import arrays, is_compiled, keys, n_threads, rates, run

#: Spots whose edges are in memory at once where they are made in blocks: some 100 kB a spot.
BLOCK_SPOTS = 8192


#: Threads that share a backward pass at most: each holds sums for all spots, 2.5 kB a spot.
MOST_SUMS = 8


class EdgeWeights(NamedTuple):
    """Weights of the edge network and of the logit network, norms folded in.

    Attributes
    ----------
    w_1, b_1
        (n_e, 3) and (n_e,): first map of the edge network.
    w_2, b_2
        (d_edge, n_e / 2) and (d_edge,): its second.
    w_q, b_q, w_c
        (n, d / H), (n,) and (n, d_edge / H): the parts of the logit network's first map that take ``q_i^h`` and
        ``c_ij^h``, and its shift.
    w_l, b_l
        (n / 2,) and (): its second.
    """

    w_1: Tensor
    b_1: Tensor
    w_2: Tensor
    b_2: Tensor
    w_q: Tensor
    b_q: Tensor
    w_c: Tensor
    w_l: Tensor
    b_l: Tensor


class Drop(NamedTuple):
    """Dropout in training: probabilities for hidden units and attention weights, and the seed of the masks."""

    hidden: float
    attention: float
    seed: int


class Spots(NamedTuple):
    """What spots bring to the attention: M of them, H heads.

    Attributes
    ----------
    q, v
        (M, d) queries and values.
    theirs
        (M, H n): what a spot's keys give to the logits of those whose neighbour it is.
    y
        (M, n): the expression state in the logit network's first map.
    """

    q: Tensor
    theirs: Tensor
    y: Tensor
    v: Tensor


def edge_vectors(x: Tensor, w: EdgeWeights) -> Tensor:
    """(M, k, 4, 3) geometry of every edge and frame -> (M, k, d_edge) ``c_ij``, without gradient or dropout."""
    if is_compiled(x):
        from stflow.models.stflow import kernels

        out = x.new_empty(*x.shape[:2], len(w.w_2))
        run(kernels.edge_vectors, len(x), arrays(x, w.w_1.T, w.b_1, w.w_2.T, w.b_2, out))
        return out
    return torch.cat([_edge_vectors(x[rows], w, None) for rows in _blocks(len(x))])


def attend(spots: Spots, c: Tensor, w: EdgeWeights, graph: Graph) -> Tensor:
    """(M, d + d_edge) context from (M, k, d_edge) edge vectors, without gradient or dropout."""
    if is_compiled(spots.v):
        from stflow.models.stflow import kernels

        out = spots.v.new_empty(len(c), spots.v.shape[1] + c.shape[2])
        given = arrays(*spots, c, graph.index, graph.present, w.w_q.T, w.b_q, w.w_c.T, w.w_l)
        run(kernels.attend, len(c), [*given, np.float32(w.b_l.item()), *arrays(out)])
        return out
    return torch.cat([_attend(spots, c[rows], w, graph, rows, None) for rows in _blocks(len(c))])


class EdgeAttention(torch.autograd.Function):
    """Context of every spot, with gradient.

    Arguments: the graph; dropout, None outside training; then the parts of `Spots` and of `EdgeWeights`.
    Gives (M, d + d_edge).
    """

    @staticmethod
    def forward(ctx: Any, graph: Graph, drop: Drop | None, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.graph, ctx.drop = graph, drop
        spots, w = Spots(*tensors[:4]), EdgeWeights(*tensors[4:])
        if is_compiled(spots.v):
            from stflow.models.stflow import kernels

            out = spots.v.new_empty(len(graph), spots.v.shape[1] + len(w.w_2))
            run(kernels.forward, len(graph), [*_call(spots, w, graph, drop), *arrays(out)])
            return out
        return torch.cat([_block(spots, w, graph, rows, drop) for rows in _blocks(len(graph))])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        tensors, graph, drop = ctx.saved_tensors, ctx.graph, ctx.drop
        by = _backward_compiled if is_compiled(grads[0]) else _backward_blocks
        return None, None, *by(Spots(*tensors[:4]), EdgeWeights(*tensors[4:]), graph, drop, grads[0])


# -- anywhere: blocks of spots, the formulas as they stand, autograd's gradient -------------------------------


def _blocks(n_spots: int) -> list[slice]:
    return [slice(start, min(start + BLOCK_SPOTS, n_spots)) for start in range(0, n_spots, BLOCK_SPOTS)]


def _block(spots: Spots, w: EdgeWeights, graph: Graph, rows: slice, drop: Drop | None) -> Tensor:
    """Context of a block, with the same masks whenever it is made."""
    masks = None if drop is None else _BlockMasks(drop, rows, spots.v.device)
    return _attend(spots, _edge_vectors(graph.edges[rows], w, masks), w, graph, rows, masks)


class _BlockMasks:
    """Dropout on one block; None stands for none."""

    def __init__(self, drop: Drop, rows: slice, device: torch.device) -> None:
        self._drop, self._masks = drop, Masks(drop.seed + rows.start, device)

    def hidden(self, x: Tensor) -> Tensor:
        """Hidden units after dropout."""
        mask = self._masks.draw(tuple(x.shape), self._drop.hidden)
        return x if mask is None else x * mask

    def attention(self, x: Tensor) -> Tensor:
        """Attention weights after dropout."""
        mask = self._masks.draw(tuple(x.shape), self._drop.attention)
        return x if mask is None else x * mask


def _normal_gate(pre: Tensor, masks: _BlockMasks | None) -> Tensor:
    a, b = pre.chunk(2, dim=-1)
    hidden = F.silu(a) * b
    hidden = masks.hidden(hidden) if masks else hidden
    return F.layer_norm(hidden, hidden.shape[-1:])


def _edge_vectors(x: Tensor, w: EdgeWeights, masks: _BlockMasks | None) -> Tensor:
    frames = _normal_gate(F.linear(x, w.w_1, w.b_1), masks)  # (m, K, 4, n_e / 2)
    c = F.linear(frames.mean(dim=2), w.w_2, w.b_2)
    return masks.hidden(c) if masks else c


def _attend(spots: Spots, c: Tensor, w: EdgeWeights, graph: Graph, rows: slice, masks: _BlockMasks | None) -> Tensor:
    index, present = graph.index[rows], graph.present[rows, :, None]  # (m, K), (m, K, 1)
    (m, K), n = index.shape, len(w.b_q)
    H = spots.theirs.shape[1] // n
    c = c.view(m, K, H, -1)
    own = spots.q[rows].view(m, H, -1) @ w.w_q.T + w.b_q
    y = spots.y.index_select(0, index.reshape(-1)).view(m, K, n) - spots.y[rows, None]
    theirs = spots.theirs.index_select(0, index.reshape(-1)).view(m, K, H, -1)
    v = spots.v.index_select(0, index.reshape(-1)).view(m, K, H, -1)
    logits = _normal_gate(own[:, None] + theirs + c @ w.w_c.T + y[:, :, None], masks) @ w.w_l + w.b_l
    logits = masks.hidden(logits) if masks else logits
    logits = logits.masked_fill(~present, torch.finfo(logits.dtype).min)
    weights = torch.softmax(logits, dim=1) * present
    weights = (masks.attention(weights) if masks else weights)[..., None]
    return torch.cat([(weights * v).sum(dim=1).flatten(1), (weights * c).sum(dim=1).flatten(1)], dim=1)


def _backward_blocks(spots: Spots, w: EdgeWeights, graph: Graph, drop: Drop | None, grad: Tensor) -> tuple[Tensor, ...]:
    leaves = [tensor.detach().requires_grad_() for tensor in (*spots, *w)]
    for rows in _blocks(len(graph)):
        with torch.enable_grad():
            _block(Spots(*leaves[:4]), EdgeWeights(*leaves[4:]), graph, rows, drop).backward(grad[rows])
    return tuple(leaf.grad if leaf.grad is not None else torch.zeros_like(leaf) for leaf in leaves)


# -- float32 on the CPU: compiled loops, a share of the spots a thread -----------------------------------------


def _call(spots: Spots, w: EdgeWeights, graph: Graph, drop: Drop | None) -> list[Any]:
    """The arguments that the forward and the backward kernel share."""
    from stflow.models.stflow.kernels import N_KEYS

    return [
        *arrays(*spots, graph.edges, graph.index, graph.present),
        *arrays(w.w_1.T, w.b_1, w.w_2.T, w.b_2, w.w_q.T, w.b_q, w.w_c.T, w.w_l),
        np.float32(w.b_l.item()),
        keys(drop.seed if drop else 0, N_KEYS),
        *(rates(drop.hidden, drop.attention) if drop else rates(0.0, 0.0)),
    ]


def _backward_compiled(
    spots: Spots, w: EdgeWeights, graph: Graph, drop: Drop | None, grad: Tensor
) -> tuple[Tensor, ...]:
    from stflow.models.stflow import kernels

    like = (spots.theirs, spots.y, spots.v, w.w_1.T, w.b_1, w.w_2.T, w.b_2, w.w_q.T, w.b_q, w.w_c.T, w.w_l, w.b_l[None])
    # Each thread adds up what it finds on its own: two threads may meet at a neighbour.
    n = min(n_threads(len(graph)), MOST_SUMS)
    sums = [torch.zeros(n, *tensor.shape) for tensor in like]
    d_q = torch.empty(spots.q.shape)
    given = [*_call(spots, w, graph, drop), *arrays(w.w_2, w.w_q, w.w_c, grad, d_q)]
    run(kernels.backward, len(graph), given, [part.numpy() for part in sums])
    theirs, y, v, w_1t, b_1, w_2t, b_2, w_qt, b_q, w_ct, w_l, b_l = (
        part[0] if n == 1 else part.sum(dim=0) for part in sums
    )
    return d_q, theirs, y, v, w_1t.T, b_1, w_2t.T, b_2, w_qt.T, b_q, w_ct.T, w_l, b_l[0]
