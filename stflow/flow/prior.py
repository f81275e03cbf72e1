"""Where the flow starts: x_0 ~ prior, in log1p space (section 3.2 of the paper; table 10 compares the three).

A zero-inflated negative binomial, ``ZINB(mu, phi, pi)``, is zero with probability pi and else NB(mean, phi) with
variance ``mean + mean^2 / phi``. Two things of it can be read in two ways, and both readings are offered.

What mu means:

- ``paper``: mu is the negative binomial's mean;
- ``released``: mu is a logit, as in the released code, so the mean is ``phi * exp(mu)`` (0.1 means 1.105 phi).

What becomes of a draw, which is a count, while the state that the flow carries is log1p expression:

- ``paper``: x_0 ~ ZINB as printed, so x_0 is the count itself and starts outside the state's unit;
- ``released``: x_0 is log1p of the count, as in the released code; so is the zero prior, where it changes nothing. This
  is the default.

The Gaussian is standard normal and stays as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["zinb", "zero", "gaussian"]
Reading = Literal["paper", "released"]

#: Probability that is left above the largest tabulated count.
_TAIL = 1e-12


@dataclass(frozen=True, slots=True)
class Prior:
    """A prior over expression; all spots and genes are independent.

    Attributes
    ----------
    kind
        ``zinb``, ``zero`` or ``gaussian``.
    mu, phi, pi
        Parameters of the ZINB: mean (or logit, see ``mean``), total count, share of extra zeros.
    mean
        What ``mu`` stands for.
    transform
        Whether a ZINB draw is the count itself (``paper``) or its log1p (``released``).
    """

    kind: Kind = "zinb"
    mu: float = 0.1
    phi: float = 1.0
    pi: float = 0.5
    mean: Reading = "paper"
    transform: Reading = "released"

    @property
    def nb_mean(self) -> float:
        """Mean count of the negative binomial part."""
        return self.mu if self.mean == "paper" else self.phi * math.exp(self.mu)

    @property
    def count_mean(self) -> float:
        """Mean count of the ZINB: ``(1 - pi) m`` with m the NB mean."""
        return (1 - self.pi) * self.nb_mean

    @property
    def count_variance(self) -> float:
        """Variance of the ZINB's counts: ``(1 - pi) (m + m^2 / phi + pi m^2)`` with m the NB mean."""
        m = self.nb_mean
        return (1 - self.pi) * (m + m * m / self.phi + self.pi * m * m)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """x_0 of ``shape`` (usually (N, G)), float32 on the CPU, whatever the device that uses it.

        ZINB draws invert the distribution function at uniform numbers: exact, and far cheaper than a gamma and a
        Poisson draw each.
        """
        if self.kind == "zero":
            return torch.zeros(shape)
        if self.kind == "gaussian":
            return torch.randn(shape, generator=generator)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        counts = torch.searchsorted(_distribution_function(self), uniform, right=True).float()
        return torch.log1p(counts) if self.transform == "released" else counts


@lru_cache(maxsize=32)
def _distribution_function(prior: Prior) -> Tensor:
    """P(count <= c) for c = 0, 1, ... up to the tail; the NB mass follows from that of the count before."""
    m = prior.nb_mean
    success = m / (m + prior.phi)
    mass = (1 - prior.pi) * (1 - success) ** prior.phi
    table = [prior.pi + mass]
    count = 0
    while 1 - table[-1] > _TAIL and table[-1] + mass != table[-1]:
        mass *= (count + prior.phi) / (count + 1) * success
        count += 1
        table.append(table[-1] + mass)
    return torch.tensor(table, dtype=torch.float64)
