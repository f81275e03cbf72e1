"""The field of patches around a tile: where its patches lie, and what their features are called."""

from __future__ import annotations

from typing import Any

import numpy as np

from stflow.encoders.around import CENTRE, N_CELLS, corners_around, is_around, n_absent
from stflow.encoders.create import create


def test_patches_touch_and_the_tile_is_in_the_middle() -> None:
    corners = np.array([[1000, 2000], [-30, 0]])
    found = corners_around(corners, 224)
    assert found.shape == (2, N_CELLS, 2)
    np.testing.assert_array_equal(found[:, CENTRE], corners)
    np.testing.assert_array_equal(found[0, CENTRE + 1], [1224, 2000])  # to the right
    np.testing.assert_array_equal(found[0, CENTRE + 5], [1000, 2224])  # below
    np.testing.assert_array_equal(found[0, [0, -1]], [[552, 1552], [1448, 2448]])


def test_it_is_made_by_name_and_has_25_times_the_features(corners: Any) -> None:
    model = create("corners+reinhard+around")
    assert model.dim == 25 * corners.dim
    assert model.transform.endswith("one feature each of 5 x 5 patches around the tile")
    assert is_around("corners+reinhard+around")
    assert not is_around("corners+reinhard")


def test_absent_patches_are_those_without_any_feature() -> None:
    features = np.zeros((2, N_CELLS * 3), dtype=np.float32)
    features[0, :6] = np.nan
    features[1, 7] = np.nan  # a patch of which one feature is no number is broken, not absent
    assert n_absent(features, "corners+around") == 2
    assert n_absent(features, "corners") == 0
