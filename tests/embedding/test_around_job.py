"""Features of the patches around tiles: those of the pictures that lie there, NaN where there is nothing to see."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stflow.cli import main
from stflow.embedding.features import read_features
from stflow.encoders.around import CENTRE, N_CELLS, corners_around
from stflow.errors import ConfigError, IntegrityError
from stflow.wsi.slide_image import SlideImage, UnreadableRegion, open_slide

NAME = "corners+around"


@pytest.fixture
def image(bench: Any) -> Path:
    return bench.results.parent / "wsis" / "S1.tif"


@pytest.fixture
def cells(bench: Any, image: Path, corners: Any) -> np.ndarray:
    """(N, 25, D) features of the made slide."""
    table = read_features(bench.embed(encoder=NAME, images=[image]))
    return table.features.reshape(len(table.features), N_CELLS, -1)


def test_the_middle_patch_is_the_tile(bench: Any, cells: np.ndarray, corners: Any) -> None:
    with h5py.File(bench.tiles()) as handle:
        np.testing.assert_array_equal(cells[:, CENTRE], corners().encode(handle["img"][:]))


def test_every_patch_is_what_the_image_shows_there(bench: Any, cells: np.ndarray, corners: Any, image: Path) -> None:
    with h5py.File(bench.tiles()) as handle:
        places = corners_around(handle["coords"][:], 224)
    present = np.isfinite(cells).all(axis=-1)
    assert 0.2 < present.mean() < 0.9
    with open_slide(image) as picture:
        for spot, cell in np.argwhere(present)[::17]:
            tile = picture.tile(*places[spot, cell].tolist(), 224, 224)
            np.testing.assert_array_equal(cells[spot, cell], corners().encode(tile[None])[0])


def test_patches_off_the_slide_or_the_tissue_are_nan_and_counted(bench: Any, cells: np.ndarray) -> None:
    absent = np.isnan(cells).any(axis=-1)
    np.testing.assert_array_equal(absent, np.isnan(cells).all(axis=-1))
    assert not absent[:, CENTRE].any()
    with h5py.File(bench.tiles()) as handle:
        places = corners_around(handle["coords"][:], 224)
    off_slide = ((places + 224 <= 0) | (places >= 1200)).any(axis=-1)
    assert off_slide.any()
    assert absent[off_slide].all()
    # The tissue is a disc of radius 400 px around (600, 600): far from it there is glass.
    on_glass = np.hypot(*(places + 112 - 600).transpose(2, 0, 1)) > 400 + 160
    assert (on_glass & ~off_slide).any()
    assert absent[on_glass].all()
    inside = np.hypot(*(places + 112 - 600).transpose(2, 0, 1)) < 200
    assert not absent[inside].any()
    with h5py.File(bench.out(encoder=NAME)) as handle:
        assert handle.attrs["n_absent"] == absent.sum()


def test_a_file_with_other_absent_patches_than_promised_is_refused(bench: Any, cells: np.ndarray) -> None:
    path = bench.out(encoder=NAME)
    copy = path.with_name("copy.h5")
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as handle:
        handle.attrs["n_absent"] += 1
    with pytest.raises(IntegrityError, match="patches have no features"):
        read_features(copy)


def test_batches_change_no_bit_and_what_is_there_is_taken_over(
    bench: Any, image: Path, cells: np.ndarray, corners: Any
) -> None:
    whole = cells.copy()
    n_patches = sum(corners.sizes)
    assert n_patches <= np.isfinite(whole).all(axis=-1).sum()  # shared patches once
    corners.sizes.clear()
    bench.embed(encoder=NAME, images=[image])
    assert corners.sizes == []
    bench.kept(encoder=NAME).unlink()
    again = read_features(bench.embed(encoder=NAME, images=[image], batch_size=64)).features
    np.testing.assert_array_equal(again, whole.reshape(again.shape))


def test_a_killed_slide_goes_on_where_it_was(
    bench: Any, image: Path, corners: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = corners.encode, []

    def stops(self: Any, tiles: Any) -> np.ndarray:
        calls.append(len(tiles))
        if len(calls) == 9:
            raise KeyboardInterrupt
        return plain(self, tiles)

    with monkeypatch.context() as patch:
        patch.setattr(corners, "encode", stops)
        with pytest.raises(KeyboardInterrupt):
            bench.embed(encoder=NAME, images=[image])
    corners.sizes.clear()
    resumed = bench.embed(encoder=NAME, images=[image]).read_bytes()
    done = sum(corners.sizes)
    bench.kept(encoder=NAME).unlink()
    corners.sizes.clear()
    assert bench.embed(encoder=NAME, images=[image]).read_bytes() == resumed
    assert done == sum(corners.sizes) - 8 * 7


def test_other_tissue_is_another_slide(bench: Any, image: Path, cells: np.ndarray) -> None:
    """A stricter share of tissue leaves the tiles' hash as it is, but not the patches."""
    with h5py.File(bench.tiles(), "r+") as handle:
        handle.attrs["min_tissue"] = 0.9
    stricter = read_features(bench.embed(encoder=NAME, images=[image])).features.reshape(cells.shape)
    assert np.isnan(stricter).sum() > np.isnan(cells).sum()


