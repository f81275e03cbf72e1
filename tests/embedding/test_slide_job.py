"""A slide encoder's features come from those of its tile encoder, and are made anew when these or the scale change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest

from stflow.embedding.features import read_features
from stflow.encoders.base import Encoder, SlideEncoder
from stflow.encoders.classical import Classical
from stflow.errors import IntegrityError, ResourceError
from stflow.io import sha256_array

Register = Callable[[type[Encoder]], type[Encoder]]


class Context(SlideEncoder):
    """Each tile's features beside the slide's mean and the tile's place in um."""

    name: ClassVar[str] = "context"
    dim = Classical.dim + 3
    transform = "mean"
    licence: ClassVar[str] = "MIT"
    uses_torch: ClassVar[bool] = False
    tile_encoder: ClassVar[str] = "classical"
    calls: ClassVar[int] = 0

    @property
    def weights_sha256(self) -> str:
        return "1" * 64

    def encode_slide(self, features: np.ndarray, corners_px: np.ndarray, mpp: float) -> np.ndarray:
        type(self).calls += 1
        mean = np.full((len(features), 1), features.mean(), np.float32)
        return np.concatenate([features, mean, (corners_px * mpp).astype(np.float32)], axis=1)


def test_a_slide_encoder_reads_its_tile_encoders_features(bench: Any, register: Register) -> None:
    register(Context)
    bench.embed(encoder="classical+dihedral")
    table = read_features(bench.embed(encoder="context+dihedral", batch_size=None))
    source = bench.features(encoder="classical+dihedral")
    with h5py.File(bench.slide_file()) as handle:
        mpp = float(handle["uns/stflow/mpp"][()])
    np.testing.assert_array_equal(table.features[:, : Classical.dim], source.features)
    np.testing.assert_array_equal(table.features[:, -2:], (source.coords * mpp).astype(np.float32))
    assert table.tiles_sha256 == source.tiles_sha256
    assert table.source_sha256 == sha256_array(source.features, source.coords, np.array([mpp]))


def test_a_slide_encoders_features_are_kept_until_what_it_reads_changes(bench: Any, register: Register) -> None:
    register(Context)
    bench.embed()
    first = bench.embed(encoder="context").read_bytes()
    bench.out(encoder="context").unlink()
    before = Context.calls
    assert bench.embed(encoder="context").read_bytes() == first
    assert Context.calls == before
    with h5py.File(bench.slide_file(), "r+") as handle:
        handle["uns/stflow/mpp"][()] = 0.6
    assert bench.embed(encoder="context").read_bytes() != first
    assert Context.calls == before + 1


def test_a_slide_encoder_without_its_tile_features_says_so(bench: Any, register: Register) -> None:
    register(Context)
    with pytest.raises(IntegrityError, match=r"features/classical/B/S1\.h5 does not exist"):
        bench.embed(encoder="context")


def test_a_slide_that_does_not_fit_at_once_is_told(
    bench: Any, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(Context)
    bench.embed()

    def full(*_: object) -> np.ndarray:
        raise MemoryError

    monkeypatch.setattr(Context, "encode_slide", full)
    with pytest.raises(ResourceError, match=r"context S1 .*do not fit in the memory of cpu at once"):
        bench.embed(encoder="context")
