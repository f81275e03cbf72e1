"""Features belong to their tiles and spots: read block by block, checked, whole or absent, never mixed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest

from stflow.data.slide import read_slide
from stflow.embedding import batches, extract, tile_job
from stflow.embedding.features import read_features
from stflow.encoders.base import Encoder
from stflow.encoders.classical import Classical
from stflow.errors import DataError, IntegrityError, ResourceError, WeightsError

Register = Callable[[type[Encoder]], type[Encoder]]


def test_features_are_the_encoders_of_the_tiles_in_order(bench: Any) -> None:
    table = read_features(bench.embed())
    with h5py.File(bench.tiles()) as handle:
        np.testing.assert_array_equal(table.features, Classical().encode(handle["img"][:]))
        assert table.barcodes.tolist() == handle["barcode"].asstr()[:].ravel().tolist()
        assert table.tiles_sha256 == handle.attrs["img_sha256"]
        np.testing.assert_array_equal(table.centres, handle["centres"][:])
    assert table.weights_sha256 == Classical().weights_sha256
    slide = read_slide(bench.slide_file(), {"classical": bench.out()})
    np.testing.assert_array_equal(slide.features["classical"], table.features)
    np.testing.assert_array_equal(slide.centres_px, table.centres)


def test_the_file_says_how_it_was_made(bench: Any) -> None:
    table = read_features(bench.embed(encoder="classical+dihedral", batch_size=5, code="abc"))
    assert (table.encoder, table.code, table.precision) == ("classical+dihedral", "abc", "fp32")
    assert (table.batch_size, table.batch_asked) == (5, 5)
    assert "8 symmetries" in table.transform


def test_block_size_changes_no_feature(bench: Any) -> None:
    """Of an encoder of single tiles; the file differs in the size that it records."""
    one = read_features(bench.embed(batch_size=1)).features
    many = read_features(bench.embed(batch_size=64)).features
    np.testing.assert_array_equal(one, many)


def test_the_same_settings_give_the_same_bytes(three: Any) -> None:
    first = [three.embed("S1", "S2", "S3").read_bytes(), three.out("S2").read_bytes()]
    for slide in ("S1", "S2", "S3"):
        three.kept(slide).unlink()
    assert [three.embed("S1", batch_size=7).read_bytes(), three.embed("S2").read_bytes()] == first


def test_the_cpus_batch_is_the_encoders_own_constant(bench: Any, corners: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    explicit = bench.embed(encoder="corners", batch_size=64).read_bytes()
    bench.kept(encoder="corners").unlink()
    assert bench.embed(encoder="corners", batch_size=None).read_bytes() == explicit
    monkeypatch.setattr(corners, "cpu_batch", 4, raising=False)
    assert read_features(bench.embed(encoder="corners", batch_size=None)).batch_size == 4
    assert read_features(bench.embed(encoder="corners+reinhard+dihedral", batch_size=None)).batch_size == 4


def test_weights_are_loaded_once_for_all_slides(three: Any, register: Register) -> None:
    made = []

    class Heavy(Classical):
        name: ClassVar[str] = "heavy"

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

    register(Heavy)
    three.embed("S1", "S2", "S3", encoder="heavy")
    assert len(made) == 1
    assert all(three.out(slide, "heavy").is_file() for slide in ("S1", "S2", "S3"))


def test_missing_weights_are_named_before_anything_is_done(bench: Any, register: Register) -> None:
    class Closed(Classical):
        name: ClassVar[str] = "closed"
        weights_sha256 = Encoder.weights_sha256

    register(Closed)
    with pytest.raises(WeightsError, match=r"encoder closed: its weights are missing: no file was given"):
        bench.embed(encoder="closed")
    assert not bench.out(encoder="closed").parent.exists()


def test_one_bad_slide_does_not_stop_the_others(three: Any) -> None:
    with h5py.File(three.tiles("S2"), "r+") as handle:
        handle["img"][3, 5, 5] = 0
    with pytest.raises(IntegrityError, match=r"S2\.h5: the tiles' hash"):
        three.embed("S1", "S2", "S3")
    assert three.out("S1").is_file()
    assert not three.out("S2").exists()
    assert three.out("S3").is_file()


def test_all_bad_slides_are_named_together(three: Any) -> None:
    for slide in ("S1", "S3"):
        with h5py.File(three.tiles(slide), "r+") as handle:
            handle["img"][3, 5, 5] = 0
    with pytest.raises(DataError, match=r"(?s)2 of 3 slides have no features from classical:.*S1\.h5.*S3\.h5"):
        three.embed("S1", "S2", "S3")
    assert three.out("S2").is_file()


def test_progress_has_a_rate_and_a_place(three: Any, capsys: pytest.CaptureFixture) -> None:
    three.embed("S1", "S2", "S3")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"embed classical S2 \(2 of 3\): (\d+) of \1 tiles, [\d,.]+ tiles/s", lines[1])


def test_patches_without_centres_have_them_in_their_middle(bench: Any) -> None:
    with h5py.File(bench.tiles(), "r+") as handle:
        truth = handle["centres"][:]
        del handle["centres"]
    assert np.abs(read_features(bench.embed()).centres - truth).max() <= 1


def test_tiles_of_other_counts_are_refused(bench: Any) -> None:
    with h5py.File(bench.tiles(), "r+") as handle:
        handle["barcode"][2] = "elsewhere"
    with pytest.raises(IntegrityError, match=r"slide S1: 1 of .* not in its counts .first: elsewhere.*one release"):
        bench.embed()


def test_tiles_of_other_places_are_refused(bench: Any) -> None:
    with h5py.File(bench.tiles(), "r+") as handle:
        handle["centres"][:] += 500
        handle["coords"][:] += 500
    with pytest.raises(IntegrityError, match=r"do not hold their spot .*make tiles and counts from one source"):
        bench.embed()


def test_changed_tiles_are_refused(bench: Any) -> None:
    with h5py.File(bench.tiles(), "r+") as handle:
        handle["img"][3, 5, 5] = 0
    with pytest.raises(IntegrityError, match=r"hash is not the one recorded\. Delete it and run `tile` again"):
        bench.embed()
    assert not bench.out().exists()
    assert not bench.kept().exists()


def test_too_few_tiles_are_refused(bench: Any) -> None:
    with h5py.File(bench.tiles(), "r+") as handle:
        handle.attrs["n_expected"] = 99
    with pytest.raises(IntegrityError, match="tiles, 99 were promised"):
        bench.embed()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.999])
def test_files_cut_short_are_refused(bench: Any, share: float) -> None:
    out = bench.embed()
    for path, reading in ((out, lambda: read_features(out)), (bench.tiles(), bench.embed)):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(IntegrityError, match=rf"{path.name} is not a whole HDF5 file.*delete it and run again"):
            reading()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_block_is_told_from_reading_threads_and_processes(
    bench: Any, corners: Any, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles that are packed fail only when they are read; the damaged one is not in the sample."""
    monkeypatch.setattr(tile_job, "FIT_TILES", 2)
    monkeypatch.setattr(corners, "uses_torch", bool(workers))
    with h5py.File(bench.tiles(), "r+") as handle:
        images, attrs = handle["img"][:], dict(handle["img"].attrs)
        del handle["img"]
        packed = handle.create_dataset("img", data=images, chunks=(1, 224, 224, 3), compression="gzip")
        packed.attrs.update(attrs)
        place = packed.id.get_chunk_info(len(images) - 2).byte_offset
    with bench.tiles().open("r+b") as file:
        file.seek(place)
        file.write(bytes(64))
    with pytest.raises(IntegrityError, match=r"S1\.h5 is cut short .*run `tile` again"):
        bench.embed(encoder="corners", batch_size=4, workers=workers)


