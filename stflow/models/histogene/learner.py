"""HisToGene's training: patches of regions or of whole sections, turned at random."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from stflow.data.slide import Slide
from stflow.models.histogene import HisToGene
from stflow.models.histogene.patches import Patches, patches_of
from stflow.models.network.regions import RegionBatches, SectionLearner
from stflow.models.network.section import SpotSet, nearest_spots


class HisToGeneLearner(SectionLearner):
    """Reads tiles; the rest is that of every network of sections."""

    method: HisToGene

    def section(self, slide: Slide, device: str) -> Patches:
        """Pixels and places of all spots, in memory from here on."""
        return patches_of(slide, self.method.settings, device)

    def loss(self, region: SpotSet, expression: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error; the network sees tissue that has no up and no left."""
        assert isinstance(region, Patches)
        seen = region.turned(generator) if self.method.settings.turned else region
        return F.mse_loss(self.module(seen), expression)

    def problem(
        self, train: Sequence[Slide], select: Sequence[Slide], generator: torch.Generator, device: str
    ) -> RegionBatches:
        """Regions, or whole sections."""
        batches = RegionBatches if self.method.settings.sample == "region" else SectionBatches
        return batches(self, train, select, generator, device)


class SectionBatches(RegionBatches):
    """Whole sections; where memory runs out, the nearest spots of a random one, as many as fit."""

    def _region(self, section: SpotSet, expression: Tensor) -> tuple[SpotSet, Tensor]:
        n = len(section.places)
        if self.limit is None or n <= self.limit:
            return section, expression
        centre = int(torch.randint(n, (1,), generator=self.generator))
        rows = nearest_spots(section.places, centre, self.limit)
        return section.region(rows), expression[rows.to(expression.device)]
