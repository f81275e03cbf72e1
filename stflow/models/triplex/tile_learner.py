"""Training and prediction of the original form of TRIPLEX.

A step is one section (or region): the branch of the whole section sees all its spots, the other two and the loss at
most ``batch_spots`` of them, drawn at random, whose tiles are turned and mirrored at random. Their tiles take most of
the memory: where it runs out, steps of fewer tiles follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stflow import tensors
from stflow.data.slide import Slide
from stflow.encoders.around import CENTRE, N_CELLS, is_around
from stflow.encoders.views import N_VIEWS
from stflow.encoders.zoo.ciga import Ciga
from stflow.errors import DataError
from stflow.models.network.regions import RegionBatches
from stflow.models.network.turning import turned_each
from stflow.models.scaling import Scaling
from stflow.models.triplex.geometry import Grid
from stflow.models.triplex.lattice import cells
from stflow.models.triplex.learner import TriplexLearner
from stflow.models.triplex.network import Outputs, distilled_loss
from stflow.models.triplex.original import TileSection, TileTriplex, split_cells

if TYPE_CHECKING:
    from stflow.models.network.section import SpotSet
    from stflow.models.triplex import Triplex


#: Fewest tiles that a step is cut down to when memory runs out.
FEWEST_TILES = 8


class TileBatches(RegionBatches):
    """Sections or regions of which ``limit`` spots at most have their tiles read."""

    limit_of = "a step"
    learner: TileLearner

    def __init__(
        self,
        learner: TileLearner,
        train: Sequence[Slide],
        select: Sequence[Slide],
        generator: torch.Generator,
        device: str,
    ) -> None:
        super().__init__(learner, train, select, generator, device)
        self.limit = None

    def shrink(self) -> bool:
        """Halve the most tiles of a step."""
        asked = self.learner.method.settings.batch_spots
        now = min(asked, self.limit or asked)
        self.limit = max(now // 2, min(now, FEWEST_TILES))
        return self.limit < now


class TileLearner(TriplexLearner):
    """Spots with their tiles, the features of the patches around them, and the grid."""

    module: TileTriplex

    def __init__(self, method: Triplex, n_features: int, seed: int) -> None:
        if not is_around(method.task.encoder):
            raise DataError(
                f"triplex with form tiles reads features of 5 x 5 patches, not of encoder {method.task.encoder!r}: "
                "give it one with +around in method_encoders, as ciga+around."
            )
        super().__init__(method, n_features, seed)
        self._batches: TileBatches | None = None

    def problem(
        self, train: Sequence[Slide], select: Sequence[Slide], generator: torch.Generator, device: str
    ) -> TileBatches:
        """See `TileBatches`."""
        self._batches = TileBatches(self, train, select, generator, device)
        return self._batches

    def draw(self, places: Tensor, generator: torch.Generator, limit: int | None) -> Tensor:
        """A random region or the section; the limit is one of tiles."""
        del limit
        return super().draw(places, generator, self.method.settings.region_spots)

    def prepare(self, train: Sequence[Slide], device: str) -> None:
        """The ResNet-18 gets its initial weights.

        Raises
        ------
        WeightsError
            Their file is missing, or another's.
        """
        if self.method.settings.initial == "ciga":
            self.module.backbone.load_state_dict(published(self.task.weights))

    def measured(self, features: Sequence[np.ndarray]) -> Scaling:
        """The scaling by the spots' own tiles, the same for every patch: patches may be missing."""
        own = Scaling.measured([_own(values) for values in features])
        return Scaling(np.tile(own.mean, N_CELLS), np.tile(own.scale, N_CELLS))

    def section(self, slide: Slide, device: str) -> SpotSet:
        """Own features, places and grid; tiles and patches stay where they are.

        Raises
        ------
        DataError
            The slide comes without tiles.
        """
        if slide.tiles is None:
            raise DataError(f"slide {slide.name} comes without tiles, on which triplex with form tiles is trained.")
        around = slide.features[self.task.encoder]
        d = around.shape[1] // N_CELLS
        return TileSection(
            tensors.of(Scaling(self.scaling.mean[:d], self.scaling.scale[:d]).apply(_own(around)), device),
            torch.from_numpy(slide.centres_um),
            Grid.of(cells(slide.centres_um)).to(device),
            np.arange(len(slide)),
            around,
            slide.tiles,
        )

    def loss(self, region: SpotSet, expression: Tensor, generator: torch.Generator) -> Tensor:
        """See `distilled_loss`; of the spots that are drawn."""
        assert isinstance(region, TileSection)
        s = self.method.settings
        limit = self._batches.limit if self._batches else None
        rows = torch.randperm(len(region), generator=generator)[: min(s.batch_spots, limit or s.batch_spots)]
        views = torch.randint(N_VIEWS, (len(rows),), generator=generator)
        outputs = self._spots(region, self.module.whole(region), rows, views)
        return distilled_loss(outputs, expression[rows.to(expression.device)], s.alpha)

    def answer(self, section: SpotSet) -> Tensor:
        """(N, G) of the fused head: the whole section at once, tiles ``batch_spots`` at a time, as they are."""
        assert isinstance(section, TileSection)
        whole = self.module.whole(section)
        parts = torch.arange(len(section)).split(self.method.settings.batch_spots)
        return torch.cat([self._spots(section, whole, part, torch.zeros_like(part)).fused for part in parts])

    def _spots(self, section: TileSection, whole: Tensor, rows: Tensor, views: Tensor) -> Outputs:
        spots, device = section.spots[rows.numpy()], str(whole.device)
        tiles = turned_each(torch.from_numpy(section.tiles.read(spots)), views).to(device)
        around, present = split_cells(self.scaling.apply(section.around[spots]))
        return self.module.spots(
            whole[rows.to(device)], tiles, tensors.of(around, device), torch.from_numpy(present).to(device)
        )


def published(path: Path | None) -> dict[str, Tensor]:
    """Weights of Ciga's ResNet-18 from their file, by the names of its network.

    Raises
    ------
    WeightsError
        The file is missing, or another's.
    """
    return Ciga("cpu", weights=path).load().state_dict()


def _own(around: np.ndarray) -> np.ndarray:
    """(N, D) features of the spots' own tiles, of (N, 25 D)."""
    d = around.shape[1] // N_CELLS
    return around[:, CENTRE * d : (CENTRE + 1) * d]