def test_features_that_are_not_numbers_are_refused(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Classical, "encode", lambda self, x: np.full((len(x), self.dim), np.nan, np.float32))
        with pytest.raises(IntegrityError, match=r"features that are not numbers .*Use precision fp32"):
            bench.embed()
    assert list(bench.kept().parent.iterdir()) == []
    assert np.isfinite(read_features(bench.embed()).features).all()


def test_a_full_disk_leaves_no_features_and_the_next_run_works(
    bench: Any, full_disk: Callable[[str, int], str]
) -> None:
    code = f"""
        from pathlib import Path
        from stflow.embedding.extract import make_features
        make_features(Path({str(bench.results)!r}), "B", ["S1"], "classical", weights=None, code="c0de",
                      batch_size=7, precision="fp32", threads=1, workers=0, device="cpu")
        """
    assert "ResourceError disk full while writing" in full_disk(code, 8_000)
    out = bench.out()
    assert [path.name for path in out.parent.iterdir()] == [".kept"]
    assert [path.name for path in bench.kept().parent.iterdir()] == ["S1.blocks"]
    bench.embed()
    assert sorted(path.name for path in out.parent.iterdir()) == [".kept", "S1.h5"]


@pytest.mark.parametrize("encoder", ["corners", "corners+reinhard"])
def test_worker_processes_change_nothing(
    bench: Any, corners: Any, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corners, "uses_torch", True)
    alone = bench.embed(encoder=encoder, batch_size=4).read_bytes()
    bench.kept(encoder=encoder).unlink()
    assert bench.embed(encoder=encoder, batch_size=4, workers=2).read_bytes() == alone


