"""Convolutions over the symmetries of a square: the sum that defines them, and turning with their input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stflow.models.stflow.e2cnn import Block
from stflow.models.stflow.group_convolution import ORDER, GroupConv, act, divide


def turned(h: int, planes: Tensor) -> Tensor:
    """A regular feature map (B, C, 8, n, n) moved by ``h``: plane g of the result is plane ``h^-1 g``, moved."""
    return torch.from_numpy(act(h, planes[:, :, [divide(h, g) for g in range(ORDER)]].numpy()).copy())


def test_division_is_that_of_the_symmetries() -> None:
    marked = np.arange(9).reshape(3, 3)
    moved = [act(g, marked) for g in range(ORDER)]
    assert len({m.tobytes() for m in moved}) == ORDER
    for g in range(ORDER):
        for h in range(ORDER):
            np.testing.assert_array_equal(act(g, moved[divide(g, h)]), moved[h])


@pytest.mark.parametrize("lifting", [True, False])
def test_convolution_is_the_sum_over_the_group(lifting: bool) -> None:
    torch.manual_seed(0)
    conv = GroupConv(2, 3, 3, lifting=lifting)
    planes = 1 if lifting else ORDER
    x = torch.randn(2, 2, planes, 5, 5)
    w = conv.weight.detach().view(3, 2, planes, 3, 3).numpy()
    made = conv(x.squeeze(2) if lifting else x)
    for g in range(ORDER):
        expected = torch.zeros(2, 3, 5, 5)
        for h in range(planes):
            moved = act(g, w[:, :, h if lifting else divide(g, h)])
            expected += F.conv2d(x[:, :, h], torch.from_numpy(moved.copy()), padding=1)
        torch.testing.assert_close(made[:, :, g], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("h", range(ORDER))
def test_convolutions_and_blocks_turn_with_their_input(h: int) -> None:
    torch.manual_seed(0)
    lift, conv, block = GroupConv(4, 3, 5, lifting=True), GroupConv(3, 2, 3), Block(3, 4, 2, 0.2).eval()
    nn.init.normal_(block.norm1.weight)
    nn.init.normal_(block.norm1.bias)
    with torch.inference_mode():
        flat = torch.randn(2, 4, 5, 5)
        moved = torch.from_numpy(act(h, flat.numpy()).copy())
        torch.testing.assert_close(lift(moved), turned(h, lift(flat)), atol=1e-5, rtol=1e-5)
        x = torch.randn(2, 3, ORDER, 5, 5)
        for part in (conv, block):
            torch.testing.assert_close(part(turned(h, x)), turned(h, part(x)), atol=1e-5, rtol=1e-5)
        assert block(x).shape == (2, 4, ORDER, 3, 3)
