"""Dropout's masks, from seeds: what was drawn once can be drawn again instead of being kept."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

#: Random bits a mask entry on the CPU; the drop probability is honoured to 2 ** -16.
_BITS = 16


class Masks:
    """A stream of masks from one seed; the same seed gives the same masks on the same kind of device.

    On the CPU four entries come from each 64-bit number of NumPy's SFC64: a Bernoulli draw an entry would cost as much
    as the rest of the network.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        if device.type == "cpu":
            self._numbers = np.random.Generator(np.random.SFC64(seed))
        else:
            self._generator = torch.Generator(device).manual_seed(seed)

    def draw(self, shape: tuple[int, ...], p: float) -> Tensor | None:
        """Factors of ``shape``: 0 with probability ``p``, else 1 / (1 - p); None where nothing is dropped."""
        if p == 0:
            return None
        mask = torch.empty(shape, device=self.device)
        if self.device.type != "cpu":
            return mask.bernoulli_(1 - p, generator=self._generator).div_(1 - p)
        n = math.prod(shape)
        numbers = self._numbers.integers(0, 2**64, -(-n * _BITS // 64), dtype=np.uint64)
        dropped = round(p * 2**_BITS)
        # NumPy compares in vectors, torch does not.
        kept = numbers.view(np.uint16)[:n] >= dropped
        return mask.copy_(torch.from_numpy(kept).view(shape)).mul_(2**_BITS / (2**_BITS - dropped))