def test_on_a_gpu_every_batch_has_one_shape_and_the_filling_is_left_out(
    bench: Any, corners: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU's part is played: tiles come as tensors, in memory that is not pinned."""
    import torch

    plain = read_features(bench.embed(encoder="corners+dihedral", batch_size=8)).features
    bench.kept(encoder="corners+dihedral").unlink()
    corners.sizes.clear()
    kinds = set()
    encode = corners.encode
    monkeypatch.setattr(corners, "encode", lambda self, tiles: kinds.add(type(tiles)) or encode(self, tiles))
    monkeypatch.setattr(extract, "on_gpu", lambda model: True)
    monkeypatch.setattr(tile_job, "CudaMemory", tile_job.HostMemory)
    monkeypatch.setattr(
        batches, "pinned_like", lambda tiles, size: torch.empty((size, *tiles.shape[1:]), dtype=torch.uint8)
    )
    table = read_features(bench.embed(encoder="corners+dihedral", batch_size=8))
    assert set(corners.sizes) == {8}
    assert kinds == {torch.Tensor}
    np.testing.assert_array_equal(table.features, plain)


def test_a_batch_is_filled_up_with_its_last_tile() -> None:
    import torch

    tiles = np.arange(6, dtype=np.uint8).reshape(3, 2)
    out = batches.filled_up(torch.zeros((5, 2), dtype=torch.uint8), tiles)
    assert out.tolist() == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]]
    assert batches.filled_up(torch.zeros((3, 2), dtype=torch.uint8), tiles).tolist() == tiles.tolist()


def test_an_encoder_that_gives_one_row_for_many_tiles_is_found_out(
    bench: Any, corners: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corners, "encode", lambda self, tiles: np.ones((1, self.dim), np.float32))
    with pytest.raises(ValueError, match=r"encoder corners: features are \(1, 10\), not \(7, 10\)"):
        bench.embed(encoder="corners")


@pytest.mark.parametrize("workers", [0, 2])
def test_what_an_encoder_has_against_the_tiles_is_told_in_its_words(
    bench: Any, corners: Any, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, tiles: np.ndarray) -> np.ndarray:
        raise DataError("corners takes other tiles.")

    monkeypatch.setattr(corners, "uses_torch", bool(workers))
    monkeypatch.setattr(corners, "prepare", refuse)
    with pytest.raises(DataError, match=r"^corners takes other tiles\.$"):
        bench.embed(encoder="corners", workers=workers)


def test_a_worker_that_dies_is_told_with_what_to_do(bench: Any, corners: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = os.getpid()

    def die(self: Any, tiles: np.ndarray) -> np.ndarray:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return tiles

    monkeypatch.setattr(corners, "uses_torch", True)
    monkeypatch.setattr(corners, "prepare", die)
    with pytest.raises(ResourceError, match=r"a process that reads .*S1\.h5 died .*--workers 0"):
        bench.embed(encoder="corners", workers=1)


def test_without_torch_nothing_of_it_is_loaded(bench: Any) -> None:
    code = f"""
import sys
from pathlib import Path
from stflow.embedding.extract import make_features
make_features(Path({str(bench.results)!r}), "B", ["S1"], "classical+reinhard+dihedral", weights=None, code="",
              batch_size=None, precision="fp32", threads=1, workers=2, device="auto")
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_efficientnet_goes_the_same_way(bench: Any) -> None:
    from stflow.encoders.efficientnet_lite0 import EfficientNetLite0

    table = read_features(bench.embed(encoder="efficientnet_lite0", batch_size=8, workers=1))
    assert table.machine.startswith("cpu, 1 thread(s), torch ")
    with h5py.File(bench.tiles()) as handle:
        np.testing.assert_array_equal(table.features[:8], EfficientNetLite0().encode(handle["img"][:8]))


def test_the_command_line_makes_features_of_several_slides(three: Any, tmp_path: Path) -> None:
    from stflow.cli import main

    (tmp_path / "embed.sha256").write_text("f00d\n")
    main(
        ["embed", "--results", str(three.results), "--benchmark", "B", "--slide", "S1", "--slide", "S3", "--encoder",
         "classical", "--code-stamp", str(tmp_path / "embed.sha256"), "--device", "cpu"]
    )  # fmt: skip
    assert three.features("S3").code == "f00d"
    assert not three.out("S2").exists()


def test_two_processes_at_once_give_the_bytes_of_one(three: Any) -> None:
    """As jobs on two devices do, which share the slides of a benchmark among them."""
    three.embed("S1", "S2", "S3", encoder="efficientnet_lite0", batch_size=8, code="")
    alone = {slide: three.out(slide, "efficientnet_lite0").read_bytes() for slide in ("S1", "S2", "S3")}
    shutil.rmtree(three.out("S1", "efficientnet_lite0").parent)
    command = [sys.executable, "-c", "from stflow.cli import main; main()", "embed", "--benchmark", "B"]
    command += [
        "--results",
        str(three.results),
        "--encoder",
        "efficientnet_lite0",
        "--batch-size",
        "8",
        "--device",
        "cpu",
    ]
    jobs = [
        subprocess.Popen([*command, *(word for slide in slides for word in ("--slide", slide))])
        for slides in (("S3",), ("S2", "S1"))
    ]
    assert [job.wait() for job in jobs] == [0, 0]
    assert {slide: three.out(slide, "efficientnet_lite0").read_bytes() for slide in alone} == alone
