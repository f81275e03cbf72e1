"""Eight views are the encoder's features of the eight symmetries, and their mean is the variant `dihedral`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from stflow.encoders.create import create
from stflow.encoders.dihedral import Dihedral, symmetries
from stflow.encoders.views import N_VIEWS, Views, split_views

TILES = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)


def test_every_view_is_the_feature_of_one_symmetry_the_tile_as_it_is_first(corners: Any) -> None:
    inner = corners()
    found = Views(inner).encode(TILES)
    assert found.shape == (3, N_VIEWS * inner.dim)
    views = split_views(found, "corners+views")
    for place, turned in enumerate(symmetries(TILES)):
        np.testing.assert_array_equal(views[:, place], inner.encode(turned))
    np.testing.assert_array_equal(views[:, 0], inner.encode(TILES))
    np.testing.assert_array_equal(Views(inner).encode(torch.from_numpy(TILES)), found)
    np.testing.assert_allclose(views.mean(axis=1), Dihedral(inner).encode(TILES), rtol=1e-5)


@pytest.mark.parametrize("name", ["corners", "corners+dihedral"])
def test_other_features_are_one_view(name: str) -> None:
    features = np.arange(16, dtype=np.float32).reshape(2, 8)
    np.testing.assert_array_equal(split_views(features, name), features[:, None])


def test_it_is_made_by_name_and_has_eight_times_the_features(corners: Any) -> None:
    model = create("corners+views")
    assert model.dim == 8 * corners.dim
    assert model.transform.endswith("one feature each of 8 symmetries of the tile")
