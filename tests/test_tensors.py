"""Products of what came from NumPy have the same bits wherever NumPy had put it."""

from __future__ import annotations

import numpy as np
import torch

from stflow import tensors


def placed(values: np.ndarray, offset: int) -> np.ndarray:
    """The same values, beginning ``offset`` bytes after a multiple of 64."""
    room = np.empty(values.nbytes + 128, dtype=np.uint8)
    start = -room.ctypes.data % 64 + offset
    out = room[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    out[...] = values
    return out


def test_same_bits_wherever_the_array_began() -> None:
    rng = np.random.default_rng(0)
    for n, k, m in ((40, 16, 5), (64, 12, 8), (64, 33, 7), (300, 128, 50)):
        values, weight = rng.normal(size=(n, k)).astype(np.float32), torch.from_numpy(rng.normal(size=(k, m))).float()
        expected = tensors.of(values) @ weight
        for offset in range(0, 64, 4):
            tensor = tensors.of(placed(values, offset))
            assert tensor.data_ptr() % 64 == 0
            assert torch.equal(tensor @ weight, expected)


def test_owns_its_memory() -> None:
    values = np.ones(3, dtype=np.float32)
    tensor = tensors.of(values)
    values[:] = 0
    assert tensor.tolist() == [1, 1, 1]
