"""The small parts of the denoiser: gated MLP, dropout with a generator of its own, time embedding, expression head."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stflow.models.stflow.masks import Masks
from stflow.models.stflow.threads import arrays, is_compiled, keys, rates, run


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

    def forward(self, x: Tensor) -> Tensor:
        mask = Masks(self.seed(), x.device).draw(tuple(x.shape), self.p) if self.active else None
        return x if mask is None else x * mask


class GatedNorm(torch.autograd.Function):
    """``normalise(dropout(SiLU(a) * b))`` with ``[a, b] = pre + bias``, by the compiled kernels.

    Arguments: (M, 2n) ``pre``, (2n,) ``bias``, drop probability, seed of the mask. Gives (M, n).
    """

    @staticmethod
    def forward(ctx: Any, pre: Tensor, bias: Tensor, p: float, seed: int) -> Tensor:
        from stflow.models.stflow import kernels

        (thresholds, scales), (key,) = rates(p), keys(seed, 1)
        ctx.save_for_backward(pre, bias)
        ctx.drop = key, thresholds[0], scales[0]
        out = pre.new_empty(len(pre), pre.shape[1] // 2)
        run(kernels.gated_norm, len(pre), [*arrays(pre, bias), *ctx.drop, *arrays(out)])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        from stflow.models.stflow import kernels

        pre, bias = ctx.saved_tensors
        out = torch.empty(pre.shape)
        run(kernels.gated_norm_backward, len(pre), [*arrays(pre, bias), *ctx.drop, *arrays(*grads, out)])
        return out, out.sum(dim=0), None, None


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
        return self.project(self.gate(x @ self.fc1.weight.T))

    def gate(self, pre: Tensor) -> Tensor:
        """(..., n_hidden) output of ``fc1`` without its bias -> (..., n_hidden / 2) normalised hidden units.

        The norm's gain and shift are not in them, see `folded`.
        """
        if is_compiled(pre):
            p, seed = (self.dropout.p, self.dropout.seed()) if self.dropout.active else (0.0, 0)
            out = GatedNorm.apply(pre.reshape(-1, pre.shape[-1]), self.fc1.bias, p, seed)
            return out.view(*pre.shape[:-1], -1)
        a, b = (pre + self.fc1.bias).chunk(2, dim=-1)
        hidden = self.dropout(F.silu(a) * b)
        return F.layer_norm(hidden, hidden.shape[-1:])

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of ``fc2`` with the norm's gain and shift in them."""
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
