"""The fast layers give what their plain definitions give, forwards and backwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stflow.models.stflow import edge_attention, kernels, threads
from stflow.models.stflow.edge_attention import Drop, EdgeAttention, EdgeWeights, Spots, attend, edge_vectors
from stflow.models.stflow.graph import Graph
from stflow.models.stflow.layers import Dropout, GatedNorm, SwiGLU, TimeEmbedding
from stflow.models.stflow.masks import Masks


def plain_gate(pre: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    a, b = pre.chunk(2, dim=-1)
    hidden = F.silu(a) * b * (1 if mask is None else mask)
    return F.layer_norm(hidden, hidden.shape[-1:], eps=1e-5)


# -- attention over edges: nothing is kept for the backward pass ------------------------------------------------

M, K, H, D_HEAD, D_EDGE, N_EDGE, N_LOGIT = 150, 3, 2, 4, 6, 8, 10


def edge_case(dtype: torch.dtype) -> tuple[list[torch.Tensor], Graph]:
    """The tensors of `Spots` and `EdgeWeights`, and a graph with an absent neighbour and a lonely spot."""
    generator = torch.Generator().manual_seed(1)

    def tensor(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    index = torch.randint(0, M, (M, K), generator=generator)
    present = torch.ones(M, K, dtype=torch.bool)
    present[2, 1] = False
    present[5] = False
    graph = Graph(index, present, tensor(M, K, 4, 3).detach())
    spots = [tensor(M, H * D_HEAD), tensor(M, H * N_LOGIT), tensor(M, N_LOGIT), tensor(M, H * D_HEAD)]
    edge = [tensor(N_EDGE, 3), tensor(N_EDGE), tensor(D_EDGE, N_EDGE // 2), tensor(D_EDGE)]
    logit = [tensor(N_LOGIT, D_HEAD), tensor(N_LOGIT), tensor(N_LOGIT, D_EDGE // H), tensor(N_LOGIT // 2), tensor()]
    return [*spots, *edge, *logit], graph


def mask_shapes(m: int) -> list[tuple[int, ...]]:
    """Of the five masks of m spots, in the order in which they are drawn."""
    return [(m, K, 4, N_EDGE // 2), (m, K, D_EDGE), (m, K, H, N_LOGIT // 2), (m, K, H), (m, K, H)]


def block_masks(drop: Drop, block: int) -> list[torch.Tensor]:
    """Masks as blocks of spots draw them."""
    parts = []
    for start in range(0, M, block):
        stream = Masks(drop.seed + start, torch.device("cpu"))
        shapes = mask_shapes(min(block, M - start))
        rates = [drop.hidden] * 4 + [drop.attention]
        drawn = [stream.draw(shape, p) for shape, p in zip(shapes, rates, strict=True)]
        parts.append([torch.ones(s) if mask is None else mask for mask, s in zip(drawn, shapes, strict=True)])
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def kernel_masks(drop: Drop) -> list[torch.Tensor]:
    """Masks as the compiled kernels hash them, asked unit by unit."""
    thresholds, scales = threads.rates(drop.hidden, drop.attention)
    found = []
    for number, (key, shape) in enumerate(zip(threads.keys(drop.seed, kernels.N_KEYS), mask_shapes(M), strict=True)):
        which = int(number == kernels.WEIGHT)
        units = np.arange(int(np.prod(shape)), dtype=np.uint32)
        kept = [kernels._kept(key, unit, thresholds[which]) for unit in units]
        found.append(torch.tensor(kept).view(shape) * float(scales[which]))
    return found


def plain_context(tensors: list[torch.Tensor], graph: Graph, masks: list[torch.Tensor] | None) -> torch.Tensor:
    """The formulas of `edge_attention` as they are printed."""
    spots, w = Spots(*tensors[:4]), EdgeWeights(*tensors[4:])
    drops = [mask.to(w.w_1) for mask in masks or [torch.ones(shape) for shape in mask_shapes(M)]]
    c = plain_gate(graph.edges @ w.w_1.T + w.b_1, drops[0]).mean(dim=2) @ w.w_2.T + w.b_2
    c = (c * drops[1]).view(M, K, H, -1)
    own = spots.q.view(M, 1, H, -1) @ w.w_q.T + w.b_q - spots.y[:, None, None]
    theirs = spots.theirs[graph.index].view(M, K, H, -1) + spots.y[graph.index][:, :, None]
    logits = (plain_gate(own + theirs + c @ w.w_c.T, drops[2]) @ w.w_l + w.b_l) * drops[3]
    logits = logits.masked_fill(~graph.present[..., None], -1e9)
    weights = torch.softmax(logits, dim=1) * graph.present[..., None] * drops[4]
    of_v = torch.einsum("mkh,mkhd->mhd", weights, spots.v[graph.index].view(M, K, H, -1))
    of_c = torch.einsum("mkh,mkhd->mhd", weights, c)
    return torch.cat([of_v.flatten(1), of_c.flatten(1)], dim=1)


DROPS = [None, Drop(0.25, 0.4, 7), Drop(0.0, 0.4, 7), Drop(0.3, 0.0, 8)]


def check_against(
    tensors: list[torch.Tensor], graph: Graph, drop: Drop | None, masks: list[torch.Tensor] | None, tolerance: float
) -> None:
    """`EdgeAttention` and its gradient against the plain formula in float64."""
    ours = EdgeAttention.apply(graph, drop, *tensors)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    plain = plain_context(exact, Graph(graph.index, graph.present, graph.edges.double()), masks)
    # Where dropout leaves a spot hidden units of nearly one size, the plain formula in float32 is further off itself.
    with torch.no_grad():
        inexact = (plain_context([tensor.detach() for tensor in tensors], graph, masks).double() - plain).abs().max()
    torch.testing.assert_close(ours.double(), plain, atol=max(tolerance, 1.5 * float(inexact)), rtol=tolerance)
    direction = torch.randn(ours.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gradients = torch.autograd.grad((ours * direction.to(ours)).sum(), tensors)
    expected = torch.autograd.grad((plain * direction).sum(), exact)
    for found, wanted in zip(gradients, expected, strict=True):
        size = max(float(wanted.abs().max()), 1.0)  # the shift of all logits has none without dropout
        torch.testing.assert_close(found.double() / size, wanted / size, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("block", [40, 1000])
@pytest.mark.parametrize("drop", DROPS)
def test_edge_attention_in_blocks_is_its_definition(
    monkeypatch: pytest.MonkeyPatch, block: int, drop: Drop | None
) -> None:
    monkeypatch.setattr(edge_attention, "BLOCK_SPOTS", block)
    tensors, graph = edge_case(torch.float64)
    check_against(tensors, graph, drop, None if drop is None else block_masks(drop, block), 1e-7)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("drop", DROPS)
def test_compiled_edge_attention_is_its_definition(
    monkeypatch: pytest.MonkeyPatch, n_threads: int, drop: Drop | None
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    tensors, graph = edge_case(torch.float32)
    check_against(tensors, graph, drop, None if drop is None else kernel_masks(drop), 2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attention_without_gradient_is_the_same(dtype: torch.dtype) -> None:
    tensors, graph = edge_case(dtype)
    spots, weights = Spots(*tensors[:4]), EdgeWeights(*tensors[4:])
    with torch.no_grad():
        context = attend(spots, edge_vectors(graph.edges, weights), weights, graph)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(context, plain_context(tensors, graph, None).detach(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_same_call_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch, n_threads: int) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    tensors, graph = edge_case(torch.float32)
    before = [tensor.detach().clone() for tensor in (*tensors, graph.edges)]
    gradients = []
    for _ in range(2):
        out = EdgeAttention.apply(graph, Drop(0.2, 0.2, 5), *tensors)
        gradients.append(torch.autograd.grad(out.square().sum(), tensors))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert all(torch.equal(old, new) for old, new in zip(before, (*tensors, graph.edges), strict=True))


def test_threads_do_not_change_what_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, graph = edge_case(torch.float32)
    outs = []
    for n_threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n_threads: n)
        outs.append(EdgeAttention.apply(graph, Drop(0.5, 0.5, 5), *tensors))
    assert torch.equal(*outs)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.03])
def test_the_kernels_drop_their_share_and_neighbours_are_independent(p: float) -> None:
    (threshold,), _ = threads.rates(p)
    n = 200_000
    for key in threads.keys(11, 2):
        kept = np.array([kernels._kept(key, unit, threshold) for unit in np.arange(n, dtype=np.uint32)])
        dropped = (kept == 0) - p
        deviation = (p * (1 - p) / n) ** 0.5
        assert abs(dropped.mean()) < 5 * deviation
        for lag in (1, 2, 32, 64):
            assert abs((dropped[lag:] * dropped[:-lag]).mean()) < 5 * p * (1 - p) / n**0.5


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_gated_norm_is_its_definition(p: float) -> None:
    generator = torch.Generator().manual_seed(0)
    pre, bias = torch.randn(70, 12, generator=generator), torch.randn(12, generator=generator)
    (threshold,), (scale,) = threads.rates(p)
    (key,) = threads.keys(9, 1)
    kept = [kernels._kept(key, unit, threshold) for unit in np.arange(pre.numel() // 2, dtype=np.uint32)]
    mask = torch.tensor(kept, dtype=torch.float64).view(70, 6) * float(scale)
    ours = [pre.clone().requires_grad_(), bias.clone().requires_grad_()]
    plain = [pre.double().requires_grad_(), bias.double().requires_grad_()]
    found, wanted = GatedNorm.apply(*ours, p, 9), plain_gate(plain[0] + plain[1], mask)
    torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=1e-5)
    direction = torch.randn(found.shape, generator=generator)
    of_ours = torch.autograd.grad((found * direction).sum(), ours)
    of_plain = torch.autograd.grad((wanted * direction).sum(), plain)
    for one, other in zip(of_ours, of_plain, strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-4, rtol=1e-4)


def test_bits_do_not_depend_on_where_memory_was_given() -> None:
    """A loop that writes is compiled for overlapping arrays too, and now and then that one runs."""
    rng = np.random.default_rng(0)
    pre, bias = rng.normal(size=(2, 16)).astype(np.float32), rng.normal(size=16).astype(np.float32)
    seen: set[bytes] = set()
    junk: list[np.ndarray] = []
    for size in rng.integers(1, 200, 200_000):
        junk.append(np.empty(size, dtype=np.uint8))
        if len(junk) > 40:
            junk[size % 40] = junk.pop()
        out = np.empty((2, 8), dtype=np.float32)
        kernels.gated_norm(0, 2, pre, bias, np.uint32(3), np.uint32(13107), np.float32(1.25), out)
        seen.add(out.tobytes())
    assert len(seen) == 1


def test_swiglu_is_its_definition() -> None:
    torch.manual_seed(0)
    mlp = SwiGLU(5, 8, 3, dropout=0.3).eval()
    torch.nn.init.normal_(mlp.norm.weight)
    torch.nn.init.normal_(mlp.norm.bias)
    x = torch.randn(11, 5)
    a, b = mlp.fc1(x).chunk(2, dim=-1)
    expected = mlp.fc2(mlp.norm(F.silu(a) * b))
    torch.testing.assert_close(mlp(x), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mlp.double()(x.double()), expected.double(), atol=1e-5, rtol=1e-5)


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
