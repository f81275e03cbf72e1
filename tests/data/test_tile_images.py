"""Tiles are read in the order that is asked for, of the spots that are left, and follow a slide's subsets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from stflow.data.slide import read_slide
from stflow.data.tile_images import TileImages
from stflow.embedding.features import Features, write_features
from stflow.errors import IntegrityError

N = 7
IMG = np.arange(N, dtype=np.uint8)[:, None, None, None] + np.zeros((N, 4, 4, 3), dtype=np.uint8)


def write_tiles(path: Path, names: list[str], img: np.ndarray = IMG, sha256: str = "") -> Path:
    with h5py.File(path, "w") as handle:
        handle["img"] = img
        handle["barcode"] = [[name] for name in names]
        if sha256:
            handle.attrs["img_sha256"] = sha256
    return path


@pytest.fixture
def tiles(tmp_path: Path) -> TileImages:
    return TileImages.of(write_tiles(tmp_path / "tiles.h5", [f"s{index}" for index in range(N)]))


@pytest.mark.parametrize("wanted", [[0], [6, 1, 3], [3, 4, 5], [5, 4], [2, 2, 0], []])
def test_tiles_come_in_the_order_asked_for(tiles: TileImages, wanted: list[int]) -> None:
    found = tiles.read(np.array(wanted, dtype=np.int64))
    assert found.shape == (len(wanted), 4, 4, 3)
    assert found[:, 0, 0, 0].tolist() == wanted


def test_a_subset_counts_from_its_own_rows(tiles: TileImages) -> None:
    part = tiles.subset(np.array([6, 2, 4])).subset(np.array([True, False, True]))
    assert len(part) == 2
    assert list(part.barcodes) == ["s6", "s4"]
    assert part.read()[:, 0, 0, 0].tolist() == [6, 4]
    assert part.read(np.array([1]))[:, 0, 0, 0].tolist() == [4]


def test_other_pixels_have_another_hash(tmp_path: Path) -> None:
    names = [f"s{index}" for index in range(N)]
    one = TileImages.of(write_tiles(tmp_path / "a.h5", names, sha256="a" * 64))
    other = TileImages.of(write_tiles(tmp_path / "b.h5", names, sha256="b" * 64))
    assert one.sha256 == "a" * 64 != other.sha256


def test_what_is_no_tiles_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as handle:
        handle["img"] = IMG
    with pytest.raises(IntegrityError, match="lacks barcode"):
        TileImages.of(tmp_path / "x.h5")
    with pytest.raises(IntegrityError, match="7 tiles and 3 barcodes"):
        TileImages.of(write_tiles(tmp_path / "y.h5", ["a", "b", "c"]))


def test_a_slide_keeps_the_spots_that_have_a_tile(make_slide: Callable, tmp_path: Path) -> None:
    made = make_slide()
    names = [made.barcodes[index] for index in (9, 3, 30)]
    path = write_tiles(tmp_path / "tiles.h5", names, IMG[:3])
    slide = read_slide(made.slide_file, tiles=path)
    assert list(slide.barcodes) == names
    np.testing.assert_array_equal(slide.counts.toarray(), made.counts[[9, 3, 30]])
    assert slide.tiles is not None
    assert slide.subset(np.array([2, 0])).tiles.read()[:, 0, 0, 0].tolist() == [2, 0]


def test_tiles_follow_the_order_of_the_features(make_slide: Callable, tmp_path: Path) -> None:
    made = make_slide()
    path = write_tiles(tmp_path / "tiles.h5", [made.barcodes[index] for index in (9, 3, 30)], IMG[:3])
    names = np.array([made.barcodes[index] for index in (30, 8, 9)], dtype=object)
    zeros = np.zeros((3, 2))
    table = Features(zeros.astype(np.float32), names, zeros.astype(np.int64), zeros, "e", "w", "none", "fp32", "t")
    write_features(tmp_path / "features.h5", table)
    slide = read_slide(made.slide_file, {"e": tmp_path / "features.h5"}, path)
    assert list(slide.barcodes) == [made.barcodes[30], made.barcodes[9]]
    assert slide.tiles.read()[:, 0, 0, 0].tolist() == [2, 0]


def test_tiles_of_other_counts_are_refused(make_slide: Callable, tmp_path: Path) -> None:
    path = write_tiles(tmp_path / "tiles.h5", [f"x{index}" for index in range(N)])
    with pytest.raises(IntegrityError, match="not in its counts"):
        read_slide(make_slide().slide_file, tiles=path)
