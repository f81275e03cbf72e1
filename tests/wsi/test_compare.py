"""Our cut from a slide against the patches that came with it: the same spots and places, nearly the same pixels."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stflow.cli import main
from stflow.data.counts import make_counts
from stflow.data.demo import make_slide as make_demo_slide
from stflow.errors import IntegrityError
from stflow.wsi.compare import compare_patches
from stflow.wsi.tiles import make_tiles


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tiles that are cut from the demo's pyramid, and the demo's patches, which follow hest-bench's policy."""
    root = tmp_path_factory.mktemp("demo")
    make_demo_slide("demo_hest", "DEMO2A", root, size_um=900.0)
    make_counts("hest", root, "DEMO_IDC", "DEMO2A", "P", root / "slide.h5ad")
    make_tiles("hest", root, "DEMO_IDC", "DEMO2A", root / "slide.h5ad", root / "tiles.h5",
               tile_um=112.0, tile_px=224, min_tissue=0.15)  # fmt: skip
    return root / "tiles.h5", root / "bench" / "DEMO_IDC" / "patches" / "DEMO2A.h5"


def test_our_cut_is_the_benchs(pair: tuple[Path, Path]) -> None:
    found = compare_patches(*pair)
    spots, places, pixels = found["spots"], found["places"], found["pixels"]
    assert spots["both"] > 30
    assert spots["only_ours"] + spots["only_theirs"] <= 0.03 * spots["both"], "our tissue is the demo's own"
    assert places == {"same": spots["both"], "most_px_apart": 0}
    assert found["scale"]["ours"] == found["scale"]["theirs"]
    assert pixels["correlation"] > 0.98
    assert pixels["mean_absolute_difference"] < 5  # JPEG, which the patches were cut before


def test_a_file_is_like_itself(pair: tuple[Path, Path]) -> None:
    found = compare_patches(pair[1], pair[1])
    assert found["pixels"]["identical"] == found["pixels"]["correlation"] == 1
    assert found["pixels"]["worst"] == {}


def test_every_kind_of_difference_is_told(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = tmp_path / "other.h5"
    shutil.copyfile(pair[1], other)
    with h5py.File(other, "r+") as handle:
        names = handle["barcode"].asstr()[:].ravel().tolist()
        handle["barcode"][0] = "stranger"
        handle["coords"][1] += (3, -5)
        handle["img"][2] = 255 - handle["img"][2]
        handle["coords"].attrs["pixel_size"] = 0.25
    main(["compare-patches", "--ours", str(pair[1]), "--theirs", str(other)])
    text = capsys.readouterr().out
    assert f"{len(names) - 1} in both, 1 only ours, 1 only theirs" in text
    assert f"only ours: {names[0]}" in text
    assert "only theirs: stranger" in text
    assert "theirs: 0.25 um/px" in text
    assert f"{len(names) - 2} of {len(names) - 1} the same; 5 px at most apart" in text
    assert f"most apart: {names[2]} (" in text
    main(["compare-patches", "--ours", str(pair[1]), "--theirs", str(other), "--json"])
    assert json.loads(capsys.readouterr().out) == compare_patches(pair[1], other)


def test_tiles_of_another_size_are_compared_but_for_their_pixels(
    pair: tuple[Path, Path], make_slide: Callable[..., Any], tmp_path: Path
) -> None:
    made = make_slide()
    for px in (112, 224):
        make_tiles("hest", made.root, "D", "S1", made.slide_file, tmp_path / f"{px}.h5",
                   tile_um=112.0, tile_px=px, min_tissue=0.15)  # fmt: skip
    found = compare_patches(tmp_path / "112.h5", tmp_path / "224.h5")
    assert found["pixels"] is None
    assert found["places"]["most_px_apart"] == 0
    assert compare_patches(tmp_path / "112.h5", pair[1])["places"] is None, "no spot in both"


def test_what_is_no_tiles_file_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "none.h5", "w") as handle:
        handle["img"] = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    with pytest.raises(IntegrityError, match=r"none\.h5 is not a whole tiles file: no 'coords'"):
        compare_patches(pair[1], tmp_path / "none.h5")
