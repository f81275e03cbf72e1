"""Features belong to their tiles and spots: read block by block, checked, whole or absent, never mixed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stflow.data.slide import read_slide
from stflow.encoders.classical import Classical
from stflow.encoders.extract import make_features
from stflow.encoders.features import read_features
from stflow.errors import IntegrityError
from stflow.wsi.tiles import make_tiles

MakeSlide = Callable[..., Any]


@pytest.fixture
def cut(make_slide: MakeSlide, tmp_path: Path) -> tuple[Any, Path]:
    made, tiles = make_slide(), tmp_path / "tiles.h5"
    make_tiles("hest", made.root, "D", "S1", made.slide_file, tiles, tile_um=112.0, tile_px=224, min_tissue=0.15)
    return made, tiles


def embed(made: Any, tiles: Path, out: Path, batch_size: int = 7) -> Path:
    make_features(
        tiles, made.slide_file, "classical", out, batch_size=batch_size, precision="fp32", threads=1, device="cpu"
    )
    return out


def test_features_are_the_encoders_of_the_tiles_in_order(cut: tuple[Any, Path], tmp_path: Path) -> None:
    made, tiles = cut
    table = read_features(embed(made, tiles, tmp_path / "f.h5"))
    with h5py.File(tiles) as handle:
        np.testing.assert_array_equal(table.features, Classical().encode(handle["img"][:]))
        assert table.barcodes.tolist() == handle["barcode"].asstr()[:].ravel().tolist()
        assert table.tiles_sha256 == handle.attrs["img_sha256"]
        np.testing.assert_array_equal(table.centres, handle["centres"][:])
    assert table.weights_sha256 == Classical().weights_sha256
    slide = read_slide(made.slide_file, {"classical": tmp_path / "f.h5"})
    np.testing.assert_array_equal(slide.features["classical"], table.features)
    np.testing.assert_array_equal(slide.centres_px, table.centres)


def test_block_size_changes_nothing(cut: tuple[Any, Path], tmp_path: Path) -> None:
    made, tiles = cut
    embed(made, tiles, tmp_path / "a.h5", 1)
    embed(made, tiles, tmp_path / "b.h5", 64)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_progress_has_a_rate(cut: tuple[Any, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    made, tiles = cut
    embed(made, tiles, tmp_path / "f.h5")
    assert "tiles/s" in capsys.readouterr().err


def test_patches_without_centres_have_them_in_their_middle(cut: tuple[Any, Path], tmp_path: Path) -> None:
    made, tiles = cut
    with h5py.File(tiles, "r+") as handle:
        truth = handle["centres"][:]
        del handle["centres"]
    table = read_features(embed(made, tiles, tmp_path / "f.h5"))
    assert np.abs(table.centres - truth).max() <= 1


def test_tiles_of_other_counts_are_refused(cut: tuple[Any, Path], tmp_path: Path) -> None:
    made, tiles = cut
    with h5py.File(tiles, "r+") as handle:
        handle["barcode"][2] = "elsewhere"
    with pytest.raises(IntegrityError, match=r"slide S1: 1 of .* not in its counts .first: elsewhere.*one release"):
        embed(made, tiles, tmp_path / "f.h5")


def test_tiles_of_other_places_are_refused(cut: tuple[Any, Path], tmp_path: Path) -> None:
    made, tiles = cut
    with h5py.File(tiles, "r+") as handle:
        handle["centres"][:] += 500
        handle["coords"][:] += 500
    with pytest.raises(IntegrityError, match=r"do not hold their spot .*make tiles and counts from one source"):
        embed(made, tiles, tmp_path / "f.h5")


def test_changed_tiles_are_refused(cut: tuple[Any, Path], tmp_path: Path) -> None:
    made, tiles = cut
    with h5py.File(tiles, "r+") as handle:
        handle["img"][3, 5, 5] = 0
    with pytest.raises(IntegrityError, match=r"hash is not the one recorded\. Delete it and run `tile` again"):
        embed(made, tiles, tmp_path / "f.h5")
    assert not (tmp_path / "f.h5").exists()


def test_too_few_tiles_are_refused(cut: tuple[Any, Path], tmp_path: Path) -> None:
    made, tiles = cut
    with h5py.File(tiles, "r+") as handle:
        handle.attrs["n_expected"] = 99
    with pytest.raises(IntegrityError, match="tiles, 99 were promised"):
        embed(made, tiles, tmp_path / "f.h5")


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.999])
def test_files_cut_short_are_refused(cut: tuple[Any, Path], tmp_path: Path, share: float) -> None:
    made, tiles = cut
    out = embed(made, tiles, tmp_path / "f.h5")
    for path, reading in ((out, lambda: read_features(out)), (tiles, lambda: embed(made, tiles, tmp_path / "g.h5"))):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(IntegrityError, match=rf"{path.name} is not a whole HDF5 file.*delete it and run again"):
            reading()


def test_features_that_are_not_numbers_are_refused(
    cut: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, tiles = cut
    monkeypatch.setattr(Classical, "encode", lambda self, x: np.full((len(x), self.dim), np.nan, np.float32))
    with pytest.raises(IntegrityError, match=r"features that are not numbers .*Use precision fp32"):
        embed(made, tiles, tmp_path / "f.h5")


def test_a_full_disk_leaves_nothing_and_the_next_run_works(
    cut: tuple[Any, Path], tmp_path: Path, full_disk: Callable[[str, int], str]
) -> None:
    made, tiles = cut
    out = tmp_path / "features" / "f.h5"
    code = f"""
        from pathlib import Path
        from stflow.encoders.extract import make_features
        make_features(Path({str(tiles)!r}), Path({str(made.slide_file)!r}), "classical", Path({str(out)!r}),
                      batch_size=32, precision="fp32", threads=1, device="cpu")
        """
    assert "ResourceError disk full while writing" in full_disk(code, 3_000)
    assert list(out.parent.iterdir()) == []
    read_features(embed(made, tiles, out))
