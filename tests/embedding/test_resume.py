"""What an earlier run has done is taken where it agrees, to the same bytes, and nowhere else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from stflow.embedding import extract as extract_module
from stflow.embedding import kept as kept_module
from stflow.embedding.features import read_features
from stflow.errors import IntegrityError


class Interrupted(Exception):
    """Stands for anything that ends a job early."""


@pytest.fixture
def stop_after(corners: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """``with stop_after(3):`` the encoder is interrupted in its fourth batch."""
    plain = corners.encode

    def context(batches: int) -> Any:
        def encode(self: Any, tiles: Any) -> np.ndarray:
            if len(corners.sizes) == batches:
                raise Interrupted
            return plain(self, tiles)

        corners.sizes.clear()
        patch = pytest.MonkeyPatch.context()

        class Stopping:
            def __enter__(self) -> None:
                patch.__enter__().setattr(corners, "encode", encode)

            def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
                patch.__exit__(None, None, None)
                corners.sizes.clear()
                return isinstance(error, Interrupted)

        return Stopping()

    return context


ENCODER = {"encoder": "corners", "batch_size": 4}


def test_a_finished_slide_is_linked_back_without_encoding(
    three: Any, corners: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The workflow deletes all outputs of a job that failed in its third slide."""
    whole = three.embed("S1", "S2", **ENCODER).read_bytes()
    for slide in ("S1", "S2"):
        assert three.out(slide, "corners").samefile(three.kept(slide, "corners"))
        three.out(slide, "corners").unlink()
    corners.sizes.clear()
    capsys.readouterr()
    assert three.embed("S1", "S2", **ENCODER).read_bytes() == whole
    assert corners.sizes == []
    assert "embed corners S1 (1 of 2): 21 tiles from an earlier run" in capsys.readouterr().err
    assert three.out("S2", "corners").samefile(three.kept("S2", "corners"))


def test_what_is_linked_back_is_newer_than_its_tiles(bench: Any, corners: Any) -> None:
    out = bench.embed(**ENCODER)
    os.utime(out, (1, 1))
    out.unlink()
    bench.embed(**ENCODER)
    assert out.stat().st_mtime >= bench.tiles().stat().st_mtime


