"""The small parts of the denoiser: gated MLP, dropout with a generator of its own, time embedding, expression head."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Random bits a mask entry; the drop probability is honoured to 2 ** -16.
_BITS = 16


class Dropout(nn.Module):
    """Dropout that draws from ``generator``, never from torch's global state.

    Four mask entries come from each 64-bit random number: on the CPU that is several times faster than a Bernoulli
    draw an entry, which would cost as much as the rest of the network.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def mask(self, shape: torch.Size, device: torch.device) -> Tensor | None:
        """Float32 factors, 0 with probability p and else 1 / (1 - p); None where nothing is dropped."""
        if not self.training or self.p == 0:
            return None
        n = shape.numel()
        per_number = 64 // _BITS
        numbers = torch.empty(-(-n // per_number), dtype=torch.int64, device=device)
        numbers.random_(-(2**63), None, generator=self.generator)
        # Uniform integers to factors by arithmetic on floats, which is vectorised where comparisons are not.
        uniform = numbers.view(torch.int16)[:n].view(shape).float()
        dropped = round(self.p * 2**_BITS)
        keep = uniform.add_(2 ** (_BITS - 1) - dropped + 1).clamp_(0, 1)
        return keep.mul_(2**_BITS / (2**_BITS - dropped))

    def forward(self, x: Tensor) -> Tensor:
        mask = self.mask(x.shape, x.device)
        return x if mask is None else x * mask


class GatedNorm(torch.autograd.Function):
    """``normalise(SiLU(a) * b * mask)`` of (..., 2n) ``[a, b]``: zero mean, unit variance over the n hidden units.

    The plain composition, with its gradient written out: a fraction of the passes over memory, and they are what
    the attention costs.
    """

    @staticmethod
    def forward(ctx: Any, pre: Tensor, mask: Tensor | None, eps: float) -> Tensor:
        a, b = pre.chunk(2, dim=-1)
        sigmoid = torch.sigmoid(a)
        hidden = sigmoid * a
        hidden *= b
        if mask is not None:
            hidden *= mask
        hidden -= hidden.mean(dim=-1, keepdim=True)
        variance = hidden.square().mean(dim=-1, keepdim=True)
        scale = torch.rsqrt(variance + eps)
        hidden *= scale
        ctx.save_for_backward(pre, sigmoid, hidden, scale, mask)
        return hidden

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        pre, sigmoid, normal, scale, mask = ctx.saved_tensors
        (grad,) = grads
        a, b = pre.chunk(2, dim=-1)
        # Through the normalisation: scale * (g - mean(g) - normal * mean(g * normal)).
        product = grad * normal
        slope = product.mean(dim=-1, keepdim=True)
        g = torch.mul(normal, slope, out=product)
        g = torch.sub(grad, g, out=g)
        g -= grad.mean(dim=-1, keepdim=True)
        g *= scale
        if mask is not None:
            g *= mask
        # Through the gate: d(a s b) = b s (1 + a (1 - s)) da + a s db, with s = sigmoid(a).
        grad_pre = torch.empty_like(pre)
        grad_a, grad_b = grad_pre.chunk(2, dim=-1)
        torch.mul(a, sigmoid, out=grad_b)
        torch.sub(a, grad_b, out=grad_a)
        grad_a += 1
        grad_a *= sigmoid
        grad_a *= b
        grad_a *= g
        grad_b *= g
        return grad_pre, None, None


class SwiGLU(nn.Module):
    """Gated MLP: ``dropout(fc2(norm(dropout(SiLU(a) * b))))`` with ``a, b`` the halves of ``fc1(x)``."""

    def __init__(self, n_in: int, n_hidden: int, n_out: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(n_in, n_hidden)
        self.norm = nn.LayerNorm(n_hidden // 2)
        self.fc2 = nn.Linear(n_hidden // 2, n_out)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., n_in) -> (..., n_out)."""
        return self.project(self.gate(self.fc1(x)))

    def gate(self, pre: Tensor) -> Tensor:
        """(..., n_hidden) output of ``fc1`` -> (..., n_hidden / 2) hidden units, normalised but not yet scaled."""
        shape = torch.Size((*pre.shape[:-1], pre.shape[-1] // 2))
        return GatedNorm.apply(pre, self.dropout.mask(shape, pre.device), self.norm.eps)

    def project(self, hidden: Tensor) -> Tensor:
        """(..., n_hidden / 2) from ``gate`` -> (..., n_out); the norm's scale and shift are folded into ``fc2``."""
        weight = self.fc2.weight * self.norm.weight
        bias = self.fc2.weight @ self.norm.bias + self.fc2.bias
        return self.dropout(F.linear(hidden, weight, bias))


class TimeEmbedding(nn.Module):
    """Flow time to a vector: cosines and sines of 128 frequencies from 1 to 1e-4 a unit, then a two-layer MLP."""

    n_waves = 256

    def __init__(self, d: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(self.n_waves, d)
        self.fc2 = nn.Linear(d, d)

    def forward(self, t: Tensor) -> Tensor:
        """(B, 1) times in [0, 1] -> (B, d)."""
        half = self.n_waves // 2
        frequency = torch.exp(torch.arange(half, device=t.device) * (-math.log(10_000.0) / half))
        angle = t * frequency
        return self.fc2(F.silu(self.fc1(torch.cat([angle.cos(), angle.sin()], dim=-1))))


class ExpressionHead(nn.Module):
    """Spot state to expression: Linear, GELU, LayerNorm, dropout, Linear, dropout."""

    def __init__(self, d: int, n_genes: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(d, d)
        self.norm = nn.LayerNorm(d)
        self.fc2 = nn.Linear(d, n_genes)
        self.dropout = Dropout(dropout)

    def forward(self, z: Tensor) -> Tensor:
        """(M, d) -> (M, G) log1p expression."""
        return self.dropout(self.fc2(self.dropout(self.norm(F.gelu(self.fc1(z))))))
