"""The fast layers give what their plain definitions give, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from stflow.models.stflow import edge_attention
from stflow.models.stflow.edge_attention import Drop, EdgeAttention, EdgeWeights, attend, edge_vectors
from stflow.models.stflow.graph import Graph
from stflow.models.stflow.layers import Dropout, GatedNorm, SwiGLU, TimeEmbedding
from stflow.models.stflow.masks import Masks

CPU = torch.device("cpu")


def plain_gate(pre: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    a, b = pre.chunk(2, dim=-1)
    hidden = F.silu(a) * b * (1 if mask is None else mask)
    return F.layer_norm(hidden, hidden.shape[-1:], eps=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_gated_norm_is_its_definition(masked: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    pre = torch.randn(7, 3, 12, generator=generator, dtype=torch.float64, requires_grad=True)
    keep = torch.randint(0, 2, (7, 3, 6), generator=generator).double() if masked else None
    p = 0.2 if masked else 0.0
    factors = None if keep is None else keep / (1 - p)
    torch.testing.assert_close(GatedNorm.apply(pre, keep, p), plain_gate(pre, factors))
    assert torch.autograd.gradcheck(lambda x: GatedNorm.apply(x, keep, p), (pre,))


# -- attention over edges: every block's backward pass makes its forward pass again -----------------------------

M, K, H, D_HEAD, D_EDGE, N_EDGE, N_LOGIT = 9, 3, 2, 4, 6, 8, 10


def edge_case() -> tuple[list[torch.Tensor], Graph]:
    """``own, theirs, v`` and the weights, in float64, and a graph with an absent neighbour and a lonely spot."""
    generator = torch.Generator().manual_seed(1)

    def tensor(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    index = torch.randint(0, M, (M, K), generator=generator)
    present = torch.ones(M, K, dtype=torch.bool)
    present[2, 1] = False
    present[5] = False
    graph = Graph(index, present, torch.randn(M, K, 4, 3, generator=generator, dtype=torch.float64))
    spots = [tensor(M, H, N_LOGIT), tensor(M, H * N_LOGIT), tensor(M, H * D_HEAD)]
    edge = [tensor(N_EDGE, 3), tensor(N_EDGE), tensor(D_EDGE, N_EDGE // 2), tensor(D_EDGE)]
    return [*spots, *edge, tensor(N_LOGIT, D_EDGE // H), tensor(N_LOGIT // 2), tensor()], graph


def plain_context(tensors: list[torch.Tensor], graph: Graph, drop: Drop | None, block: int) -> torch.Tensor:
    """The formulas of `edge_attention` as they are printed, dropout's masks drawn in the same order."""
    own, theirs, v, *rest = tensors
    w = EdgeWeights(*rest)
    parts = []
    for start in range(0, M, block):
        m = min(block, M - start)
        rows = slice(start, start + m)
        shapes = [(m * K * 4, N_EDGE // 2), (m * K, D_EDGE), (m * K * H, N_LOGIT // 2), (m, K, H), (m, K, H)]
        ones = [torch.ones(shape, dtype=torch.float64) for shape in shapes]
        masks = ones
        if drop is not None:
            stream = Masks(drop.seed + start, CPU)
            rates = [drop.hidden] * 4 + [drop.attention]
            drawn = [stream.draw(shape, p) for shape, p in zip(shapes, rates, strict=True)]
            masks = [one if mask is None else mask.double() for mask, one in zip(drawn, ones, strict=True)]
        frames = plain_gate(graph.edges[rows].reshape(-1, 3) @ w.w_1.T + w.b_1, masks[0])
        c = (frames.view(m * K, 4, -1).mean(dim=1) @ w.w_2.T + w.b_2) * masks[1]
        c = c.view(m, K, H, -1)
        neighbours = graph.index[rows]
        pre = own[rows, None] + theirs[neighbours].view(m, K, H, -1) + c @ w.w_c.T
        normal = plain_gate(pre, masks[2].view(m, K, H, -1))
        logits = (normal @ w.w_l + w.b_l) * masks[3]
        logits = logits.masked_fill(~graph.present[rows, :, None], -1e9)
        weights = torch.softmax(logits, dim=1) * graph.present[rows, :, None] * masks[4]
        of_v = torch.einsum("mkh,mkhd->mhd", weights, v[neighbours].view(m, K, H, -1))
        of_c = torch.einsum("mkh,mkhd->mhd", weights, c)
        parts.append(torch.cat([of_v.flatten(1), of_c.flatten(1)], dim=1))
    return torch.cat(parts)


@pytest.mark.parametrize("block", [4, 100])
@pytest.mark.parametrize("drop", [None, Drop(0.25, 0.4, 7), Drop(0.0, 0.4, 7), Drop(0.3, 0.0, 8)])
def test_edge_attention_is_its_definition(monkeypatch: pytest.MonkeyPatch, block: int, drop: Drop | None) -> None:
    monkeypatch.setitem(edge_attention.BLOCK_SPOTS, "cpu", block)
    tensors, graph = edge_case()
    own, theirs, v, *weights = tensors
    ours = EdgeAttention.apply(own, theirs, v, graph, drop, *weights)
    plain = plain_context(tensors, graph, drop, block)
    torch.testing.assert_close(ours, plain)
    direction = torch.randn(ours.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gradients = torch.autograd.grad((ours * direction).sum(), tensors)
    expected = torch.autograd.grad((plain * direction).sum(), tensors)
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_attention_without_gradient_is_the_same() -> None:
    tensors, graph = edge_case()
    own, theirs, v, *rest = tensors
    weights = EdgeWeights(*rest)
    with torch.no_grad():
        context = attend(own, theirs, v, edge_vectors(graph.edges, weights), weights, graph)
    torch.testing.assert_close(context, plain_context(tensors, graph, None, M).detach())


def test_a_block_does_not_change_what_it_was_given() -> None:
    """Its memory is used again and written over in place; what came from outside must not be."""
    tensors, graph = edge_case()
    own, theirs, v, *weights = tensors
    before = [tensor.detach().clone() for tensor in (*tensors, graph.edges)]
    gradients = []
    for _ in range(2):
        out = EdgeAttention.apply(own, theirs, v, graph, Drop(0.2, 0.2, 5), *weights)
        gradients.append(torch.autograd.grad(out.sum(), tensors))
    assert all(torch.equal(old, new) for old, new in zip(before, (*tensors, graph.edges), strict=True))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_swiglu_is_its_definition() -> None:
    torch.manual_seed(0)
    mlp = SwiGLU(5, 8, 3, dropout=0.3).eval()
    torch.nn.init.normal_(mlp.norm.weight)
    torch.nn.init.normal_(mlp.norm.bias)
    x = torch.randn(11, 5)
    a, b = mlp.fc1(x).chunk(2, dim=-1)
    torch.testing.assert_close(mlp(x), mlp.fc2(mlp.norm(F.silu(a) * b)), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.03])
def test_dropout_drops_its_share_and_keeps_the_mean(p: float) -> None:
    layer = Dropout(p).train()
    layer.generator = torch.Generator().manual_seed(3)
    out = layer(torch.ones(400_003))
    n = len(out)
    assert (out == 0).double().mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / n) ** 0.5)
    assert out.double().mean().item() == pytest.approx(1, abs=0.01)
    assert len(out.unique()) == 2
    # Neighbouring entries come from one random number, and must still be independent.
    dropped = (out == 0).double() - p
    assert abs((dropped[1:] * dropped[:-1]).mean().item()) < 5 * p * (1 - p) / n**0.5


def test_dropout_draws_from_its_generator_alone() -> None:
    layer = Dropout(0.5).train()
    before = torch.get_rng_state()
    outs = []
    for _ in range(2):
        layer.generator = torch.Generator().manual_seed(4)
        outs.append(layer(torch.ones(1000)))
    assert torch.equal(*outs)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(layer.eval()(outs[0]), outs[0])


def test_time_embedding_is_sinusoidal() -> None:
    torch.manual_seed(0)
    layer = TimeEmbedding(6)
    t = torch.tensor([[0.0], [0.3]])
    frequency = 10_000.0 ** (-torch.arange(128) / 128)
    waves = torch.cat([torch.cos(t * frequency), torch.sin(t * frequency)], dim=1)
    torch.testing.assert_close(layer(t), layer.fc2(F.silu(layer.fc1(waves))), atol=1e-6, rtol=1e-5)
