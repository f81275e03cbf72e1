"""The mean over a tile's symmetries is what a plain loop gives, and does not see how the tile lay."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from stflow.encoders.classical import Classical
from stflow.encoders.create import create
from stflow.encoders.dihedral import Dihedral, symmetries

TILES = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)


def test_the_symmetries_are_the_eight_turned_and_mirrored_tiles() -> None:
    ours = {turned.tobytes() for turned in symmetries(TILES)}
    plain = {
        np.ascontiguousarray(np.rot90(tiles, turns, axes=(1, 2))).tobytes()
        for tiles in (TILES, TILES[:, :, ::-1])
        for turns in range(4)
    }
    assert ours == plain
    assert len(ours) == 8


def test_a_tensor_is_turned_as_an_array_is() -> None:
    arrays, tensors = list(symmetries(TILES)), list(symmetries(torch.from_numpy(TILES)))
    assert len(tensors) == 8
    for array, tensor in zip(arrays, tensors, strict=True):
        assert tensor.is_contiguous()
        np.testing.assert_array_equal(tensor.numpy(), array)


def test_it_is_the_mean_of_a_plain_loop(corners: Any) -> None:
    inner = corners()
    looped = np.zeros((3, inner.dim))
    for tile, row in zip(TILES, looped, strict=True):
        for mirrored in (tile, tile[::-1]):
            for turns in range(4):
                row += inner.encode(np.rot90(mirrored, turns)[None])[0] / 8
    found = Dihedral(inner).encode(TILES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, looped, rtol=1e-6)
    np.testing.assert_array_equal(Dihedral(inner).encode(torch.from_numpy(TILES)), found)
    assert np.abs(found - inner.encode(TILES)).max() > 1


def test_turning_the_tile_changes_the_encoder_and_not_the_mean(corners: Any) -> None:
    inner = corners()
    for turned in symmetries(TILES):
        np.testing.assert_allclose(Dihedral(inner).encode(turned), Dihedral(inner).encode(TILES), rtol=1e-5)
    assert np.abs(inner.encode(np.rot90(TILES, axes=(1, 2))) - inner.encode(TILES)).max() > 1


def test_what_it_does_not_change_is_passed_on() -> None:
    plain, wrapped = Classical(), create("classical+dihedral")
    assert isinstance(wrapped, Dihedral)
    for attribute in ("name", "dim", "licence", "weights_sha256", "uses_torch", "device", "precision", "needs_gpu"):
        assert getattr(wrapped, attribute) == getattr(plain, attribute), attribute
    assert wrapped.transform.startswith(plain.transform)
