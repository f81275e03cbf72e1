"""A batch takes the memory that there is; one that does not fit is halved, and says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from stflow.embedding.batch_size import fitting
from stflow.embedding.features import read_features
from stflow.errors import ResourceError

MIB = 1 << 20


class OutOfMemoryError(RuntimeError):
    """Called as torch's is."""


class FakeMemory:
    """A device of ``total`` bytes on which a batch takes ``constant`` and so much a tile."""

    def __init__(self, total: float, constant: float = 0, a_tile: float = MIB) -> None:
        self.total, self.constant, self.a_tile = total, constant, a_tile
        self.now, self.released = 0.0, 0

    def encode(self, size: int) -> None:
        self.now = self.constant + size * self.a_tile
        if self.now > self.total:
            raise OutOfMemoryError("CUDA out of memory")

    def free(self) -> int:
        return int(self.total)

    def peak(self, work: Callable[[], object]) -> int:
        work()
        return int(self.now)

    def release(self) -> None:
        self.released += 1


@pytest.mark.parametrize(
    ("total", "constant", "size"),
    [
        (100 * MIB, 0, 64),  # 80 fit
        (100 * MIB, 20 * MIB, 32),  # 60 fit
        (80 * MIB, 0, 64),  # just
        (79 * MIB, 0, 32),
        (10_000 * MIB, 0, 512),
        (25 * MIB, 5 * MIB, 8),
        (12 * MIB, 0, 1),  # the trial does not fit
    ],
)
def test_the_largest_power_of_two_in_four_fifths(total: float, constant: float, size: int) -> None:
    memory = FakeMemory(total, constant)
    assert fitting(memory.encode, memory) == size
    assert memory.released
    memory.encode(size)


def test_other_errors_are_not_taken_for_memory() -> None:
    def broken(size: int) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fitting(broken, FakeMemory(MIB))


@pytest.fixture
def tight(corners: Any, register: Any) -> Any:
    """An encoder that holds six tiles at most."""

    class Tight(corners):
        name: ClassVar[str] = "tight"
        most: ClassVar[int] = 6

        def encode(self, tiles: Any) -> np.ndarray:
            if len(tiles) > self.most:
                raise OutOfMemoryError("CUDA out of memory")
            return super().encode(tiles)

    return register(Tight)


def test_a_batch_that_does_not_fit_is_halved_and_told(
    bench: Any, tight: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    table = read_features(bench.embed(encoder="tight", batch_size=16))
    assert (table.batch_size, table.batch_asked) == (4, 16)
    told = [line for line in capsys.readouterr().err.splitlines() if "out of memory" in line]
    assert told == [
        "embed tight S1 (1 of 1): out of memory, starts anew with 8 tiles a batch",
        "embed tight S1 (1 of 1): out of memory, starts anew with 4 tiles a batch",
    ]
    bench.embed(encoder="corners", batch_size=4)
    np.testing.assert_array_equal(table.features, bench.features(encoder="corners").features)


def test_memory_that_runs_out_late_starts_the_slide_anew(
    bench: Any, tight: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file has one size of batch: what was encoded in larger ones is not mixed in."""
    plain, calls = tight.encode, []

    def later(self: Any, tiles: Any) -> np.ndarray:
        calls.append(len(tiles))
        if len(calls) == 3:
            raise OutOfMemoryError("CUDA out of memory")
        return plain(self, tiles)

    monkeypatch.setattr(tight, "encode", later)
    table = read_features(bench.embed(encoder="tight", batch_size=6))
    n = len(table.features)
    assert calls == [6, 6, 6, *[3] * (n // 3), *([n % 3] if n % 3 else [])]
    assert table.batch_size == 3


def test_the_next_slides_keep_to_what_fitted(three: Any, tight: Any, capsys: pytest.CaptureFixture[str]) -> None:
    three.embed("S1", "S2", "S3", encoder="tight", batch_size=16)
    assert capsys.readouterr().err.count("out of memory") == 2
    assert [three.features(slide, "tight").batch_size for slide in ("S1", "S2", "S3")] == [4, 4, 4]


def test_a_finished_slide_of_halved_batches_is_taken_for_what_was_asked(
    bench: Any, tight: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first = bench.embed(encoder="tight", batch_size=16).read_bytes()
    bench.out(encoder="tight").unlink()
    tight.sizes.clear()
    assert bench.embed(encoder="tight", batch_size=16).read_bytes() == first
    assert tight.sizes == []
    bench.embed(encoder="tight", batch_size=8)
    assert tight.sizes


def test_one_tile_that_does_not_fit_is_an_error(bench: Any, tight: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tight, "most", 0)
    with pytest.raises(ResourceError, match=r"not even one tile fits in the memory of cpu.*Use precision bf16"):
        bench.embed(encoder="tight", batch_size=2)


def test_on_a_gpu_the_size_is_found_once_a_job(three: Any, tight: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device's part is played: nothing is asked for, the memory is a made one."""
    from stflow.embedding import extract, tile_job

    trials = []

    def choose(encode: Callable[[int], object], memory: object) -> int:
        trials.append(memory)
        encode(2)
        return 4

    monkeypatch.setattr(extract, "asked", lambda model, batch_size: 0)
    monkeypatch.setattr(tile_job, "fitting", choose)
    three.embed("S1", "S2", encoder="tight", batch_size=None)
    assert len(trials) == 1
    for slide in ("S1", "S2"):
        table = three.features(slide, "tight")
        assert (table.batch_size, table.batch_asked) == (4, 0)
