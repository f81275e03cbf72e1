"""A working file gives back what agrees with it, cuts off what does not, and never gives what was not written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stflow.embedding import blocks as module
from stflow.embedding.blocks import BlockFile, recorded_batch

N, DIM, BATCH = 10, 3, 4
FEATURES = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)
STARTS = range(0, N, BATCH)
HASHES = [hashlib.sha256(bytes([start])).digest() for start in STARTS]
IDENTITY = {"encoder": "e", "weights_sha256": "w", "precision": "fp32"}


def fill(path: Path, count: int = len(STARTS)) -> None:
    with BlockFile(path, IDENTITY, N, DIM, BATCH) as blocks:
        for sha256, start in list(zip(HASHES, STARTS, strict=True))[:count]:
            assert blocks.take(sha256) is None
            blocks.add(sha256, FEATURES[start : start + BATCH])


def taken(path: Path, hashes: list[bytes] = HASHES, identity: dict | None = None, batch: int = BATCH) -> list[int]:
    """Which blocks are given back; each must be what was written."""
    found = []
    with BlockFile(path, identity or IDENTITY, N, DIM, batch) as blocks:
        for index, sha256 in enumerate(hashes):
            features = blocks.take(sha256)
            if features is not None:
                np.testing.assert_array_equal(features, FEATURES[index * BATCH : (index + 1) * BATCH])
                found.append(index)
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_what_was_added_is_given_back(tmp_path: Path, count: int) -> None:
    fill(tmp_path / "b", count)
    assert taken(tmp_path / "b") == list(range(count))


def test_a_file_cut_anywhere_gives_its_whole_blocks_and_goes_on(tmp_path: Path) -> None:
    fill(tmp_path / "b")
    whole = (tmp_path / "b").read_bytes()
    counts = set()
    for size in range(0, len(whole), 7):
        (tmp_path / "c").write_bytes(whole[:size])
        with BlockFile(tmp_path / "c", IDENTITY, N, DIM, BATCH) as blocks:
            counts.add(blocks.recorded)
            for sha256, start in zip(HASHES, STARTS, strict=True):
                if blocks.take(sha256) is None:
                    blocks.add(sha256, FEATURES[start : start + BATCH])
        assert (tmp_path / "c").read_bytes() == whole
    assert counts == {0, 1, 2}


@pytest.mark.parametrize("place", ["tiles", "features' hash", "features"])
def test_from_a_record_that_does_not_agree_on_all_is_cut_off(tmp_path: Path, place: str) -> None:
    fill(tmp_path / "b")
    whole = bytearray((tmp_path / "b").read_bytes())
    second = whole.index(b"\n") + 1 + 64 + BATCH * DIM * 4
    whole[second + {"tiles": 0, "features' hash": 40, "features": 70}[place]] ^= 1
    (tmp_path / "b").write_bytes(whole)
    assert taken(tmp_path / "b") == [0]
    assert (tmp_path / "b").stat().st_size == second


def test_other_tiles_end_what_is_taken(tmp_path: Path) -> None:
    fill(tmp_path / "b")
    assert taken(tmp_path / "b", [HASHES[0], HASHES[2], HASHES[2]]) == [0]


@pytest.mark.parametrize("change", ["encoder", "weights_sha256", "precision", "batch"])
def test_a_file_of_other_settings_is_begun_anew(tmp_path: Path, change: str) -> None:
    fill(tmp_path / "b")
    if change == "batch":
        assert taken(tmp_path / "b", batch=5) == []
    else:
        assert taken(tmp_path / "b", identity={**IDENTITY, change: "another"}) == []
    assert taken(tmp_path / "b") == []


def test_the_recorded_batch_is_told_for_the_same_settings_alone(tmp_path: Path) -> None:
    path = tmp_path / "b"
    assert recorded_batch(path, IDENTITY) is None
    fill(path, 1)
    assert recorded_batch(path, IDENTITY) == BATCH
    assert recorded_batch(path, {**IDENTITY, "precision": "bf16"}) is None
    for broken in (b"", b"{", b"[]\n", b'{"encoder": "e"}\n', b"\xff\xfe\n"):
        path.write_bytes(broken)
        assert recorded_batch(path, IDENTITY) is None


def test_it_is_forced_to_disk_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[int] = []
    monkeypatch.setattr(module.os, "fsync", forced.append)
    fill(tmp_path / "a")
    assert forced == []
    monkeypatch.setattr(module, "SYNC_S", 0.0)
    fill(tmp_path / "b")
    assert len(forced) == len(STARTS)


def test_a_full_disk_is_told(tmp_path: Path, full_disk: Callable[[str, int], str]) -> None:
    code = f"""
        import numpy as np
        from pathlib import Path
        from stflow.embedding.blocks import BlockFile
        with BlockFile(Path({str(tmp_path / "b")!r}), {{}}, 100, 100, 10) as blocks:
            for index in range(10):
                blocks.add(bytes(32), np.zeros((10, 100), np.float32))
        """
    assert "ResourceError disk full while writing" in full_disk(code, 10_000)
