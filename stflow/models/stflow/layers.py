"""The small parts of the denoiser: gated MLP, dropout with a generator of its own, time embedding, expression head."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stflow.models.stflow.gate import centre, gate, gate_backward
from stflow.models.stflow.masks import Masks


class Dropout(nn.Module):
    """Dropout whose masks come from seeds that ``generator``, on the CPU, draws; never from torch's global state."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    @property
    def active(self) -> bool:
        """Whether anything is dropped now."""
        return self.training and self.p > 0

    def seed(self) -> int:
        """A new seed for `Masks`."""
        return int(torch.randint(2**62, (), generator=self.generator))

    def masks(self, device: torch.device) -> Masks:
        """A stream of masks from a new seed."""
        return Masks(self.seed(), device)

    def forward(self, x: Tensor) -> Tensor:
        mask = self.masks(x.device).draw(tuple(x.shape), self.p) if self.active else None
        return x if mask is None else x * mask


class GatedNorm(torch.autograd.Function):
    """``normalise(SiLU(a) * b * keep)`` of (..., 2n) ``[a, b]``: zero mean, unit variance over the n hidden units.

    ``keep`` is 0 or 1, None without dropout, and ``p`` the drop probability.
    """

    @staticmethod
    def forward(ctx: Any, pre: Tensor, keep: Tensor | None, p: float) -> Tensor:
        sigmoid, hidden = gate(pre, keep)
        scale = centre(hidden, p)[..., None]
        hidden *= scale
        ctx.save_for_backward(pre, sigmoid, hidden, scale, keep)
        return hidden

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        pre, sigmoid, normal, scale, keep = ctx.saved_tensors
        (grad,) = grads
        # Through the normalisation: scale * (g - mean(g) - normal * mean(g * normal)).
        slope = (grad * normal).mean(dim=-1, keepdim=True)
        g = torch.addcmul(grad, normal, slope, value=-1)
        g -= grad.mean(dim=-1, keepdim=True)
        g *= scale
        return gate_backward(g, pre.clone(), sigmoid.clone(), keep), None, None


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
        drop, shape = self.dropout, (*pre.shape[:-1], pre.shape[-1] // 2)
        if not drop.active:
            return GatedNorm.apply(pre, None, 0.0)
        return GatedNorm.apply(pre, drop.masks(pre.device).keep(shape, drop.p), drop.p)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of ``fc2`` with the norm's scale and shift in them."""
        return self.fc2.weight * self.norm.weight, self.fc2.weight @ self.norm.bias + self.fc2.bias

    def project(self, hidden: Tensor) -> Tensor:
        """(..., n_hidden / 2) from ``gate`` -> (..., n_out)."""
        return self.dropout(F.linear(hidden, *self.folded()))


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
