"""A checkpoint is believed only if it is whole and of this training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stflow.training.checkpoint import (
    generator_states,
    load_checkpoint,
    restore_generators,
    save_checkpoint,
)

TENSORS = {"values": torch.arange(1000.0), "best": torch.ones(3)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "checkpoint.safetensors"
    save_checkpoint(target, "this", TENSORS, {"epoch": 4, "history": [{"loss": 0.1}]})
    return target


def test_round_trip(path: Path) -> None:
    found = load_checkpoint(path, "this")
    assert found is not None
    tensors, state = found
    assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())
    assert state == {"epoch": 4, "history": [{"loss": 0.1}]}


def test_absent_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_checkpoint(tmp_path / "none", "this") is None
    assert not capsys.readouterr().err


def test_of_another_training_is_dropped(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_checkpoint(path, "other") is None
    assert "of other settings, data, seed or code" in capsys.readouterr().err
    assert not path.exists()


def test_cut_short_is_dropped(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    assert load_checkpoint(path, "this") is None
    assert "cannot be read" in capsys.readouterr().err
    assert not path.exists()


def test_altered_is_dropped(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    assert load_checkpoint(path, "this") is None
    assert "do not match their hash" in capsys.readouterr().err


def test_a_pickle_is_dropped_unopened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "checkpoint.safetensors"
    torch.save({"values": torch.ones(2)}, path)
    assert load_checkpoint(path, "this") is None
    assert "cannot be read" in capsys.readouterr().err


def test_generators_go_on_where_they_were() -> None:
    generator = torch.Generator().manual_seed(1)
    torch.rand(3, generator=generator)
    states = generator_states({"g": generator})
    expected = torch.rand(5, generator=generator)
    other = torch.Generator().manual_seed(2)
    restore_generators({"g": other}, states)
    assert torch.equal(torch.rand(5, generator=other), expected)


def test_a_full_disk_leaves_the_last_checkpoint(path: Path, full_disk: Callable[[str, int], str]) -> None:
    before = path.read_bytes()
    said = full_disk(
        f"""
        import torch
        from pathlib import Path
        from stflow.training.checkpoint import save_checkpoint
        save_checkpoint(Path({str(path)!r}), "this", {{"values": torch.zeros(100_000)}}, {{}})
        """,
        50_000,
    )
    assert said.startswith("ResourceError disk full while writing")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
