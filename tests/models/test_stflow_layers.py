"""The fast layers give what their plain definitions give, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from stflow.models.stflow.attention import EdgeSum
from stflow.models.stflow.layers import Dropout, GatedNorm, SwiGLU, TimeEmbedding


def plain_gate(pre: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    a, b = pre.chunk(2, dim=-1)
    hidden = F.silu(a) * b * (1 if mask is None else mask)
    return F.layer_norm(hidden, hidden.shape[-1:], eps=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_gated_norm_is_its_definition(masked: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    pre = torch.randn(7, 3, 12, generator=generator, dtype=torch.float64, requires_grad=True)
    mask = torch.randint(0, 2, (7, 3, 6), generator=generator).double() * 1.25 if masked else None
    torch.testing.assert_close(GatedNorm.apply(pre, mask, 1e-5), plain_gate(pre, mask))
    assert torch.autograd.gradcheck(lambda x: GatedNorm.apply(x, mask, 1e-5), (pre,))


def test_edge_sum_is_its_definition() -> None:
    generator = torch.Generator().manual_seed(1)

    def tensor(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)

    m, n_all, K, H, n, e = 3, 5, 4, 2, 6, 3
    own, theirs, c, w = tensor(m, H, n), tensor(n_all, H * n), tensor(m * K * H, e), tensor(n, e)
    flat = torch.randint(0, n_all, (m * K,), generator=generator)
    plain = own[:, None] + theirs[flat].view(m, K, H, n) + (c @ w.T).view(m, K, H, n)
    torch.testing.assert_close(EdgeSum.apply(own, theirs, c, w, flat), plain)
    assert torch.autograd.gradcheck(lambda *x: EdgeSum.apply(*x, flat), (own, theirs, c, w))


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
