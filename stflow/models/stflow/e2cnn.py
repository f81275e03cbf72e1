"""Steerable convolution (Weiler & Cesa 2019) over a spot's surroundings, put on a grid, in place of the attention.

A spot sees a 5 x 5 grid of spots around it, itself in the middle (`grid.cells`). A cell holds ``z_j + W (Y_j - Y_i)``,
or zero where no spot lies: the expression state enters as it does in the logits of the paper's attention. A wide
residual network of depth 10 follows, as in the examples of the e2cnn library: a first convolution, three blocks of two
and a linear map, over the eight symmetries of a square (`group_convolution`). At the end the largest of each eight
planes and the mean over the grid are taken, which no quarter turn and no mirroring of the grid changes.

That is all it is invariant to: putting spots on a grid ties them to the axes of the slide, and turning the slide by
another angle changes what lies in the cells. No release of the e2cnn library runs with present numpy and its successor
escnn needs a Fortran compiler, so the convolutions are written here, on the group that moves a 5 x 5 grid onto itself;
the finer rotations those libraries offer would be interpolated.

The paper gives "10-layer ResNet" and the grid, and no code. Here the network stands in a layer where the attention
stands, so that ``layers: 1`` is ten layers in all. Width is ours: ``hidden / 16`` channels of eight planes, doubled in
every block.

Normalisation is over the channels, planes and cells of one spot. The library's batch normalisation would let spots of
other slides and of other flow times into a spot's state, and what a region of two spots gives would not be what the
whole slide gives.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from stflow.models.stflow.graph import Graph
from stflow.models.stflow.grid import SIDE
from stflow.models.stflow.group_convolution import GroupConv
from stflow.models.stflow.layers import Dropout
from stflow.models.stflow.mixer import Mixer
from stflow.models.stflow.rows import in_blocks, take


def _norm(channels: int) -> nn.GroupNorm:
    """One mean and variance a spot; scale and shift a channel, shared by planes and cells, which keeps the symmetry."""
    return nn.GroupNorm(1, channels)


class Block(nn.Module):
    """Residual block of two 3 x 3 group convolutions, each after normalisation and ReLU, with dropout between."""

    def __init__(self, n_in: int, n_out: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = _norm(n_in)
        self.conv1 = GroupConv(n_in, n_out, 3, stride=stride)
        self.norm2 = _norm(n_out)
        self.conv2 = GroupConv(n_out, n_out, 3)
        self.shortcut = GroupConv(n_in, n_out, 1, stride=stride)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in, 8, H, W) -> (B, n_out, 8, H', W')."""
        active = F.relu(self.norm1(x))
        out = self.dropout(F.relu(self.norm2(self.conv1(active))))
        return self.conv2(out) + self.shortcut(active)


class E2CNN(Mixer):
    """Wide residual network of depth 10 over the grid around each spot.

    Parameters
    ----------
    d
        Size of spot states; a multiple of 16, or the width is rounded down.
    n_genes
        Size G of the expression state.
    dropout
        Drop probability inside the blocks.
    """

    #: Spots whose grids are in memory at once when no gradient is kept.
    block_spots = 1024

    def __init__(self, d: int, n_genes: int, dropout: float) -> None:
        super().__init__()
        width = max(d // 16, 1)
        self.norm = nn.LayerNorm(d)
        self.expression = nn.Linear(n_genes, d, bias=False)
        self.lift = GroupConv(d, width, 5, lifting=True)
        self.blocks = nn.Sequential(
            Block(width, 2 * width, 1, dropout),
            Block(2 * width, 4 * width, 2, dropout),
            Block(4 * width, 8 * width, 2, dropout),
        )
        self.norm_out = _norm(8 * width)
        self.out = nn.Linear(8 * width, d)

    def forward(self, z: Tensor, y: Tensor, graph: Graph, geometry: Tensor | None = None) -> Tensor:
        """See `Mixer`."""
        if graph.grid is None:
            raise ValueError("architecture e2cnn needs a graph with a grid: Graph.of(..., grid=True)")
        grid = graph.grid
        own = self.expression(y)
        theirs = self.norm(z) + own

        def message(rows: slice) -> Tensor:
            present = grid[rows] >= 0  # (m, 25)
            cells = (take(theirs, grid[rows].clamp(min=0)) - own[rows, None]) * present[..., None]
            return self.convolve(cells.transpose(1, 2).unflatten(2, (SIDE, SIDE)))

        return in_blocks(message, len(z), self.block_spots)

    def convolve(self, cells: Tensor) -> Tensor:
        """(B, d, 5, 5) -> (B, d), the same for a turned or mirrored grid."""
        planes = F.relu(self.norm_out(self.blocks(self.lift(cells))))
        return self.out(planes.amax(dim=2).mean(dim=(2, 3)))
