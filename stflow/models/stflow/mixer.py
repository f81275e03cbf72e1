"""What stands in a layer where spots learn of each other: the paper's attention, or what it is compared with."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from stflow.models.stflow.graph import Graph


class Mixer(nn.Module, ABC):
    """Messages between neighbouring spots; one to each layer."""

    def geometry(self, graph: Graph) -> Tensor | None:
        """What depends on positions alone, (M, k, ...); a sampler asks for it once. None: nothing worth keeping."""
        del graph
        return None

    @abstractmethod
    def forward(self, z: Tensor, y: Tensor, graph: Graph, geometry: Tensor | None = None) -> Tensor:
        """Message to every spot, which the layer adds to its state.

        Parameters
        ----------
        z
            (M, d) spot states.
        y
            (M, G) expression state.
        graph
            The M spots' neighbours.
        geometry
            What `geometry` gave for this graph; made anew if None.

        Returns
        -------
        (M, d).
        """
