"""TRIPLEX as a network: tokens of three branches, a head each, their fusion with a fourth, and the loss of all four."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stflow.models.triplex import TriplexSettings
from stflow.models.triplex.encoders import Fusion, LocalEncoder, WholeEncoder
from stflow.models.triplex.geometry import Grid, Surroundings


class Outputs(NamedTuple):
    """(B, G) log1p counts by the fused token and by each branch."""

    fused: Tensor
    target: Tensor
    local: Tensor
    whole: Tensor


def distilled_loss(outputs: Outputs, expression: Tensor, alpha: float) -> Tensor:
    """Squared error of the fused answer, and of each branch to the truth (1 - alpha) and to the fused answer (alpha).

    The fused answer is no fixed teacher: the gradient of the distances between answers goes both ways, as in the
    public code.
    """
    fused, *branches = outputs
    loss = F.mse_loss(fused, expression)
    for branch in branches:
        loss = loss + (1 - alpha) * F.mse_loss(branch, expression) + alpha * F.mse_loss(branch, fused)
    return loss


class Triplex(nn.Module, ABC):
    """What both forms share: `FeatureTriplex` and the original one, whose target is a fine-tuned CNN's."""

    def __init__(self, s: TriplexSettings, n_genes: int) -> None:
        super().__init__()
        self.clamp = s.clamp
        self.local_encoder, self.whole_encoder, self.fusion = LocalEncoder(s), WholeEncoder(s), Fusion(s)
        self.fused_head, self.target_head, self.local_head, self.whole_head = (
            nn.Linear(s.hidden, n_genes) for _ in Outputs._fields
        )

    def outputs(self, whole: Tensor, target: Tensor, local: Tensor, present: Tensor, steps: Tensor) -> Outputs:
        """Of B spots, all four answers.

        Parameters
        ----------
        whole
            (B, E) tokens that the branch of the whole section has made.
        target
            (B, T, E) tokens of the spot.
        local, present, steps
            (B, L, E) tokens of its surroundings before their encoder, (B, L) which of them are there, (B or 1, L, 2)
            rows and columns to each.
        """
        local = self.local_encoder(local, present, steps)
        there = present[..., None].to(local.dtype)
        answers = (
            self.fused_head(self.fusion(whole, target, local, present)),
            self.target_head(target.mean(dim=1)),
            self.local_head((local * there).sum(dim=1) / there.sum(dim=1)),
            self.whole_head(whole),
        )
        return Outputs(*(answer.clamp(min=0) if self.clamp else answer for answer in answers))

    @abstractmethod
    def whole(self, section: object) -> Tensor:
        """(N, E) tokens of all spots of a section."""


@dataclass(frozen=True, slots=True)
class Section:
    """Spots of a slide or region, for `FeatureTriplex`.

    Attributes
    ----------
    features
        (N, D) float32 on the device.
    places
        (N, 2) float64 spot centres, um, on the CPU.
    surroundings, grid
        Of these spots, on the device.
    """

    features: Tensor
    places: Tensor
    surroundings: Surroundings
    grid: Grid

    def __len__(self) -> int:
        return len(self.places)

    def region(self, rows: Tensor) -> Section:
        """Only the spots ``rows``, (M,) int64 on the CPU, in that order."""
        here = rows.to(self.features.device)
        return replace(
            self,
            features=self.features[here],
            places=self.places[rows],
            surroundings=self.surroundings.region(here),
            grid=self.grid.region(here),
        )


class FeatureTriplex(Triplex):
    """STFlow's form: all branches on one spot's frozen features, the surroundings being the nearest spots.

    The target is one token, by a projection of its own; the nearest spots and the section share another.
    """

    def __init__(self, s: TriplexSettings, n_features: int, n_genes: int) -> None:
        super().__init__(s, n_genes)
        self.target = nn.Linear(n_features, s.hidden, bias=False)
        self.context = nn.Linear(n_features, s.hidden, bias=False)

    def whole(self, section: object) -> Tensor:
        """(N, E) tokens of all spots of a `Section`."""
        assert isinstance(section, Section)
        found: Tensor = self.whole_encoder(self.context(section.features), section.grid)
        return found

    def spots(self, section: Section, whole: Tensor, rows: Tensor) -> Outputs:
        """Answers for the spots ``rows``, (B,) int64, of a section whose `whole` is there."""
        around = section.surroundings
        index = around.index[rows]
        # Each spot that is asked for or near one is projected once, not once for every spot that it is near.
        wanted, place = torch.unique(index, return_inverse=True)
        local = self.context(section.features[wanted])[place]
        target = self.target(section.features[rows])[:, None]
        return self.outputs(whole[rows], target, local, around.present[rows], around.steps[rows])

    def forward(self, section: Section) -> Outputs:
        """Answers for all spots."""
        rows = torch.arange(len(section), device=section.features.device)
        return self.spots(section, self.whole(section), rows)
