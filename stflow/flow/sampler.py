"""Walking the path (algorithm 2 of the paper): the network guesses the end, the state moves a step towards it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor

Times = Literal["paper", "released"]


def times(steps: int, rule: Times = "paper") -> list[float]:
    """Times at which the network is asked, and 1.0 at the end.

    ``paper``: s / S for s = 0..S, so S calls. ``released``: S evenly spaced times from 0.01 to 1, so S - 1 calls
    (one call at 0.01 for S = 1).
    """
    if rule == "paper":
        return [s / steps for s in range(steps)] + [1.0]
    if steps == 1:
        return [0.01, 1.0]
    return [0.01 + (1.0 - 0.01) * s / (steps - 1) for s in range(steps - 1)] + [1.0]


def guesses(denoise: Callable[[Tensor, float], Tensor], x_0: Tensor, at: Sequence[float]) -> Iterator[Tensor]:
    """The network's guess of the data at each time that it is asked, while ``x_0`` is carried to t = 1.

    The flow towards a guessed end ``x_1`` has the velocity ``(x_1 - x_t) / (1 - t)``; each step is Euler's. The last
    step would land on the guess itself, so the last guess is the answer.

    Parameters
    ----------
    denoise
        ``(x_t, t) -> x_1``, all (M, G).
    x_0
        (M, G) draw from the prior.
    at
        Times from `times`.
    """
    x_t = x_0
    for t_1, t_2 in pairwise(at[:-1]):
        x_1 = denoise(x_t, t_1)
        yield x_1
        x_t = x_t + (x_1 - x_t) * ((t_2 - t_1) / (1 - t_1))
    yield denoise(x_t, at[-2])


def sample(denoise: Callable[[Tensor, float], Tensor], x_0: Tensor, at: Sequence[float]) -> Tensor:
    """The last of the `guesses`: what ``x_0`` becomes at t = 1."""
    for last in guesses(denoise, x_0, at):
        x_1 = last
    return x_1
