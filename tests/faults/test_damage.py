"""A bit that turns over anywhere in a file, or the checkpoint of another run: refused, or without effect."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FLIPS = int(os.environ.get("FAULT_FLIPS", "12"))
#: File whose bits turn -> the stage that makes it and the one that reads it. History is read by people, and no stage.
RUN = "runs/B/D/classical/stflow/default/clean/fold0/seed0"
FILES = {
    "slides/B/S1.h5ad": ("make", "train"),
    "tiles/B/S1.h5": ("tile", "embed"),
    "features/classical/B/S1.h5": ("embed", "train"),
    f"{RUN}/model.safetensors": ("train", "predict"),
    f"{RUN}/predictions.h5ad": ("predict", "evaluate"),
    "metrics.parquet": ("evaluate", "aggregate"),
}


def flip(path: Path, rng: np.random.Generator) -> int:
    """Turn one bit; where."""
    data = bytearray(path.read_bytes())
    place = int(rng.integers(len(data)))
    data[place] ^= 1 << int(rng.integers(8))
    path.unlink()
    path.write_bytes(data)
    return place


@pytest.mark.parametrize("name", FILES)
def test_a_bit_that_turns_anywhere_is_refused_or_without_effect(
    name: str, bench: Any, rng: np.random.Generator, outputs: dict[str, tuple[str, ...]]
) -> None:
    (maker, reader), seen = FILES[name], Counter[str]()
    kind = Path(name).parts[0] if "/" in name and not name.startswith("runs") else Path(name).name
    whole = (bench.whole / name).read_bytes()
    for number in range(FLIPS):
        folder = bench.before(reader)
        place = flip(folder / name, rng)
        done = bench.run(reader, folder)
        if done["code"] == 0:
            seen["harmless"] += 1
            same = all((folder / out).read_bytes() == bench.bytes[out] for out in outputs[reader])
            assert same, f"byte {place} of {name} was changed, and {reader} made other results of it"
        else:
            seen["refused"] += 1
            assert done["code"] == 3, (place, done["output"])
            assert str(folder / name) in done["output"]
            assert "elete it" in done["output"], done["output"]
        (folder / name).unlink()  # what the message says
        if maker == "make":  # no stage of the bench makes it again
            (folder / name).write_bytes(whole)
        again = reader if maker == "make" else maker
        bench.finish(f"one bit of {kind}", again, number, folder, done["code"] != 0)
    print(f"{name}: {dict(seen)}")
    assert seen["refused"] >= FLIPS // 3


@pytest.mark.parametrize("other", ["other_seed", "other_fold", "other_settings"])
def test_the_checkpoint_of_another_run_is_not_used(other: str, bench: Any) -> None:
    folder = bench.before("train")
    place = move_checkpoint(bench, folder, other)
    done = bench.run("train", folder)
    assert done["code"] == 0, done["output"]
    assert f"checkpoint {place} is not used: it is of other settings, data, seed or code" in done["output"]
    bench.finish(f"checkpoint: {other.replace('_', ' ')}", "train", 0, folder, True)


def test_a_checkpoint_of_the_same_run_is_used(bench: Any) -> None:
    """That the others are refused is not because of how they came there."""
    folder = bench.before("train")
    move_checkpoint(bench, folder, "same")
    done = bench.run("train", folder)
    assert done["code"] == 0, done["output"]
    assert "resumes after epoch 6 of 6" in done["output"]
    bench.finish("checkpoint: its own", "train", 0, folder, True)


def move_checkpoint(bench: Any, folder: Path, of: str) -> Path:
    """Train another run elsewhere, and put its checkpoint where that of this one is looked for."""
    elsewhere = bench.root / "elsewhere"
    shutil.rmtree(elsewhere, ignore_errors=True)
    shutil.copytree(folder, elsewhere)
    done = bench.run(of, elsewhere)
    assert done["code"] == 0, done["output"]
    place = folder / RUN / "checkpoint.safetensors"
    place.parent.mkdir(parents=True, exist_ok=True)
    (elsewhere / "checkpoint.safetensors").rename(place)
    return place
