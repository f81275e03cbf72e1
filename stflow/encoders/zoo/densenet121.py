"""DenseNet-121 trained on ImageNet: the image network of ST-Net, frozen.

Huang et al., CVPR 2017; He et al., Nature Biomedical Engineering 2020 (ST-Net); torchvision's weights, as timm
carries them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.network import NetworkEncoder

if TYPE_CHECKING:
    import torch


class DenseNet121(NetworkEncoder):
    """1024 numbers a tile: the pooled last feature map."""

    name: ClassVar[str] = "densenet121"
    dim = 1024
    n_params: ClassVar[int] = 6_953_856
    licence: ClassVar[str] = "Apache-2.0"
    weights: ClassVar[Weights] = Weights("timm/densenet121.tv_in1k")
    transform = "resize 224 bilinear; ImageNet normalisation"
    resize = 224
    unused: ClassVar[frozenset[str]] = frozenset({"classifier.weight", "classifier.bias"})  # ImageNet's classes
    channels_last: ClassVar[bool] = True

    @classmethod
    def build(cls) -> torch.nn.Module:
        """timm's DenseNet-121 up to the pooling."""
        import timm

        network: torch.nn.Module = timm.create_model("densenet121", num_classes=0)
        return network
