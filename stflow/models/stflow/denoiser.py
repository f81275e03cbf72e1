"""The denoiser: image features, positions and noisy expression in, clean expression out (figure 2 of the paper)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stflow.models.stflow.graph import Graph
from stflow.models.stflow.layers import Dropout, ExpressionHead, SwiGLU, TimeEmbedding
from stflow.models.stflow.mixer import Mixer


class Layer(nn.Module):
    """Messages between spots and an MLP on each, both with a residual, and the expression that follows."""

    def __init__(self, mixer: Mixer, d: int, n_genes: int, dropout: float) -> None:
        super().__init__()
        self.mixer = mixer
        self.mlp = SwiGLU(d, 4 * d, d, dropout)
        self.head = ExpressionHead(d, n_genes, dropout)

    def forward(self, z: Tensor, y: Tensor, graph: Graph, geometry: Tensor | None) -> tuple[Tensor, Tensor]:
        """(M, d) states and (M, G) expression -> the same, refined."""
        z = z + self.mixer(z, y, graph, geometry)
        z = z + self.mlp(z)
        return z, self.head(z)


class Encoded(NamedTuple):
    """What does not change from one flow time to the next: (M, d) image states, the graph, a layer's geometry."""

    image: Tensor
    graph: Graph
    geometry: list[Tensor | None]


class Denoiser(nn.Module):
    """``f(C, Z, x_t, t) -> x_1``; as invariant to moving, turning and mirroring the slide as its mixers are.

    Parameters
    ----------
    n_features, n_genes
        Sizes D of the image features and G of the expression.
    mixer
        Makes the part of each layer in which spots learn of each other; see `architectures`.
    d, layers
        Size of spot states; number of layers.
    dropout
        Drop probability of hidden units.
    """

    def __init__(
        self, n_features: int, n_genes: int, mixer: Callable[[], Mixer], *, d: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.image = nn.Linear(n_features, d)
        self.time = TimeEmbedding(d)
        self.layers = nn.ModuleList(Layer(mixer(), d, n_genes, dropout) for _ in range(layers))

    def forward(self, features: Tensor, x_t: Tensor, t: Tensor, graph: Graph) -> Tensor:
        """Guess the data.

        Parameters
        ----------
        features
            (M, D) image features of the spots of one or several slides or regions.
        x_t
            (M, G) expression on the path at time ``t``.
        t
            (M, 1) or (1, 1) times in [0, 1].
        graph
            Neighbours of the M spots.

        Returns
        -------
        (M, G) log1p expression: the mean over layers, each of which refines the expression of the one before.
        """
        return self.denoise(Encoded(self.image(features), graph, [None] * len(self.layers)), x_t, t)

    def encode(self, features: Tensor, graph: Graph) -> Encoded:
        """The part that a sampler needs once, whatever its number of steps."""
        return Encoded(self.image(features), graph, [layer.mixer.geometry(graph) for layer in self._layers()])

    def denoise(self, encoded: Encoded, x_t: Tensor, t: Tensor) -> Tensor:
        """(M, G) guess of the data at time ``t``."""
        z, y = encoded.image + self.time(t), x_t
        total = torch.zeros_like(y)
        for layer, geometry in zip(self._layers(), encoded.geometry, strict=True):
            z, y = layer(z, y, encoded.graph, geometry)
            total = total + y
        return total / len(self.layers)

    def use_generator(self, generator: torch.Generator) -> None:
        """Let every dropout draw from ``generator``."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.generator = generator

    def _layers(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]