def test_a_damaged_patch_is_absent_and_told(
    bench: Any, image: Path, cells: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    present = np.isfinite(cells).all(axis=-1)
    spot, cell = np.argwhere(present & (np.arange(N_CELLS) != CENTRE))[0]
    with h5py.File(bench.tiles()) as handle:
        broken = tuple(corners_around(handle["coords"][:], 224)[spot, cell].tolist())
    plain = SlideImage.tile

    def tile(self: SlideImage, x: int, y: int, size_px: int, tile_px: int) -> np.ndarray:
        if (x, y) == broken:
            raise UnreadableRegion("torn")
        return plain(self, x, y, size_px, tile_px)

    monkeypatch.setattr(SlideImage, "tile", tile)
    bench.kept(encoder=NAME).unlink()
    found = read_features(bench.embed(encoder=NAME, images=[image])).features.reshape(cells.shape)
    assert np.isnan(found[spot, cell]).all()
    assert "1 of" in (told := capsys.readouterr().err)
    assert "damaged and left out" in told


def test_out_of_memory_halves_the_batch(
    bench: Any, image: Path, cells: np.ndarray, corners: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = corners.encode

    def encode(self: Any, tiles: Any) -> np.ndarray:
        if len(tiles) > 4:
            raise MemoryError
        return plain(self, tiles)

    monkeypatch.setattr(corners, "encode", encode)
    bench.kept(encoder=NAME).unlink()
    table = read_features(bench.embed(encoder=NAME, images=[image], batch_size=16))
    assert table.batch_size == 4
    np.testing.assert_array_equal(table.features, cells.reshape(table.features.shape))


def test_what_is_not_a_number_is_refused(
    bench: Any, image: Path, corners: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = corners.encode

    def encode(self: Any, tiles: Any) -> np.ndarray:
        made = plain(self, tiles)
        made[:, 0] = np.inf
        return made

    monkeypatch.setattr(corners, "encode", encode)
    with pytest.raises(IntegrityError, match="features that are not numbers"):
        bench.embed(encoder=NAME, images=[image])


def test_an_image_a_slide_is_asked_for(bench: Any, corners: Any) -> None:
    with pytest.raises(ConfigError, match=re.escape("0 are given for 1 slides")):
        bench.embed(encoder=NAME)


def test_tiles_that_came_without_an_image_are_refused(bench: Any, image: Path, corners: Any) -> None:
    with h5py.File(bench.tiles(), "r+") as handle:
        del handle.attrs["image_sha256"], handle["mask"]
    with pytest.raises(IntegrityError, match="lacks image_sha256, mask"):
        bench.embed(encoder=NAME, images=[image])


def test_the_command_takes_an_image_a_slide(bench: Any, image: Path, cells: np.ndarray) -> None:
    bench.kept(encoder=NAME).unlink()
    words = ["--results", bench.results, "--benchmark", "B", "--slide", "S1", "--encoder", NAME, "--image", image]
    main(["embed", *map(str, words), "--device", "cpu"])
    np.testing.assert_array_equal(bench.features(encoder=NAME).features, cells.reshape(len(cells), -1))
