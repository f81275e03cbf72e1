"""What encoders with a neural network have in common: their weights, the tile's transform, precision and batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from stflow.encoders.base import Encoder
from stflow.encoders.weights import load_strict, read_state
from stflow.errors import DataError

if TYPE_CHECKING:
    import torch

#: Mean and standard deviation of ImageNet's red, green and blue, of pixels in [0, 1].
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class NetworkEncoder(Encoder):
    """An encoder that is a network with published weights, loaded when the first tile comes.

    Class attributes, of which a variant may set anew those of the transform:

    mean, std
        Of red, green and blue, of pixels in [0, 1].
    resize
        Side to which a tile is resized first, px; None: it is not.
    input_px
        Side of the square that is then cut from the middle, px: the network's input.
    interpolation
        Of the resizing.
    key
        Where in the weights file the tensors are; empty: they are the whole file.
    unused
        Tensors of the file that the features do without, as a head of classes.
    channels_last
        Whether the network runs in that memory format, which is the faster one for convolutions.
    cpu_batch
        Tiles that the network takes at once on a CPU. A fixed number, counted from the first tile of each call, so
        that a feature's last bits do not depend on how many tiles come with it, as long as calls bring multiples of it.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    resize: int | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    key: ClassVar[str] = ""
    unused: ClassVar[frozenset[str]] = frozenset()
    channels_last: ClassVar[bool] = False
    # On one core transformers are as fast with 1 as with 16; convolutions lose a tenth below 4 and above 32.
    cpu_batch: ClassVar[int] = 8
    needs_gpu: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def build(cls) -> torch.nn.Module:
        """The network without weights: (B, 3, input_px, input_px) normalised images in, what `features` takes out."""

    def features(self, output: torch.Tensor) -> torch.Tensor:
        """(B, D) features from the network's output."""
        return output

    @classmethod
    def convert(cls, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The file's tensors under the network's names, without those of `unused`."""
        return {name: value for name, value in state.items() if name not in cls.unused}

    @cached_property
    def network(self) -> torch.nn.Module:
        """The network with its weights, on the device, in evaluation mode.

        Raises
        ------
        WeightsError
            The file is missing, broken, not the published one, or of another model.
        """
        import torch

        network = self.load()
        if self.channels_last:
            network = network.to(memory_format=torch.channels_last)
        return network.to(self.device)

    def load(self) -> torch.nn.Module:
        """The network with its weights, on the CPU; see `network`."""
        import torch

        path = self.checked_weights()
        with torch.device("meta"):
            network = self.build()
        state = self.convert(read_state(path, self.key))
        return load_strict(network, state, path, self.name, self.build)

    def prepare(self, tiles: np.ndarray) -> np.ndarray:
        """(B, px, px, 3) uint8 tiles -> (B, input_px, input_px, 3) uint8, as Pillow resizes; themselves where they fit.

        Raises
        ------
        DataError
            Tiles that are smaller than what is cut from them.
        """
        side = tiles.shape[1] if self.resize is None else self.resize
        if side < self.input_px:
            raise DataError(f"encoder {self.name} takes tiles of {self.input_px} px or more: got {tiles.shape[1]} px.")
        if side != tiles.shape[1]:
            tiles = self._resized(tiles, side)
        if side > self.input_px:
            # The corner that torchvision's CenterCrop takes, Python's rounding of halves included.
            corner = round((side - self.input_px) / 2)
            tiles = tiles[:, corner : corner + self.input_px, corner : corner + self.input_px]
        return tiles

    def _resized(self, tiles: np.ndarray, side: int) -> np.ndarray:
        from PIL import Image

        how = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[self.interpolation]
        out = np.empty((len(tiles), side, side, 3), dtype=np.uint8)
        for tile, place in zip(tiles, out, strict=True):
            place[:] = np.asarray(Image.fromarray(tile).resize((side, side), how))
        return out

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, input_px, input_px) float32 pixels from 0 to 255 -> as the network takes them; in place."""
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return images.div_(255).sub_(mean).div_(std)

    def encode(self, tiles: np.ndarray | torch.Tensor) -> np.ndarray:
        """(B, input_px, input_px, 3) uint8 RGB tiles, as `prepare` leaves them -> (B, D) float32 features.

        A tensor may be given as well; where it lies in pinned memory, it is copied to the device while others compute.
        """
        import torch

        if not len(tiles):
            return np.empty((0, self.dim), dtype=np.float32)
        network = self.network
        batch = (
            tiles if isinstance(tiles, torch.Tensor) else torch.from_numpy(np.require(tiles, requirements=["C", "W"]))
        )
        dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        kind = self.device.partition(":")[0]
        parts = []
        with (
            torch.inference_mode(),
            _full_float32(),
            torch.autocast(kind, dtype, enabled=dtype is not None),
        ):
            for part in batch.split(self.cpu_batch if kind == "cpu" else len(batch)):
                # (B, H, W, C) seen as (B, C, H, W) is channels_last: convolutions read it without a copy.
                images = part.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
                images = self.normalise(images if self.channels_last else images.contiguous())
                parts.append(self.features(network(images)).float())
            features = torch.cat(parts)
        return features.cpu().numpy()


@contextmanager
def _full_float32() -> Iterator[None]:
    """Let a GPU compute float32 in float32, not in the 10 bits of TF32; what was set before comes back."""
    import torch

    places: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = False
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value
