"""ResNet-50 trained on ImageNet: what features know without histology.

He et al., CVPR 2016; torchvision's first weights, as timm carries them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.network import NetworkEncoder

if TYPE_CHECKING:
    import torch


class ResNet50(NetworkEncoder):
    """2048 numbers a tile: the pooled last feature map."""

    name: ClassVar[str] = "resnet50"
    dim = 2048
    n_params: ClassVar[int] = 23_508_032
    licence: ClassVar[str] = "BSD-3-Clause"
    weights: ClassVar[Weights] = Weights("timm/resnet50.tv_in1k")
    transform = "resize 224 bilinear; ImageNet normalisation"
    resize = 224
    unused: ClassVar[frozenset[str]] = frozenset({"fc.weight", "fc.bias"})  # ImageNet's classes
    channels_last: ClassVar[bool] = True

    @classmethod
    def build(cls) -> torch.nn.Module:
        """timm's ResNet-50 up to the pooling."""
        import timm

        network: torch.nn.Module = timm.create_model("resnet50", num_classes=0)
        return network
