"""A slide as the network sees it: its spots in spatial order, on the device, with their graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stflow import tensors
from stflow.data.slide import Slide
from stflow.models.neighbourhood import spatial_order
from stflow.models.network.section import nearest_spots
from stflow.models.stflow.graph import Graph


@dataclass(frozen=True, slots=True)
class Geometry:
    """How positions become a graph: the settings that decide it.

    Attributes
    ----------
    unit
        ``um``, or as released ``px``, the level-0 pixels of whatever scanner.
    scale
        The length, in that unit, that becomes 1.
    neighbours
        Nearest spots attended to, k.
    grid
        Whether the architecture reads a grid of spots.
    """

    unit: str
    scale: float
    neighbours: int
    grid: bool

    def places(self, slide: Slide) -> np.ndarray:
        """(N, 2) spot centres in this unit."""
        return slide.centres_um if self.unit == "um" else slide.centres_px

    def graph(self, places: np.ndarray) -> Graph:
        """The graph of (N, 2) places."""
        return Graph.of(places, self.neighbours, self.scale, grid=self.grid)


@dataclass(frozen=True, slots=True)
class Section:
    """One slide with its spots in spatial order.

    Attributes
    ----------
    name
        Of the slide.
    order
        (N,) the slide's row of every spot here.
    places
        (N, 2) float64 spot centres in the unit of the `Geometry`, on the CPU.
    features
        (N, D) as the network takes them, on the device.
    graph
        Neighbours, on the device.
    """

    name: str
    order: np.ndarray
    places: Tensor
    features: Tensor
    graph: Graph

    @classmethod
    def of(cls, slide: Slide, geometry: Geometry, features: np.ndarray, device: str) -> Section:
        """The section of a slide; ``features`` are (N, D) in the slide's order.

        Neighbours are found in the slide's own order, which decides between equally distant ones, so that a slide
        that lies otherwise has the same.
        """
        places = geometry.places(slide)
        order = spatial_order(places)
        rows = torch.from_numpy(order)
        return cls(
            slide.name,
            order,
            torch.from_numpy(places[order]),
            tensors.of(features[order], device),
            geometry.graph(places).region(rows).to(device),
        )

    def __len__(self) -> int:
        return len(self.order)

    def restored(self, values: np.ndarray) -> np.ndarray:
        """(N, ...) values of this section's spots, in the slide's order."""
        out = np.empty_like(values)
        out[self.order] = values
        return out

    def region(self, centre: int, m: int) -> Tensor:
        """Rows of the m spots nearest to spot ``centre``; see `nearest_spots`."""
        return nearest_spots(self.places, centre, m)
