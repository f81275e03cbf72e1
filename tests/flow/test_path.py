"""The path starts at the prior and ends at the data."""

from __future__ import annotations

import torch

from stflow.flow.path import interpolate


def test_ends_and_middle() -> None:
    x_0, x_1 = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    t = torch.ones(5, 1)
    assert torch.equal(interpolate(x_0, x_1, 0 * t), x_0)
    assert torch.equal(interpolate(x_0, x_1, t), x_1)
    torch.testing.assert_close(interpolate(x_0, x_1, 0.5 * t), (x_0 + x_1) / 2)


def test_each_spot_has_its_own_time() -> None:
    x_0, x_1 = torch.zeros(2, 1), torch.ones(2, 1)
    assert interpolate(x_0, x_1, torch.tensor([[0.25], [0.75]])).tolist() == [[0.25], [0.75]]
