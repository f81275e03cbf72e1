"""Weights files are read without running them, and loaded whole or not at all."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import types
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stflow.encoders.weights import load_strict, read_state
from stflow.errors import WeightsError

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2), "n": torch.tensor(3)}


def same(read: dict[str, torch.Tensor]) -> bool:
    return read.keys() == STATE.keys() and all(torch.equal(read[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_is_read(tmp_path: Path, zipped: bool) -> None:
    torch.save(STATE, tmp_path / "w.bin", _use_new_zipfile_serialization=zipped)
    assert same(read_state(tmp_path / "w.bin"))
    torch.save({"model": STATE, "epoch": 3}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert same(read_state(tmp_path / "w.pth", "model"))


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    assert same(read_state(tmp_path / "w.safetensors"))


class Framework:
    """Modules that are there while a checkpoint is saved and gone when it is read."""

    def __init__(self) -> None:
        self.modules: dict[str, types.ModuleType] = {}

    def make(self, full_name: str, base: type = object) -> Any:
        module, _, name = full_name.rpartition(".")
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            path = ".".join(parts[:end])
            self.modules.setdefault(path, types.ModuleType(path))
        made = type(name, (base,), {"__module__": module})
        setattr(self.modules[module], name, made)
        return made


@pytest.fixture
def lightning_content() -> Iterator[dict[str, Any]]:
    framework = Framework()
    attributes = framework.make("pytorch_lightning.utilities.parsing.AttributeDict", dict)
    callback = framework.make("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint")
    trainer = framework.make("lightning.pytorch.trainer.Trainer")
    config = framework.make("omegaconf.dictconfig.DictConfig")()
    config.__dict__.update(content={"lr": 0.1}, parent=None)
    stopped = callback()
    stopped.best = 0.5
    sys.modules.update(framework.modules)
    yield {
        "epoch": 1000,
        "state_dict": STATE,
        "callbacks": {callback: {"best": np.float64(0.25), "state": stopped}},
        "hyper_parameters": attributes(lr=0.1, layers=[1, 2]),
        "hparams": argparse.Namespace(lr=0.1, root=Path("data")),
        "config": config,
        "optimizer_states": [{"state": defaultdict(dict, {0: {"step": 3}}), "param_groups": [{"lr": 0.1}]}],
        "trainer": trainer(),
        "kind": dict,
    }
    for name in framework.modules:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_lightning_checkpoint_needs_no_lightning(
    tmp_path: Path, lightning_content: dict[str, Any], zipped: bool
) -> None:
    torch.save(lightning_content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    for name in [name for name in sys.modules if name.startswith(("pytorch_lightning", "lightning", "omegaconf"))]:
        del sys.modules[name]
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "w.ckpt", weights_only=True)  # so there is something to stand in for
    allowed = set(torch.serialization.get_safe_globals())
    assert same(read_state(tmp_path / "w.ckpt", "state_dict"))
    assert set(torch.serialization.get_safe_globals()) == allowed, "what was let through once is so no longer"
    assert "pytorch_lightning" not in sys.modules


class Touch:
    """Makes a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


