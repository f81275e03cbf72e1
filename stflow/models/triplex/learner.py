"""Training and prediction of TRIPLEX: what both forms share, and the form on frozen features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stflow import tensors
from stflow.data.slide import Slide
from stflow.models.network.regions import SectionLearner
from stflow.models.network.section import draw_region
from stflow.models.triplex.geometry import make_geometry
from stflow.models.triplex.network import FeatureTriplex, Section, distilled_loss

if TYPE_CHECKING:
    from stflow.models.network.section import SpotSet
    from stflow.models.triplex import Triplex

#: Spots whose surroundings are looked at together in prediction: memory beyond the section's own stays as it is.
_AT_ONCE = 1024


class TriplexLearner(SectionLearner):
    """Base of the two."""

    method: Triplex

    def draw(self, places: Tensor, generator: torch.Generator, limit: int | None) -> Tensor:
        """A random region, or the section as long as it fits in memory."""
        if self.method.settings.sample == "section" and (limit is None or limit >= len(places)):
            return torch.arange(len(places))
        return draw_region(places, generator, limit)


class FeatureLearner(TriplexLearner):
    """Spots with their features, the nearest spots and the grid."""

    module: FeatureTriplex

    def section(self, slide: Slide, device: str) -> SpotSet:
        """Features, places, surroundings and grid, made once."""
        surroundings, grid = make_geometry(slide.centres_um, self.method.settings.local_spots)
        return Section(
            tensors.of(self.features(slide), device),
            torch.from_numpy(slide.centres_um),
            surroundings.to(device),
            grid.to(device),
        )

    def loss(self, region: SpotSet, expression: Tensor, generator: torch.Generator) -> Tensor:
        """See `distilled_loss`."""
        del generator
        return distilled_loss(self.module(region), expression, self.method.settings.alpha)

    def answer(self, section: SpotSet) -> Tensor:
        """(N, G) of the fused head: the whole section at once, the surroundings part by part."""
        assert isinstance(section, Section)
        whole = self.module.whole(section)
        rows = torch.arange(len(section), device=whole.device)
        return torch.cat([self.module.spots(section, whole, part).fused for part in rows.split(_AT_ONCE)])
