"""A plain image too large to hold is streamed: the same pixels, in any order, in bounded memory."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stflow.errors import IntegrityError
from stflow.wsi.slide_image import open_slide
from stflow.wsi.tiles import Spots, cut_tiles

PICTURE = np.clip(np.array((190, 120, 180)) + np.random.default_rng(0).normal(0, 18, (1500, 900, 1)), 0, 255).astype(
    np.uint8
)


@pytest.fixture
def streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("stflow.wsi.plain_image._HELD_BYTES", 1000)
    Image.fromarray(PICTURE).save(tmp_path / "s.png")
    return tmp_path / "s.png"


def test_regions_in_any_order_are_the_pixels(streamed: Path) -> None:
    rng = np.random.default_rng(0)
    with open_slide(streamed) as image:
        assert image.size == (900, 1500)
        for x, y in rng.integers(-100, (900, 1500), (40, 2)).tolist():
            width, height = rng.integers(1, 700, 2).tolist()
            expected = np.full((height, width, 3), 255, dtype=np.uint8)
            inside = PICTURE[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
            top, left = max(0, -y), max(0, -x)
            expected[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
            assert (image.region(x, y, 1, width, height) == expected).all(), (x, y, width, height)


def test_a_streamed_image_gives_the_same_tiles_as_a_held_one(streamed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    centres = np.random.default_rng(1).uniform(60, 840, (50, 2)) * (1, 1.6)
    spots = Spots("S", np.array([f"s{i}" for i in range(50)], dtype=object), centres, 0.5, 55.0)
    found = []
    for held in (1000, 1 << 30):
        monkeypatch.setattr("stflow.wsi.plain_image._HELD_BYTES", held)
        out = streamed.with_name(f"{held}.h5")
        cut_tiles(streamed, spots, out, tile_um=55.0, tile_px=224, min_tissue=0.15)
        import h5py

        with h5py.File(out) as tiles:
            found.append(tiles.attrs["img_sha256"])
    assert found[0] == found[1]


def test_a_streamed_image_that_is_cut_short_is_refused(streamed: Path) -> None:
    whole = streamed.read_bytes()
    streamed.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError, match="it is damaged"), open_slide(streamed) as image:
        image.overview(8.0)
