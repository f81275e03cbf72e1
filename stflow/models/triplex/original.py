"""The original form: a fine-tuned ResNet-18 on the spot's tile, frozen features of the patches around it and of itself.

What a slide gives is too large for the device (25 features a spot, and tiles), so that these stay where they are and
are read for the spots of a step alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from stflow.data.tile_images import TileImages
from stflow.encoders.around import N_CELLS, SIDE
from stflow.encoders.network import IMAGENET_MEAN, IMAGENET_STD
from stflow.encoders.zoo.ciga import Ciga
from stflow.models.triplex import TriplexSettings
from stflow.models.triplex.geometry import Grid
from stflow.models.triplex.network import Outputs, Triplex


@dataclass(frozen=True, slots=True)
class TileSection:
    """Spots of a slide or region, for `TileTriplex`.

    Attributes
    ----------
    own
        (N, D) float32 features of the spots' own tiles, on the device.
    places
        (N, 2) float64 spot centres, um, on the CPU.
    grid
        Of these spots, on the device.
    spots
        (N,) int64 rows in the two that follow, which are the slide's whatever the region.
    around
        (n, 25 D) float32 features of the fields of patches, as the features file has them.
    tiles
        The n tiles.
    """

    own: Tensor
    places: Tensor
    grid: Grid
    spots: np.ndarray
    around: np.ndarray
    tiles: TileImages

    def __len__(self) -> int:
        return len(self.places)

    def region(self, rows: Tensor) -> TileSection:
        """Only the spots ``rows``, (M,) int64 on the CPU, in that order."""
        here = rows.to(self.own.device)
        return replace(
            self,
            own=self.own[here],
            places=self.places[rows],
            grid=self.grid.region(here),
            spots=self.spots[rows.numpy()],
        )


class TileTriplex(Triplex):
    """Target tokens are the places of a ResNet-18's last feature map, 7 x 7 of a tile of 224 px.

    ``n_features`` is the size D of one patch's features; they are projected only where it is not ``hidden``, as in the
    public code, which has no projection and needs them equal.
    """

    mean: Tensor
    std: Tensor
    steps: Tensor

    def __init__(self, s: TriplexSettings, n_features: int, n_genes: int) -> None:
        super().__init__(s, n_genes)
        self.backbone = Ciga.build()
        self.target = nn.Linear(Ciga.dim, s.hidden)
        same = n_features == s.hidden
        self.context = nn.Identity() if same else nn.Linear(n_features, s.hidden, bias=False)
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        cells = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij"), dim=-1)
        self.register_buffer("steps", cells.reshape(1, N_CELLS, 2), persistent=False)

    def whole(self, section: object) -> Tensor:
        """(N, E) tokens of all spots of a `TileSection`."""
        assert isinstance(section, TileSection)
        found: Tensor = self.whole_encoder(self.context(section.own), section.grid)
        return found

    def spots(self, whole: Tensor, tiles: Tensor, around: Tensor, present: Tensor) -> Outputs:
        """Answers for B spots.

        Parameters
        ----------
        whole
            (B, E) their tokens of the whole section.
        tiles
            (B, px, px, 3) uint8.
        around, present
            (B, 25, D) features of the patches around them, 0 where there is none, and (B, 25) bool where there is one.
        """
        images = (tiles.permute(0, 3, 1, 2).float().div(255) - self.mean) / self.std
        target = self.target(feature_map(self.backbone, images))
        return self.outputs(whole, target, self.context(around), present, self.steps)


def feature_map(resnet: nn.Module, images: Tensor) -> Tensor:
    """(B, h w, 512) last feature map of torchvision's ResNet-18 of (B, 3, px, px) images, row by row."""
    for name, layer in resnet.named_children():
        if name == "avgpool":
            break
        images = layer(images)
    return images.flatten(2).transpose(1, 2)


def split_cells(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, 25 D) features of fields -> (B, 25, D) with 0 where there is no patch; (B, 25) bool where there is one."""
    cells = features.reshape(len(features), N_CELLS, -1)
    present = np.isfinite(cells).all(axis=-1)
    return np.where(present[..., None], cells, np.float32(0)), present
