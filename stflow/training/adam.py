"""All parameters of a network in one vector, and Adam on it.

One vector makes clipping, Adam, the copy of the best epoch and the checkpoint one operation each, instead of one a
parameter. (torch.optim gives the same numbers, but its first use imports the compiler: two seconds a job.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Each parameter starts at a multiple of this many numbers (64 bytes), as matrix products like it.
_ALIGN = 16

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class FlatAdam:
    """Adam (Kingma & Ba 2015, algorithm 1, with the usual defaults) and clipping by the global norm.

    Attributes
    ----------
    values, gradient
        (P,) vectors that the module's parameters and their gradients are views of.
    first, second
        (P,) running means of the gradient and of its square.
    steps
        Steps taken.
    norms
        Sum of the gradients' norms before clipping, of all steps so far. A norm that overflows scales its gradient to
        nothing, and the loss stays a number: what is not finite shows here.
    """

    def __init__(self, module: nn.Module, learning_rate: float, clip_norm: float) -> None:
        parameters = list(module.parameters())
        sizes = [-(-p.numel() // _ALIGN) * _ALIGN for p in parameters]
        like = parameters[0]
        self.values = torch.zeros(sum(sizes), dtype=like.dtype, device=like.device)
        self.gradient, self.first, self.second = (torch.zeros_like(self.values) for _ in range(3))
        self.learning_rate, self.clip_norm, self.steps = learning_rate, clip_norm, 0
        self.norms = torch.zeros((), dtype=like.dtype, device=like.device)
        start = 0
        for parameter, size in zip(parameters, sizes, strict=True):
            place = slice(start, start + parameter.numel())
            self.values[place] = parameter.detach().reshape(-1)
            parameter.data = self.values[place].view_as(parameter)
            parameter.grad = self.gradient[place].view_as(parameter)
            start += size

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.gradient.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """Clip the gradient to ``clip_norm`` and move the parameters."""
        gradient = self.gradient
        norm = torch.linalg.vector_norm(gradient)
        self.norms += norm
        gradient *= (self.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        self.steps += 1
        self.first.lerp_(gradient, 1 - BETA_1)
        self.second.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
        scale = (self.second / (1 - BETA_2**self.steps)).sqrt_().add_(EPSILON)
        self.values.addcdiv_(self.first, scale, value=-self.learning_rate / (1 - BETA_1**self.steps))

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold, beside ``steps``; the vectors themselves, not copies."""
        return {"values": self.values, "first": self.first, "second": self.second}
