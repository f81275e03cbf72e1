"""Convolutions that turn with their input, for the eight symmetries of a square, D4 (Cohen & Welling 2016).

A feature map has a value for every symmetry g as well as for every place: (B, C, 8, H, W), the regular representation.
Turning the input by h turns the planes and also reorders them, plane g to plane hg. Every filter is learned once and
laid on the input in its eight positions, so a convolution commutes with that by construction::

    lifting   out_g = (g w) * x                          x (B, I, H, W)
    group     out_g = sum_h (g w_{g^-1 h}) * x_h         x (B, I, 8, H, W)

The eight filters are the learned weights in other orders, so a bank of them is one gather. No filter is left out:
those of the e2cnn library for this group are the ones of limited frequency among them (384 weights of 432 for six pairs
of channels and 3 x 3).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Symmetries of a square: g = 4 m + r is m mirrorings, then r quarter turns.
ORDER = 8


def act(g: int, planes: np.ndarray) -> np.ndarray:
    """(..., n, n) mirrored along the last axis if g >= 4, then turned by g % 4 quarter turns."""
    return np.rot90(planes[..., ::-1] if g >= 4 else planes, g % 4, axes=(-2, -1))


def divide(g: int, h: int) -> int:
    """``g^-1 h``; a mirroring turns the sense of what it stands before."""
    turns = (h - g) % 4 if g < 4 else (g - h) % 4
    return 4 * ((g // 4 + h // 4) % 2) + turns


def filter_order(size: int, *, lifting: bool) -> Tensor:
    """Where the filters of every g stand in the learned one: (8, planes * size^2), one plane if lifting, else 8."""
    planes = 1 if lifting else ORDER
    learned = np.arange(planes * size * size).reshape(planes, size, size)
    made = [act(g, learned if lifting else learned[[divide(g, h) for h in range(ORDER)]]) for g in range(ORDER)]
    return torch.from_numpy(np.stack(made).reshape(ORDER, -1))


class GroupConv(nn.Module):
    """A lifting or a group convolution, without bias, zero padded to keep (H, W) at stride 1.

    Parameters
    ----------
    n_in, n_out
        Channels, each with one plane (the input of a lifting convolution) or eight.
    size
        Side of a filter; odd.
    stride
        Step of the output; a side of odd length stays symmetric, so that 2 keeps the symmetry on 5 x 5 and 3 x 3.
    lifting
        Whether the input has one plane a channel.
    """

    def __init__(self, n_in: int, n_out: int, size: int, *, stride: int = 1, lifting: bool = False) -> None:
        super().__init__()
        self.size, self.stride = size, stride
        self.planes = 1 if lifting else ORDER
        self.weight = nn.Parameter(torch.empty(n_out, n_in, self.planes * size * size))
        self.register_buffer("order", filter_order(size, lifting=lifting), persistent=False)
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def bank(self) -> Tensor:
        """(8 n_out, planes n_in, size, size) filters of an ordinary convolution."""
        n_out, n_in, _ = self.weight.shape
        turned = self.weight.index_select(2, self.get_buffer("order").reshape(-1))  # (O, I, 8 P s s)
        turned = turned.view(n_out, n_in, ORDER, self.planes, self.size, self.size)
        return turned.permute(0, 2, 1, 3, 4, 5).reshape(n_out * ORDER, n_in * self.planes, self.size, self.size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in, [8,] H, W) -> (B, n_out, 8, H', W')."""
        flat = x.reshape(len(x), -1, *x.shape[-2:])
        out = F.conv2d(flat, self.bank(), stride=self.stride, padding=self.size // 2)
        return out.view(len(x), -1, ORDER, *out.shape[-2:])
