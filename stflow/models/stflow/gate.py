"""The gate ``SiLU(a) * b`` of (R, 2n) ``[a, b]`` and the normalisation after it, with their gradients written out.

The plain composition in a fraction of the passes over memory, and they are what attention costs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stflow.models.stflow.masks import times

#: Added to the variance, as `torch.nn.LayerNorm` does.
EPSILON = 1e-5


def gate(pre: Tensor, keep: Tensor | None, out: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """``sigmoid(a)`` and ``SiLU(a) * b * keep``, both (..., n); written to ``out`` if it is given."""
    a, b = pre.chunk(2, dim=-1)
    sigmoid, hidden = out or (torch.empty_like(a), torch.empty_like(a))
    torch.sigmoid(a, out=sigmoid)
    torch.mul(sigmoid, a, out=hidden)
    hidden *= b
    return sigmoid, times(hidden, keep)


def gate_backward(grad: Tensor, pre: Tensor, sigmoid: Tensor, keep: Tensor | None) -> Tensor:
    """Gradient of ``pre`` from (..., n) ``grad``, in the memory of (..., 2n) ``pre``; all arguments are used up.

    With s = sigmoid(a): d(a s b) = (s + a s (1 - s)) b da + a s db.
    """
    a, b = pre.chunk(2, dim=-1)
    times(grad, keep)
    a *= sigmoid
    torch.lerp(a, a.new_ones(()), sigmoid, out=sigmoid)
    sigmoid *= b
    sigmoid *= grad
    torch.mul(a, grad, out=b)
    a.copy_(sigmoid)
    return pre


def centre(hidden: Tensor, p: float = 0.0, out: Tensor | None = None) -> Tensor:
    """Subtract its mean from every row of (R, n) ``hidden``, in place; (R,) one over its standard deviation.

    Hidden units of which a share ``p`` was dropped come without dropout's factor 1 / (1 - p): normalising takes it out
    again, but for what it means to epsilon. ``out`` is memory of hidden's shape for what is between.
    """
    hidden -= hidden.mean(dim=-1, keepdim=True)
    return torch.mul(hidden, hidden, out=out).mean(dim=-1).add_(EPSILON * (1 - p) ** 2).rsqrt_()
