"""ST-Net at work: a random one of the eight symmetries in training, the mean of all eight in prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stflow import tensors
from stflow.data.slide import Slide
from stflow.data.tile_images import TileImages
from stflow.encoders.dihedral import turned
from stflow.encoders.views import N_VIEWS, split_views
from stflow.encoders.zoo.densenet121 import DenseNet121
from stflow.errors import DataError
from stflow.models.network.spots import InMemory, SpotInputs, SpotLearner
from stflow.models.network.turning import turned_each
from stflow.models.stnet import STNet
from stflow.models.stnet.network import FineTuned


class ViewLearner(SpotLearner):
    """A linear layer on frozen features of V views of a tile."""

    def inputs(self, slides: Sequence[Slide], device: str) -> SpotInputs:
        """(N, V, D) features by view."""
        features = [split_views(self.features(slide), self.task.encoder) for slide in slides]
        return InMemory(tensors.of(np.concatenate(features), device))

    def prepare(self, train: Sequence[Slide], device: str) -> None:
        """The layer's bias becomes the mean expression of the training spots."""
        assert isinstance(self.module, nn.Linear)
        start_at_mean(self.module, train, self.task.genes)

    def loss(self, inputs: Tensor, expression: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error over spots and genes, of a view a spot."""
        n_spots, n_views, _ = inputs.shape
        views = torch.randint(n_views, (n_spots,), generator=generator).to(inputs.device)
        return F.mse_loss(self.module(inputs[torch.arange(n_spots, device=inputs.device), views]), expression)

    def answer(self, inputs: Tensor) -> Tensor:
        """(B, G), the mean over the views."""
        return super().answer(inputs).mean(dim=1)


class TileLearner(SpotLearner):
    """All of DenseNet-121, on tiles that are read batch by batch."""

    predicted_batches: ClassVar[int] = 1

    def inputs(self, slides: Sequence[Slide], device: str) -> SpotInputs:
        """Tiles on the disk."""
        return Tiles(slides, device)

    def prepare(self, train: Sequence[Slide], device: str) -> None:
        """The backbone gets its initial weights, and the last layer's bias the mean expression of the training spots.

        Raises
        ------
        WeightsError
            The file of the weights is missing, or another's.
        """
        assert isinstance(self.module, FineTuned)
        assert isinstance(self.method, STNet)
        if self.method.settings.initial == "imagenet":
            self.module.backbone.load_state_dict(published(self.task.weights))
        start_at_mean(self.module.head, train, self.task.genes)

    def loss(self, inputs: Tensor, expression: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error over spots and genes, of tiles that are turned and mirrored at random."""
        views = torch.randint(N_VIEWS, (len(inputs),), generator=generator)
        return F.mse_loss(self.module(turned_each(inputs, views)), expression)

    def answer(self, inputs: Tensor) -> Tensor:
        """(B, G), the mean over the eight symmetries, which are computed one after the other."""
        total = self.module(inputs)
        for view in range(1, N_VIEWS):
            total = total + self.module(turned(inputs, view))
        mean: Tensor = total / N_VIEWS
        return mean


class Tiles:
    """Tiles of many slides, read from their files when they are taken."""

    def __init__(self, slides: Sequence[Slide], device: str) -> None:
        self.tiles = [_tiles(slide) for slide in slides]
        self.starts = np.cumsum([0, *map(len, self.tiles)])
        self.device = device

    def __len__(self) -> int:
        return int(self.starts[-1])

    def take(self, rows: Tensor) -> Tensor:
        """(B, px, px, 3) uint8 on the device."""
        wanted = rows.numpy()
        of = np.searchsorted(self.starts, wanted, side="right") - 1
        parts: list[np.ndarray] = []
        for slide in np.unique(of):
            parts.append(self.tiles[slide].read(wanted[of == slide] - self.starts[slide]))
        back = np.argsort(np.argsort(of, kind="stable"))
        return torch.from_numpy(np.concatenate(parts)[back]).to(self.device)


def _tiles(slide: Slide) -> TileImages:
    if slide.tiles is None:
        raise DataError(f"slide {slide.name} comes without tiles, which stnet/finetuned is trained on.")
    return slide.tiles


def published(path: Path | None) -> dict[str, Tensor]:
    """Weights of DenseNet-121 from their file, by the names of its network.

    Raises
    ------
    WeightsError
        The file is missing, or another's.
    """
    return DenseNet121("cpu", weights=path).load().state_dict()


@torch.no_grad()
def start_at_mean(layer: nn.Linear, train: Sequence[Slide], genes: Sequence[str]) -> None:
    """Set a layer's bias to the mean expression of the training spots."""
    expression = np.concatenate([slide.expression(tuple(genes)) for slide in train])
    layer.bias.copy_(torch.from_numpy(expression.mean(axis=0, dtype=np.float64)))
