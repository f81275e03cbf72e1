"""A slide, or a contiguous region of it, as a slide-wise network sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor


class SpotSet(Protocol):
    """What a `SectionLearner` makes of a slide: anything with spots at places, that can be cut down to some of them.

    Attributes
    ----------
    places
        (N, 2) float64 spot centres, um, on the CPU.
    """

    @property
    def places(self) -> Tensor: ...

    def region(self, rows: Tensor) -> Self:
        """Only the spots ``rows``, (M,) int64 on the CPU, in that order."""


@dataclass(frozen=True, slots=True)
class Section:
    """Spots with features and places.

    Attributes
    ----------
    features
        (N, D) float32 on the device.
    places
        (N, 2) float64 spot centres, um, on the CPU.
    """

    features: Tensor
    places: Tensor

    def __len__(self) -> int:
        return len(self.places)

    def region(self, rows: Tensor) -> Section:
        """Only these spots, in that order."""
        return replace(self, features=self.features[rows.to(self.features.device)], places=self.places[rows])


def nearest_spots(places: Tensor, centre: int, m: int) -> Tensor:
    """Rows of the m spots nearest to spot ``centre``, itself included, in row order: a contiguous region.

    Parameters
    ----------
    places
        (N, 2) spot centres, any unit.
    """
    distance = (places - places[centre]).square().sum(dim=1)
    return distance.argsort(stable=True)[:m].sort().values


def draw_region(places: Tensor, generator: torch.Generator, limit: int | None) -> Tensor:
    """Rows of a random region: a random spot and its nearest floor(u N) spots, u ~ U(0, 1), at least two.

    Parameters
    ----------
    places
        (N, 2) spot centres, any unit.
    limit
        Spots at most; None without a limit.
    """
    n = len(places)
    u = float(torch.rand((), generator=generator))
    m = max(int(u * n), min(2, n))
    centre = int(torch.randint(n, (1,), generator=generator))
    return nearest_spots(places, centre, m if limit is None else min(m, limit))
