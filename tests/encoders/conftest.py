"""Weights made by the tests: values by rule from a tensor's name and shape, in the layout of the published files."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from math import prod

import numpy as np
import pytest
import torch

Shapes = Mapping[str, tuple[int, ...]]


def make_weights(shapes: Shapes) -> dict[str, torch.Tensor]:
    """Values as of a trained network: no norm, scale or bias is at its initial value."""
    return {name: torch.from_numpy(_values(name, tuple(shape))) for name, shape in shapes.items()}


def _values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name.endswith("num_batches_tracked"):
        return np.array(1, dtype=np.int64)
    # Its stream is frozen for all NumPy versions.
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        values = 0.5 + np.abs(values)
    elif name.endswith(("gamma", "lambda1")):
        values = 0.4 + 0.1 * values
    elif len(shape) == 1 and name.endswith("weight"):
        values = 1 + 0.2 * values
    elif len(shape) == 1:
        values = 0.1 * values
    elif any(word in name for word in ("token", "pos", "query", "table")) and "attention" not in name:
        values = 0.3 * values
    else:
        values = values / prod(shape[1:]) ** 0.5
    return values.astype(np.float32)


def dinov2_shapes(
    width: int, depth: int, hidden: int, *, patch: int, positions: int, registers: int = 0, swiglu: bool = True
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a DINOv2 file in transformers' layout, as published before its version 5."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.mask_token": (1, width),
        "embeddings.position_embeddings": (1, positions, width),
        "embeddings.patch_embeddings.projection.weight": (width, 3, patch, patch),
        "embeddings.patch_embeddings.projection.bias": (width,),
    }
    if registers:
        shapes["embeddings.register_tokens"] = (1, registers, width)
    first, second = ("weights_in", "weights_out") if swiglu else ("fc1", "fc2")
    for block in range(depth):
        linear = {
            "attention.attention.query": (width, width),
            "attention.attention.key": (width, width),
            "attention.attention.value": (width, width),
            "attention.output.dense": (width, width),
            f"mlp.{first}": (hidden, width),
            f"mlp.{second}": (width, hidden // 2 if swiglu else hidden),
        }
        at = f"encoder.layer.{block}."
        for name, shape in linear.items():
            shapes |= {f"{at}{name}.weight": shape, f"{at}{name}.bias": shape[:1]}
        for norm in ("norm1", "norm2"):
            shapes |= {f"{at}{norm}.weight": (width,), f"{at}{norm}.bias": (width,)}
        shapes |= {f"{at}layer_scale1.lambda1": (width,), f"{at}layer_scale2.lambda1": (width,)}
    return shapes | {"layernorm.weight": (width,), "layernorm.bias": (width,)}


@pytest.fixture(scope="session")
def weights_of() -> Callable[[Shapes], dict[str, torch.Tensor]]:
    return make_weights


@pytest.fixture(scope="session")
def dinov2_layout() -> Callable[..., dict[str, tuple[int, ...]]]:
    return dinov2_shapes


@pytest.fixture(scope="session")
def tiles() -> np.ndarray:
    """(3, 224, 224, 3) uint8: noise, blurred so that neighbouring pixels agree, and a bright corner."""
    noise = np.random.RandomState(7).randint(0, 256, (3, 28, 28, 3)).astype(np.uint8)
    made = noise.repeat(8, axis=1).repeat(8, axis=2)
    made[:, :40, :60] = 230
    return made
