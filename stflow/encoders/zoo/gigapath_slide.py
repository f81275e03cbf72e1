"""GigaPath's slide encoder: the features of a slide's tiles, each aware of the whole slide.

Xu et al., Nature 2024. The network is `stflow.encoders.longnet`; what is here is how tiles come to it and go.

Tiles come in row-major order, as in pretraining (figure 1 of the paper): from top to bottom by rows of the grid, from
left to right within a row. Order matters at any number of tiles, since of the five branches of attention four see
strides of the sequence, and beyond 1023 tiles also because segments cut it. The released code of STFlow gives the
encoder a batch of tiles at a time, 128 unless told otherwise, in the order of the file; here it sees all tiles at once.

The paper of STFlow names a ``12l1536d`` encoder. Its weights were never published; the public file is ``12l768d``, and
768 numbers a tile is what there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from stflow.encoders.base import SlideEncoder, Weights
from stflow.encoders.weights import load_strict, read_state
from stflow.errors import DataError

if TYPE_CHECKING:
    from stflow.encoders.longnet import LongNet

#: Side of a cell of the grid of positions, px; um/px of the slides of pretraining.
CELL_PX, PRETRAINING_MPP = 256, 0.5
#: Size of the tile encoder's features.
_IN_DIM = 1536


class GigaPathSlide(SlideEncoder):
    """768 numbers a tile: its state after the last of twelve layers and the layers' norm.

    So the released code of STFlow takes it. The encoder has one more norm, which precedes the published embedding of a
    slide; ``normed`` applies it. Places are measured in px of 0.5 um, the scale of pretraining; ``level0`` takes
    level-0 px as they are, as the released code does, whatever um/px the slide has.
    """

    name: ClassVar[str] = "gigapath_slide"
    dim = 768
    transform = "tiles row by row; cells of 256 px of 0.5 um; state before the final norm"
    licence: ClassVar[str] = "Apache-2.0"
    n_params: ClassVar[int] = 86_330_880
    weights: ClassVar[Weights] = Weights("prov-gigapath/prov-gigapath", "slide")
    needs_gpu: ClassVar[bool] = True
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"normed": {"normed": True}, "level0": {"level0": True}}
    tile_encoder: ClassVar[str] = "gigapath"

    normed: bool = False
    level0: bool = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        px = "level-0 px" if self.level0 else f"px of {PRETRAINING_MPP} um"
        side = "after" if self.normed else "before"
        self.transform = f"tiles row by row; cells of {CELL_PX} {px}; state {side} the final norm"
        self._network: LongNet | None = None

    def encode_slide(self, features: np.ndarray, corners_px: np.ndarray, mpp: float) -> np.ndarray:
        """As `SlideEncoder.encode_slide`: (N, 1536), (N, 2) level-0 px, um/px -> (N, 768) float32, in the same order.

        Raises
        ------
        DataError
            Features of another encoder, corners that are not theirs, a slide without a scale or too large for the grid.
        WeightsError
            The weights are missing, or are not this network's.
        """
        import torch

        features, corners = np.asarray(features), np.asarray(corners_px, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != _IN_DIM:
            raise DataError(
                f"{self.name} reads features of {self.tile_encoder}, of shape (tiles, {_IN_DIM}), not "
                f"{features.shape}. Encode the tiles with {self.tile_encoder} first."
            )
        if corners.shape != (len(features), 2):
            raise DataError(
                f"{self.name}: corners of shape {corners.shape} for {len(features)} tiles, where each has x and y. "
                "Take both from one features file."
            )
        if not len(features):
            return np.empty((0, self.dim), dtype=np.float32)
        cells = self._cells(corners, mpp)
        order = np.lexsort((*corners.T, *cells.T))
        if self._network is None:
            self._network = load_network(self.checked_weights()).to(self.device)
        network = self._network
        dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        with torch.inference_mode(), torch.autocast(self.device.partition(":")[0], dtype, enabled=dtype is not None):
            tiles = torch.from_numpy(np.ascontiguousarray(features[order], dtype=np.float32)).to(self.device)
            states = network(tiles, torch.from_numpy(cells[order]))[1:]
            if self.normed:
                states = network.norm(states)
        result = np.empty((len(features), self.dim), dtype=np.float32)
        result[order] = states.float().cpu().numpy()
        return result

    def _cells(self, corners: np.ndarray, mpp: float) -> np.ndarray:
        """(N, 2) level-0 px -> (N, 2) int64 column and row in the grid."""
        from stflow.encoders.longnet import GRID_CELLS

        if not (np.isfinite(mpp) and mpp > 0):
            raise DataError(f"{self.name}: {mpp} um per level-0 px is no scale. Give the slide's own.")
        scale = 1.0 if self.level0 else mpp / PRETRAINING_MPP
        places = np.floor(corners * scale / CELL_PX)
        # A tile that hangs over the slide's upper or left edge is of the first row or column.
        places[places == -1] = 0
        if not ((places >= 0) & (places < GRID_CELLS)).all():
            px = "level-0 px" if self.level0 else f"px of {PRETRAINING_MPP} um"
            (left, top), (right, bottom) = corners.min(axis=0) * scale, corners.max(axis=0) * scale
            mend = (
                f"Use {self.name} without level0, which measures in px of {PRETRAINING_MPP} um."
                if self.level0
                else f"Check the slide's um/px, {mpp}, and that its coordinates are level-0 px."
            )
            raise DataError(
                f"{self.name}: corners of tiles go from ({left:,.0f}, {top:,.0f}) to ({right:,.0f}, {bottom:,.0f}) "
                f"{px}, and the encoder's grid from 0 to {GRID_CELLS * CELL_PX:,}. {mend}"
            )
        return places.astype(np.int64)


def load_network(path: Path) -> LongNet:
    """The network of the published size with the weights of ``path``, a file as ``slide_encoder.pth``.

    Raises
    ------
    WeightsError
        The file is missing or unreadable, or its tensors are not the network's in name, number or shape.
    """
    import torch

    from stflow.encoders.longnet import LongNet

    with torch.device("meta"):
        network = LongNet()
    load_strict(network, read_state(path, "model"), path, GigaPathSlide.name)
    return network
