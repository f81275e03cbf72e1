"""The denoiser: image features, positions and noisy expression in, clean expression out (figure 2 of the paper)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stflow.models.stflow.attention import NeighbourAttention
from stflow.models.stflow.graph import Graph
from stflow.models.stflow.layers import Dropout, ExpressionHead, SwiGLU, TimeEmbedding


class Layer(nn.Module):
    """Attention and MLP, each with a residual, and the expression they imply."""

    def __init__(self, d: int, d_edge: int, n_genes: int, heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.attention = NeighbourAttention(d, d_edge, n_genes, heads, dropout, attention_dropout)
        self.mlp = SwiGLU(d, 4 * d, d, dropout)
        self.head = ExpressionHead(d, n_genes, dropout)

    def forward(self, z: Tensor, y: Tensor, edge_vectors: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        """(M, d) states and (M, G) expression -> the same, refined."""
        z = z + self.attention(z, y, edge_vectors, graph)
        z = z + self.mlp(z)
        return z, self.head(z)


class Encoded(NamedTuple):
    """What does not change from one flow time to the next: (M, d) image states, and (M, k, d_edge) a layer."""

    image: Tensor
    edge_vectors: list[Tensor]
    graph: Graph


class Denoiser(nn.Module):
    """``f(C, Z, x_t, t) -> x_1``; invariant to moving, turning and mirroring the slide.

    Parameters
    ----------
    n_features, n_genes
        Sizes D of the image features and G of the expression.
    d, d_edge, layers, heads
        Sizes of spot states and edge vectors; layers; attention heads.
    dropout, attention_dropout
        Drop probabilities.
    """

    def __init__(
        self,
        n_features: int,
        n_genes: int,
        *,
        d: int = 128,
        d_edge: int = 128,
        layers: int = 4,
        heads: int = 4,
        dropout: float = 0.2,
        attention_dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.image = nn.Linear(n_features, d)
        self.time = TimeEmbedding(d)
        self.layers = nn.ModuleList(Layer(d, d_edge, n_genes, heads, dropout, attention_dropout) for _ in range(layers))

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
        return self.denoise(self.encode(features, graph), x_t, t)

    def encode(self, features: Tensor, graph: Graph) -> Encoded:
        """The part that a sampler needs once, whatever its number of steps."""
        edge_vectors = [layer.attention.edge_vectors(graph) for layer in self._layers()]
        return Encoded(self.image(features), edge_vectors, graph)

    def denoise(self, encoded: Encoded, x_t: Tensor, t: Tensor) -> Tensor:
        """(M, G) guess of the data at time ``t``."""
        z, y = encoded.image + self.time(t), x_t
        guesses = []
        for layer, edge_vectors in zip(self._layers(), encoded.edge_vectors, strict=True):
            z, y = layer(z, y, edge_vectors, encoded.graph)
            guesses.append(y)
        return torch.stack(guesses).mean(dim=0)

    def use_generator(self, generator: torch.Generator) -> None:
        """Let every dropout draw from ``generator``."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.generator = generator

    def _layers(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]
