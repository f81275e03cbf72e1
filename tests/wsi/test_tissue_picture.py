"""The picture of a slide's tissue shows what was taken for tissue, and needs a file that says so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from stflow.errors import DataError
from stflow.wsi.tiles import make_tiles
from stflow.wsi.tissue_picture import make_tissue_picture


def test_tissue_is_bright_glass_dark_and_spots_are_marked(make_slide: Callable[..., Any], tmp_path: Path) -> None:
    made = make_slide()
    make_tiles("hest", made.root, "D", "S1", made.slide_file, tmp_path / "t.h5",
               tile_um=112.0, tile_px=224, min_tissue=0.15)  # fmt: skip
    make_tissue_picture(tmp_path / "t.h5", tmp_path / "t.png")
    picture = np.asarray(Image.open(tmp_path / "t.png"))
    with h5py.File(tmp_path / "t.h5") as tiles:
        thumbnail, mask = tiles["thumbnail"][:], tiles["mask"][:].astype(bool)
        assert mask.shape[1] * tiles["mask"].attrs["downsample"] == pytest.approx(made.image.shape[1], rel=0.05)
        x, y = (tiles["centres"][0] / tiles["thumbnail"].attrs["downsample"]).astype(int)
    assert 0.2 < mask.mean() < 0.5
    assert picture.shape == thumbnail.shape
    assert picture[3, 3].mean() < 0.6 * thumbnail[3, 3].mean()
    assert tuple(picture[y, x]) == (20, 60, 220)
    assert ((picture == thumbnail).all(axis=2)).mean() > 0.2


def test_ready_patches_have_none(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as handle:
        handle["img"] = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    with pytest.raises(DataError, match="no tissue mask: its patches were cut elsewhere"):
        make_tissue_picture(tmp_path / "t.h5", tmp_path / "t.png")
    assert not (tmp_path / "t.png").exists()
