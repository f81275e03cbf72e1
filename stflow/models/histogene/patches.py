"""What HisToGene sees of a slide: every spot's pixels, small, and its place as the network takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stflow import tensors
from stflow.data.slide import Slide
from stflow.encoders.views import N_VIEWS
from stflow.errors import IntegrityError, RunFailed
from stflow.models.neighbourhood import pitch_um
from stflow.models.network.turning import turned_each

if TYPE_CHECKING:
    from stflow.models.histogene import HisToGeneSettings

#: Largest side of a square whose sum of pixels, 255 each, fits 16 bits.
_SUMMED = 16
#: Tiles read at once: 77 MB at 224 px.
_TILES_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Patches:
    """Spots with pixels and places.

    Attributes
    ----------
    pixels
        (N, 3 px px) uint8 on the device, 38 kB a spot at 112 px: column after column, row after row, channel last,
        as the public code lays them out.
    positions
        (N, 2) on the device, x then y: float32 distance from the section's middle, or int64 column and row.
    places
        (N, 2) float64 spot centres, um, on the CPU.
    """

    pixels: Tensor
    positions: Tensor
    places: Tensor

    def __len__(self) -> int:
        return len(self.places)

    def region(self, rows: Tensor) -> Patches:
        """Only these spots, in that order; their places in the section stay what they are."""
        there = rows.to(self.pixels.device)
        return Patches(self.pixels[there], self.positions[there], self.places[rows])

    def turned(self, generator: torch.Generator) -> Patches:
        """The same spots with every patch in one of its eight symmetries, each drawn by itself."""
        drawn = torch.randint(N_VIEWS, (len(self),), generator=generator).to(self.pixels.device)
        side = round((self.pixels.shape[1] / 3) ** 0.5)
        square = self.pixels.view(-1, side, side, 3)
        return replace(self, pixels=turned_each(square, drawn).view(len(self), -1))


def patches_of(slide: Slide, settings: HisToGeneSettings, device: str) -> Patches:
    """Read and reduce a slide's tiles.

    Raises
    ------
    IntegrityError
        The slide has no tiles.
    RunFailed
        The slide spans more columns or rows than the tables hold.
    """
    if slide.tiles is None:
        raise IntegrityError(f"slide {slide.name} comes without tiles, and histogene reads nothing else. Cut them.")
    parts = [
        reduced(slide.tiles.read(rows), settings.patch_px)
        for rows in np.split(np.arange(len(slide)), range(_TILES_AT_ONCE, len(slide), _TILES_AT_ONCE))
    ]
    places = slide.centres_um
    if settings.positions == "tables":
        positions = array_positions(places)
        if len(slide) and (most := int(positions.max()) + 1) > settings.table_size:
            raise RunFailed(
                f"slide {slide.name} spans {most} columns or rows of spots, the tables of histogene hold "
                f"{settings.table_size}: set table_size to {most} or more, or positions: linear."
            )
    else:
        positions = from_the_middle(places, settings.position_scale_um)
    return Patches(torch.cat(parts).to(device), tensors.of(positions, device), torch.from_numpy(places))


def reduced(tiles: np.ndarray, px: int) -> Tensor:
    """(M, H, W, 3) uint8 tiles -> (M, 3 px px) uint8 by area averaging, column after column, row after row.

    A tile that is smaller than px is enlarged likewise: a pixel that covers several takes up their place.
    """
    M, H, W, _ = tiles.shape
    factor, rest = divmod(H, px)
    if H == W and not rest and 4 <= factor <= _SUMMED:
        tiles = _sums(tiles, px, factor)
    values = torch.from_numpy(np.ascontiguousarray(tiles)).permute(0, 3, 2, 1)  # (M, 3, W, H)
    if values.shape[2:] != (px, px):
        values = F.interpolate(values.float(), size=(px, px), mode="area").round().to(torch.uint8)
    return values.permute(0, 2, 3, 1).reshape(M, -1)


def _sums(tiles: np.ndarray, px: int, factor: int) -> np.ndarray:
    """(M, px, px, 3) uint8: the same for squares of whole pixels, from sums of integers, in a quarter of the time."""
    M = len(tiles)
    rows = tiles.reshape(M, px, factor, px * factor * 3).sum(axis=2, dtype=np.uint16)
    sums = rows.reshape(M, px, px, factor, 3).sum(axis=3, dtype=np.uint16)
    return np.rint(sums.astype(np.float32) / (factor * factor)).astype(np.uint8)


def from_the_middle(centres_um: np.ndarray, scale_um: float) -> np.ndarray:
    """(N, 2) float32 distance along x and y from the middle of the section's bounding box, in ``scale_um``."""
    if not len(centres_um):
        return np.zeros((0, 2), dtype=np.float32)
    middle = (centres_um.min(axis=0) + centres_um.max(axis=0)) / 2
    return ((centres_um - middle) / scale_um).astype(np.float32)


def array_positions(centres_um: np.ndarray) -> np.ndarray:
    """(N, 2) int64 column and row of every spot: steps of the pitch from the first spot along x and along y.

    The slide file holds no array positions. On a square grid these are the array's own, counted from 0; on a hexagonal
    one, whose rows lie 0.87 pitches apart, two adjacent rows share a number now and then.
    """
    pitch = pitch_um(centres_um)
    if pitch == 0:
        return np.zeros((len(centres_um), 2), dtype=np.int64)
    return np.rint((centres_um - centres_um.min(axis=0)) / pitch).astype(np.int64)
