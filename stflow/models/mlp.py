"""A small perceptron on a spot's own features: what a network gains over ridge without looking at other spots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from stflow.models.network import SpotNetwork
from stflow.training.settings import SpotTraining

if TYPE_CHECKING:
    from torch import nn


class MLPSettings(SpotTraining):
    """Settings of the perceptron."""

    hidden: int = Field(512, gt=0, description="size of a hidden layer")
    layers: int = Field(3, ge=1, description="linear layers; 1: linear regression by gradient descent")
    dropout: float = Field(0.2, ge=0, lt=1, description="drop probability of hidden units")


class MLP(SpotNetwork):
    """Linear layers with GELU and dropout between them, trained by squared error on batches of spots."""

    name = "mlp"
    Settings = MLPSettings

    if TYPE_CHECKING:
        settings: MLPSettings

    def network(self, n_features: int, n_genes: int) -> nn.Module:
        """(B, D) features -> (B, G) log1p counts."""
        from torch import nn

        s = self.settings
        modules: list[nn.Module] = []
        size = n_features
        for _ in range(s.layers - 1):
            modules += [nn.Linear(size, s.hidden), nn.GELU(), nn.Dropout(s.dropout)]
            size = s.hidden
        return nn.Sequential(*modules, nn.Linear(size, n_genes))
