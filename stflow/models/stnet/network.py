"""ST-Net's layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stflow.encoders.network import IMAGENET_MEAN, IMAGENET_STD
from stflow.encoders.zoo.densenet121 import DenseNet121


def zero_linear(n_features: int, n_genes: int) -> nn.Linear:
    """A linear layer of zeros; its bias is set to the mean expression before training."""
    layer = nn.Linear(n_features, n_genes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class FineTuned(nn.Module):
    """DenseNet-121 whose layer of classes is replaced by one of genes: (B, px, px, 3) uint8 tiles to (B, G)."""

    mean: Tensor
    std: Tensor

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.backbone = DenseNet121.build()
        self.head = zero_linear(DenseNet121.dim, n_genes)
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, tiles: Tensor) -> Tensor:
        """(B, G) of the tiles as they lie; normalised with ImageNet's mean and deviation first."""
        images = tiles.permute(0, 3, 1, 2).float().div(255)
        genes: Tensor = self.head(self.backbone((images - self.mean) / self.std))
        return genes
