"""ResNet-18 trained with SimCLR on 57 sets of histology at several resolutions.

Ciga, Xu and Martel, Machine Learning with Applications 7, 2022; the release ``tenpercent``. It was trained on pixels
scaled to [-1, 1]; STFlow's and HEST's benchmarks normalise as for ImageNet, and so does the default here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from stflow.encoders.base import Weights
from stflow.encoders.network import NetworkEncoder

if TYPE_CHECKING:
    import torch


class Ciga(NetworkEncoder):
    """512 numbers a tile: the pooled last feature map."""

    name: ClassVar[str] = "ciga"
    dim = 512
    n_params: ClassVar[int] = 11_176_512
    licence: ClassVar[str] = "MIT"
    weights: ClassVar[Weights] = Weights("ozanciga/self-supervised-histopathology")
    transform = "resize 224 bilinear; ImageNet normalisation"
    resize = 224
    key: ClassVar[str] = "state_dict"
    channels_last: ClassVar[bool] = True
    variants: ClassVar = {
        "half": {"mean": (0.5,) * 3, "std": (0.5,) * 3, "transform": "resize 224 bilinear; mean and deviation 0.5"}
    }

    @classmethod
    def build(cls) -> torch.nn.Module:
        """torchvision's ResNet-18 up to the pooling."""
        import torch
        from torchvision.models import resnet18

        network = resnet18(weights=None)
        network.fc = torch.nn.Identity()
        return network

    @classmethod
    def convert(cls, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Without the training's wrappers and its head."""
        names = {name: name.removeprefix("model.").removeprefix("resnet.") for name in state}
        return {new: state[old] for old, new in names.items() if not new.startswith("fc.")}