class Evaluate(Touch):
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, (f"open({str(self.marker)!r}, 'w')",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(("payload", "name"), [(Touch, r"(posix|os|nt)\.system"), (Evaluate, r"builtins\.eval")])
def test_a_file_that_would_run_something_is_refused(
    tmp_path: Path, payload: type[Touch], name: str, zipped: bool
) -> None:
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(payload(marker)))
    assert marker.exists(), "the payload itself must work"
    marker.unlink()
    torch.save({**STATE, "x": payload(marker)}, tmp_path / "w.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=rf"w\.bin names {name}, which reading it would run: refused"):
        read_state(tmp_path / "w.bin")
    assert not marker.exists()


def test_a_name_in_the_framework_s_place_does_not_run_it(tmp_path: Path) -> None:
    """``numpy.f2py.os.system`` is os.system by another name; it becomes a stand-in as all of NumPy does."""
    marker = tmp_path / "ran"
    torch.save({"state_dict": STATE, "x": Touch(marker)}, tmp_path / "w.bin", _use_new_zipfile_serialization=False)
    raw = (tmp_path / "w.bin").read_bytes()
    for module in (b"cposix\nsystem\n", b"cnt\nsystem\n", b"cos\nsystem\n"):
        raw = raw.replace(module, b"cnumpy.f2py.os\nsystem\n")
    assert b"numpy.f2py.os" in raw
    (tmp_path / "w.bin").write_bytes(raw)
    assert same(read_state(tmp_path / "w.bin", "state_dict"))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-lfs pointer.*git lfs pull"),
        (b"\n<!DOCTYPE html><html>Access denied</html>", "web page.*hf auth login"),
        (b"<html></html>", "web page"),
        (b"", "cannot be read as weights.*Delete it and download it again"),
        (b"not weights at all", "cannot be read as weights"),
    ],
)
@pytest.mark.parametrize("name", ["w.bin", "w.safetensors"])
def test_what_is_no_weights_file_is_told(tmp_path: Path, content: bytes, message: str, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_state(tmp_path / name)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"w\.bin is not there"):
        read_state(tmp_path / "w.bin")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_file_cut_short_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.bin")
    if kind == "safetensors":
        save_file({"a": torch.ones(5000)}, path)
    else:
        torch.save({"a": torch.ones(5000)}, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    for kept in (len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:kept])
        with pytest.raises(WeightsError, match=r"cut short.*Delete it and download it again"):
            read_state(path)


def test_another_container_is_told(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "epoch": 3}, tmp_path / "w.bin")
    with pytest.raises(WeightsError, match=r"has no 'model'; it holds state_dict, epoch"):
        read_state(tmp_path / "w.bin", "model")
    with pytest.raises(WeightsError, match=r"2 of 2 entries are no tensors \(state_dict, epoch\)"):
        read_state(tmp_path / "w.bin")
    torch.save([torch.ones(1)], tmp_path / "list.bin")
    with pytest.raises(WeightsError, match="holds a list instead of tensors"):
        read_state(tmp_path / "list.bin")


class Small(nn.Module):
    """Parameters, a normalisation with its counter, and a table that no file holds."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(12)])
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("table", torch.arange(4), persistent=False)


def built() -> Small:
    with torch.device("meta"):
        return Small()


def test_all_tensors_are_taken_over_as_float32() -> None:
    wanted = {name: torch.randn_like(value.float()).to(value.dtype) for name, value in Small().state_dict().items()}
    halves = {name: value.half() if value.is_floating_point() else value for name, value in wanted.items()}
    network = load_strict(built(), halves, Path("w.bin"), "small", Small)
    for name, value in network.state_dict().items():
        assert value.dtype == wanted[name].dtype
        torch.testing.assert_close(value, wanted[name], rtol=1e-3, atol=1e-3)
    assert torch.equal(dict(network.named_buffers())["table"], torch.arange(4))
    assert not network.training


def test_a_table_that_nothing_fills_is_not_left_empty() -> None:
    with pytest.raises(WeightsError, match="table got no values"):
        load_strict(built(), Small().state_dict(), Path("w.bin"), "small")


def test_counters_of_batches_may_lack() -> None:
    state = {name: value for name, value in Small().state_dict().items() if "num_batches" not in name}
    network = load_strict(built(), state, Path("w.bin"), "small", Small)
    assert network.state_dict()["norm.num_batches_tracked"] == 0


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    state = Small().state_dict()
    for index in range(10):
        del state[f"layers.{index}.weight"]
    state["head.weight"] = torch.ones(3)
    state["norm.bias"] = torch.ones(5)
    with pytest.raises(WeightsError) as raised:
        load_strict(built(), state, Path("some/w.bin"), "small", Small)
    told = str(raised.value)
    assert "some/w.bin does not fit encoder small: of 29 tensors, 10 missing (layers.0.weight, " in told
    assert "layers.7.weight and 2 more)" in told
    assert "1 unexpected (head.weight)" in told
    assert "1 of another shape (norm.bias (5,) for (2,))" in told
    assert "probably another model's file" in told
