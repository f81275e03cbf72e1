"""Stages that are killed, meet a full disk or a damaged file: a rerun ends with the bytes of an untouched run.

``FAULT_TRIALS`` is the number of kills a stage (16); ``FAULT_TABLE=path`` writes the trials to path.md and path.csv.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

KILLS = int(os.environ.get("FAULT_TRIALS", "16"))
STAGES = ("tile", "embed", "train", "predict", "evaluate", "aggregate")
TILES = 36
#: A stage that reads what another made, by the one that made it.
READER = {"tile": "embed", "embed": "train", "train": "predict", "predict": "evaluate", "evaluate": "aggregate"}


@pytest.mark.parametrize("stage", STAGES)
def test_sigkill_at_a_random_moment(stage: str, bench: Any, rng: np.random.Generator) -> None:
    struck = 0
    for number in range(KILLS):
        folder = bench.before(stage)
        done = bench.run(stage, folder, kill_after=float(rng.uniform(0.0, 0.8)) * bench.seconds[stage])
        assert done["code"] in (0, -signal.SIGKILL), done["output"]
        struck += done["code"] != 0
        trial = bench.finish("SIGKILL", stage, number, folder, done["code"] != 0)
        assert trial.lost == trial.recomputed == 0 or stage in ("embed", "train")
    assert struck  # a stage may end before its kill where the machine is uneven


def epochs_kept(folder: Path, outputs: dict[str, tuple[str, ...]]) -> int:
    """Epochs of the checkpoint that a killed training has left; 0 where there is none."""
    path = (folder / outputs["train"][0]).with_name("checkpoint.safetensors")
    if not path.exists():
        return 0
    with safe_open(path, framework="numpy") as handle:
        return int(json.loads(handle.metadata()["stflow"])["state"]["epoch"])


def tiles_kept(folder: Path) -> int:
    """Tiles of whole records, and of features files that are kept."""
    total = 0
    for path in (folder / "features" / "classical" / "B" / ".kept").glob("S*"):
        if path.suffix == ".h5":
            total += TILES
        elif not path.with_suffix(".h5").exists():
            header, _, records = path.read_bytes().partition(b"\n")
            told = json.loads(header) if records else {"dim": 1, "batch_size": 1}
            rows, left = 0, len(records)
            while rows < TILES and left >= (size := 64 + min(told["batch_size"], TILES - rows) * told["dim"] * 4):
                rows, left = min(rows + told["batch_size"], TILES), left - size
            total += rows
    return total


@pytest.mark.parametrize("stage", ["embed", "train"])
def test_what_was_done_before_a_kill_is_not_done_again(
    stage: str, bench: Any, rng: np.random.Generator, outputs: dict[str, tuple[str, ...]]
) -> None:
    total = 0
    for number in range(KILLS // 2):
        folder = bench.before(stage)
        mark = {"embed": "features/**/*.blocks", "train": "runs/**/checkpoint.safetensors"}[stage]
        done = bench.run(stage, folder, once_there=mark, kill_after=float(rng.uniform(0, 0.5)) * bench.seconds[stage])
        if done["code"] == 0:
            continue
        kept = epochs_kept(folder, outputs) if stage == "train" else tiles_kept(folder)
        names = [*outputs[stage], *([f"{Path(outputs[stage][0]).parent}/run.json"] if stage == "train" else [])]
        again = any(not (folder / name).exists() for name in names)
        bench.finish("SIGKILL, taken up", stage, number, folder, True)
        if stage == "train":
            found = re.findall(r"resumes after epoch (\d+) of 6", bench.said)
        else:
            found = re.findall(r"(\d+) (?:tiles )?from an earlier run", bench.said)
        assert not again or sum(map(int, found)) == kept, (kept, bench.said)
        total += kept if again else 0
    assert total


@pytest.mark.parametrize("stage", STAGES)
def test_full_disk(stage: str, bench: Any, rng: np.random.Generator, outputs: dict[str, tuple[str, ...]]) -> None:
    size = max(len(bench.bytes[name]) for name in outputs[stage])
    for number in range(2):
        folder = bench.before(stage)
        done = bench.run(stage, folder, limit=int(rng.integers(1, size)))
        assert done["code"] == 5, done["output"]
        assert "disk full while writing" in done["output"]
        assert "Free space on that disk and run again" in done["output"]
        bench.finish("disk full", stage, number, folder, True)


def damage(path: Path, how: str, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    if how == "truncated":
        data = data[: int(rng.integers(1, len(data) - 1))]
    elif how == "other content":
        data = bytearray(b"not what it was " * 16)
    else:
        data[int(rng.integers(0, 8))] ^= 0xFF  # in the signature or the length of the header
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["truncated", "bit flip", "other content"])
@pytest.mark.parametrize("stage", READER)
def test_damaged_file_is_refused_by_its_reader(
    stage: str, how: str, bench: Any, rng: np.random.Generator, outputs: dict[str, tuple[str, ...]]
) -> None:
    reader = READER[stage]
    folder = bench.before(reader)
    path = folder / outputs[stage][0]
    damage(path, how, rng)
    done = bench.run(reader, folder)
    assert done["code"] == 3, done["output"]
    assert str(path) in done["output"]
    assert any(word in done["output"].lower() for word in ("delete", "again"))
    path.unlink()  # what the message says
    for name in outputs[reader]:
        assert not (folder / name).exists() or (folder / name).read_bytes() == bench.bytes[name]
    bench.finish(f"damaged: {how}", stage, 0, folder, True)


@pytest.mark.parametrize("poison", ["pickle", "truncated", "empty"])
def test_poisoned_checkpoint(poison: str, bench: Any, outputs: dict[str, tuple[str, ...]]) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(bench.root / "owned"),)

    folder = bench.before("train")
    path = (folder / outputs["train"][0]).with_name("checkpoint.safetensors")
    model = bench.bytes[outputs["train"][0]]
    path.write_bytes({"pickle": pickle.dumps(Evil()), "truncated": model[:100], "empty": b""}[poison])
    done = bench.run("train", folder)
    assert done["code"] == 0, done["output"]
    assert f"checkpoint {path} is not used" in done["output"]
    assert not (bench.root / "owned").exists()
    bench.finish(f"checkpoint: {poison}", "train", 0, folder, True)
