"""BLEEP's projection heads and its loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ProjectionHead(nn.Module):
    """(B, D) -> (B, E): linear, GELU, linear, dropout, added to what the first layer gave, then normalised."""

    def __init__(self, n_inputs: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.projection = nn.Linear(n_inputs, embedding)
        self.refinement = nn.Linear(embedding, embedding)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(embedding)

    def forward(self, values: Tensor) -> Tensor:
        projected = self.projection(values)
        embedded: Tensor = self.norm(projected + self.dropout(self.refinement(F.gelu(projected))))
        return embedded


class Heads(nn.Module):
    """A head for image features and one for log1p counts."""

    def __init__(self, n_features: int, n_genes: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.image = ProjectionHead(n_features, embedding, dropout)
        self.spot = ProjectionHead(n_genes, embedding, dropout)

    def forward(self, features: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        """(B, E) embeddings of B spots' images and of their expression."""
        return self.image(features), self.spot(expression)


def contrastive_loss(image: Tensor, spot: Tensor, temperature: float) -> Tensor:
    """The similarity-smoothed loss of BLEEP (its equations 2 to 4) of (B, E) embeddings; a scalar.

    Cross-entropy of the similarities between spots and images with targets that say how alike the spots are among
    themselves, along both axes. As published, embeddings are not brought to length 1 (a layer norm has just made them
    nearly so, but for a factor), the gradient goes through the targets too, and along the second axis these do not add
    up to 1. Where all embeddings are the same, the loss is ln B (`uniform_loss`).
    """
    logits = spot @ image.T / temperature
    targets = torch.softmax((image @ image.T + spot @ spot.T) / (2 * temperature), dim=1)
    by_spot = (targets * F.log_softmax(logits, dim=1)).sum()
    by_image = (targets * F.log_softmax(logits, dim=0)).sum()
    return -(by_spot + by_image) / (2 * len(image))


def uniform_loss(n_spots: int) -> float:
    """Loss of a batch of ``n_spots`` of which all embeddings are the same: what a network that learned nothing has."""
    return float(torch.log(torch.tensor(float(n_spots))))
