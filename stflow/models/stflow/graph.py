"""The neighbourhood graph as tensors: made once a slide, cut to regions, joined to flat batches without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from stflow.models.neighbourhood import nearest
from stflow.models.stflow.frames import edge_inputs
from stflow.models.stflow.grid import cells


@dataclass(frozen=True, slots=True)
class Graph:
    """M spots and their neighbours.

    Attributes
    ----------
    index
        (M, k) int64 rows of neighbours; a spot's own row where there is none.
    present
        (M, k) bool: whether there is one.
    edges
        (M, k, 4, 3) float32 inputs of the edge network, see `frames.edge_inputs`.
    grid
        (M, 25) int64 rows of the spots in the cells of a grid, -1 where a cell is empty, see `grid.cells`; None where
        the architecture does not read it.
    """

    index: Tensor
    present: Tensor
    edges: Tensor
    grid: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def of(cls, centres_um: np.ndarray, k: int, scale_um: float, *, grid: bool = False) -> Self:
        """The graph of a slide from its (N, 2) spot centres, um; ``grid``: with the spots around each on a grid."""
        index, present = nearest(centres_um, k)
        edges = edge_inputs(centres_um, index, present, scale_um)
        around = torch.from_numpy(cells(centres_um)) if grid else None
        return cls(torch.from_numpy(index), torch.from_numpy(present), torch.from_numpy(edges), around)

    def to(self, device: str) -> Graph:
        """The graph on another device."""
        grid = None if self.grid is None else self.grid.to(device)
        return Graph(self.index.to(device), self.present.to(device), self.edges.to(device), grid)

    def region(self, spots: Tensor) -> Graph:
        """The graph of (m,) ``spots``, rows renumbered.

        Neighbours outside the region are absent; the frames stay those of the whole slide, so that geometry is never
        computed again; the setting ``region_graph`` offers the other way.
        """
        row = torch.full((len(self),), -1, dtype=torch.int64, device=spots.device)
        own = torch.arange(len(spots), device=spots.device)
        row[spots] = own
        index = row[self.index[spots]]
        present = self.present[spots] & (index >= 0)
        grid = None
        if self.grid is not None:
            here = self.grid[spots]
            grid = torch.where(here >= 0, row[here], here)
        return Graph(torch.where(present, index, own[:, None]), present, self.edges[spots], grid)


def join(graphs: Sequence[Graph]) -> Graph:
    """Several graphs as one, rows offset; no edge leads from one to another."""
    if len(graphs) == 1:
        return graphs[0]
    offset = 0
    index, grid = [], []
    for graph in graphs:
        index.append(graph.index + offset)
        if graph.grid is not None:
            grid.append(torch.where(graph.grid >= 0, graph.grid + offset, graph.grid))
        offset += len(graph)
    return Graph(
        torch.cat(index),
        torch.cat([graph.present for graph in graphs]),
        torch.cat([graph.edges for graph in graphs]),
        torch.cat(grid) if grid else None,
    )
