"""Random generators that come from names: the order in which jobs run never changes a number."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def entropy(seed: int, *names: str | int) -> int:
    """63 bits from ``seed`` and ``names``, e.g. ``entropy(0, "IDC", 2, "stflow", "dropout")``."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator of its own for (seed, names)."""
    return np.random.default_rng(entropy(seed, *names))


def torch_generator(seed: int, *names: str | int, device: str = "cpu") -> torch.Generator:
    """A torch generator of its own for (seed, names)."""
    import torch

    return torch.Generator(device=device).manual_seed(entropy(seed, *names))
