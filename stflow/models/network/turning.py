"""Tiles turned and mirrored at random, each its own way, as methods are trained that look at tiles."""

from __future__ import annotations

import torch
from torch import Tensor

from stflow.encoders.dihedral import turned


def turned_each(tiles: Tensor, views: Tensor) -> Tensor:
    """(B, px, px, 3) tiles, each as the one of its eight symmetries that (B,) int64 ``views`` names."""
    out = torch.empty_like(tiles)
    for view in views.unique().tolist():
        rows = (views == view).nonzero()[:, 0]
        out[rows] = turned(tiles[rows], view)
    return out
