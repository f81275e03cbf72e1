"""Damaged pixels: counted, named, left out, and never a white tile; too many of them fail the slide."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from stflow.errors import IntegrityError
from stflow.wsi.pyramid import write_pyramid
from stflow.wsi.slide_image import UnreadableRegion, open_slide
from stflow.wsi.tiles import Spots, cut_tiles

SIDE, STEP = 2048, 256
TEXTURE = np.clip(np.array((190, 120, 180)) + np.random.default_rng(0).normal(0, 18, (SIDE, SIDE, 1)), 0, 255)
OPTIONS = {"tile_um": 112.0, "tile_px": 224, "min_tissue": 0.15}


def damage(path: Path, level: int, *tiles: int) -> None:
    """Overwrite the middle of some of a level's own tiles with random bytes; the file's directories stay whole."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[level]
        extents = [(page.dataoffsets[tile], page.databytecounts[tile]) for tile in tiles]
    data = bytearray(path.read_bytes())
    for offset, count in extents:
        third = count // 3
        data[offset + third : offset + 2 * third] = np.random.default_rng(offset).bytes(third)
    path.write_bytes(data)


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    write_pyramid(tmp_path / "s.tif", TEXTURE.astype(np.uint8), 0.5, compression="jpeg")
    return tmp_path / "s.tif"


@pytest.fixture
def spots() -> Spots:
    """A spot in the middle of each of the level-0 tiles (8 x 8), so that a tile's number is its spot's."""
    y, x = (grid.ravel() * STEP + STEP // 2 for grid in np.mgrid[:8, :8])
    names = np.array([f"spot{number}" for number in range(64)], dtype=object)
    return Spots("S1", names, np.stack([x, y], axis=1).astype(np.float64), 0.5, 55.0)


def cut(slide: Path, spots: Spots, **changes: Any) -> h5py.File:
    cut_tiles(slide, spots, slide.with_suffix(".h5"), **{**OPTIONS, **changes})
    return h5py.File(slide.with_suffix(".h5"))


def test_damaged_tiles_are_left_out_and_named(slide: Path, spots: Spots, capsys: pytest.CaptureFixture) -> None:
    with cut(slide, spots) as tiles:
        whole = tiles["img"][:]
        assert tiles.attrs["n_unreadable"] == 0
    damage(slide, 0, 9, 40)
    with cut(slide, spots, max_unreadable=0.05) as tiles:
        names = tiles["barcode"].asstr()[:].ravel().tolist()
        assert names == [f"spot{number}" for number in range(64) if number not in (9, 40)]
        assert (tiles["img"][:] == np.delete(whole, (9, 40), axis=0)).all(), "the others are as they were"
        assert len(tiles["coords"]) == len(tiles["centres"]) == len(names) == tiles.attrs["n_expected"]
        assert tiles.attrs["n_unreadable"] == 2
        assert tiles["unreadable/barcode"].asstr()[:].tolist() == ["spot9", "spot40"]
        assert tiles["unreadable/coords"][:].tolist() == [[272, 272], [16, 1296]]
    log = capsys.readouterr().err
    assert "tile spot9 of S1 is left out" in log
    assert "at x 272, y 272" in log
    assert "2 of 64 tiles of S1 are damaged and left out" in log


def test_the_hash_is_of_the_tiles_that_are_there(slide: Path, spots: Spots) -> None:
    import hashlib

    damage(slide, 0, 0, 63)
    with cut(slide, spots, max_unreadable=0.05) as tiles:
        assert tiles.attrs["img_sha256"] == hashlib.sha256(tiles["img"][:].tobytes()).hexdigest()


def test_too_many_damaged_tiles_fail_the_slide(slide: Path, spots: Spots) -> None:
    damage(slide, 0, 9, 40)
    with pytest.raises(
        IntegrityError, match=r"slide S1: more than 1% of its 64 tiles .*spot9 at 272, 272.*max_unreadable"
    ):
        cut(slide, spots)
    assert not slide.with_suffix(".h5").exists()


def test_after_a_damaged_region_the_slide_is_read_on(slide: Path) -> None:
    damage(slide, 0, 9)
    with open_slide(slide) as image:
        before = image.region(0, 0, 1, 200, 200)
        with pytest.raises(UnreadableRegion, match=r"at x 272, y 272 .224 x 224 px"):
            image.region(272, 272, 1, 224, 224)
        assert (image.region(0, 0, 1, 200, 200) == before).all()


@pytest.mark.parametrize("levels", [(2, 3), (0, 1, 2, 3)])
def test_a_damaged_overview_is_read_from_finer_levels_or_tried_tile_by_tile(
    slide: Path, spots: Spots, levels: tuple[int, ...]
) -> None:
    """What no level shows counts as tissue, so that its tiles are tried and named, and not dropped as glass."""
    with open_slide(slide) as image:
        whole = image.overview(8.0)
    for level in levels:
        damage(slide, level, 0)
    with open_slide(slide) as image:
        seen = image.overview(8.0)
    assert seen.picture.shape == whole.picture.shape
    assert not (seen.picture == 255).all(axis=2).any()
    readable = ~seen.unread
    assert np.abs(seen.picture[readable].astype(int) - whole.picture[readable]).mean() < 6
    assert seen.unread.any() == (0 in levels)
    with cut(slide, spots, max_unreadable=0.05) as tiles:
        lost = ["spot0"] if 0 in levels else []
        assert len(tiles["img"]) == 64 - len(lost)
        assert tiles.attrs["n_unreadable"] == len(lost)


def test_damage_in_a_slide_of_lossless_tiles_is_told_too(tmp_path: Path, make_slide: Callable[..., Any]) -> None:
    made = make_slide()
    damage(made.image_path, 0, 12)
    spots = Spots.read(made.slide_file)
    cut_tiles(made.image_path, spots, tmp_path / "t.h5", **{**OPTIONS, "max_unreadable": 1.0})
    with h5py.File(tmp_path / "t.h5") as tiles:
        assert 0 < tiles.attrs["n_unreadable"] < 5
        assert not (tiles["img"][:] == 255).all(axis=(1, 2, 3)).any()