def test_a_disk_without_links_keeps_a_copy(bench: Any, corners: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(kept_module.os, "link", refuse)
    out = bench.embed(**ENCODER)
    assert not out.samefile(bench.kept(encoder="corners"))
    whole = out.read_bytes()
    out.unlink()
    corners.sizes.clear()
    assert bench.embed(**ENCODER).read_bytes() == whole
    assert corners.sizes == []
    assert [path.name for path in out.parent.iterdir() if path.is_file()] == ["S1.h5"]


@pytest.mark.parametrize("change", ["weights", "transform", "precision", "batch", "code", "dim", "machine"])
@pytest.mark.parametrize("finished", [True, False])
def test_work_of_other_settings_is_not_taken(
    bench: Any, corners: Any, stop_after: Any, change: str, finished: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if finished:
        bench.embed(**ENCODER)
        bench.out(encoder="corners").unlink()
    else:
        with stop_after(3):
            bench.embed(**ENCODER)
        assert bench.kept(encoder="corners", suffix="blocks").is_file()
    options: dict[str, Any] = dict(ENCODER)
    if change == "weights":
        monkeypatch.setattr(corners, "weights_sha256", "2" * 64)
    elif change == "transform":
        monkeypatch.setattr(corners, "transform", "another")
    elif change == "machine":
        monkeypatch.setattr(extract_module, "machine", lambda model, threads: f"another, {threads} threads")
    elif change == "dim":  # what the code's hash, or the weights', would tell as well
        monkeypatch.setattr(corners, "dim", 11)
        options["code"] = "another"
    else:
        options |= {"precision": {"precision": "bf16"}, "batch": {"batch_size": 5}, "code": {"code": "another"}}[change]
    corners.sizes.clear()
    taken = bench.embed(**options).read_bytes()
    assert sum(corners.sizes) == 21
    shutil.rmtree(bench.out(encoder="corners").parent)
    assert bench.embed(**options).read_bytes() == taken


@pytest.mark.parametrize("what", ["tiles", "barcodes", "centres"])
def test_work_of_other_tiles_is_not_taken(bench: Any, corners: Any, what: str) -> None:
    before = read_features(bench.embed(**ENCODER))
    corners.sizes.clear()
    with h5py.File(bench.tiles(), "r+") as handle:
        if what == "tiles":
            handle["img"][2, 0, 0] = 255 - handle["img"][2, 0, 0]
            del handle.attrs["img_sha256"]
        elif what == "barcodes":
            names = handle["barcode"][:]
            handle["barcode"][:2] = names[1::-1]
            handle["coords"][:2] = handle["coords"][:][1::-1]
            handle["centres"][:2] = handle["centres"][:][1::-1]
        else:
            handle["centres"][3] += 1
    after = read_features(bench.embed(**ENCODER))
    assert sum(corners.sizes) == 21
    for name, field in (("tiles", "features"), ("barcodes", "barcodes"), ("centres", "centres")):
        same = np.array_equal(getattr(before, field), getattr(after, field))
        assert same == (what != name and (what, name) != ("barcodes", "centres"))


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_broken_kept_file_is_dropped_and_told(
    bench: Any, corners: Any, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = bench.embed(**ENCODER).read_bytes()
    kept = bench.kept(encoder="corners")
    if damage == "cut":
        kept.write_bytes(whole[:-100])
    else:
        with h5py.File(kept, "r+") as handle:
            handle["features"][4, 4] += 1
    with pytest.raises(IntegrityError):
        read_features(bench.out(encoder="corners"))
    assert bench.embed(**ENCODER).read_bytes() == whole
    assert "are not used: it is broken" in capsys.readouterr().err


@pytest.mark.parametrize("batches", [1, 3, 5])
def test_blocks_of_an_interrupted_slide_are_taken(
    bench: Any, corners: Any, stop_after: Any, batches: int, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = bench.embed(**ENCODER).read_bytes()
    shutil.rmtree(bench.out(encoder="corners").parent)
    with stop_after(batches):
        bench.embed(**ENCODER)
    assert not bench.out(encoder="corners").exists()
    capsys.readouterr()
    assert bench.embed(**ENCODER).read_bytes() == whole
    assert sum(corners.sizes) == 21 - 4 * batches
    assert f"21 of 21 tiles ({4 * batches} from an earlier run), " in capsys.readouterr().err
    assert [path.name for path in bench.kept(encoder="corners").parent.iterdir()] == ["S1.h5"]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("encoder", ["corners", "corners+reinhard"])
def test_tiles_that_changed_meanwhile_are_encoded_anew_from_there_on(
    bench: Any, corners: Any, stop_after: Any, encoder: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In block 1 of 3 recorded ones: what seemed recorded was not prepared ahead, and is made up for."""
    monkeypatch.setattr(corners, "uses_torch", bool(workers))
    options = {"encoder": encoder, "batch_size": 4, "workers": workers}
    with stop_after(3):
        bench.embed(**options)
    with h5py.File(bench.tiles(), "r+") as handle:
        handle["img"][5, 100, 100] = 255 - handle["img"][5, 100, 100]
        del handle.attrs["img_sha256"]
    resumed = bench.embed(**options).read_bytes()
    assert sum(corners.sizes) == 21 - 4
    shutil.rmtree(bench.out(encoder=encoder).parent)
    assert bench.embed(**options).read_bytes() == resumed


def test_a_kill_between_keeping_and_placing_costs_nothing(
    bench: Any, corners: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Any) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(kept_module.Kept, "place", stop)
        with pytest.raises(Interrupted):
            bench.embed(**ENCODER)
    assert not bench.out(encoder="corners").exists()
    assert bench.kept(encoder="corners", suffix="blocks").exists()
    corners.sizes.clear()
    bench.embed(**ENCODER)
    assert corners.sizes == []
    assert [path.name for path in bench.kept(encoder="corners").parent.iterdir()] == ["S1.h5"]
