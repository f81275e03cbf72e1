"""A job that was killed at any moment, once or twice, ends with the bytes of one that was not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SLIDES = ("S1", "S2", "S3")
KILLS = 10

#: A slow encoder, a job of three slides in blocks of two tiles; tells when it begins and how many blocks it encoded.
JOB = """
import sys, time
from pathlib import Path
import numpy as np
from stflow.encoders import ENCODERS
from stflow.encoders.base import Encoder
from stflow.embedding.extract import make_features

blocks = []

@ENCODERS.register("slow")
class Slow(Encoder):
    name, dim, transform, licence, uses_torch, weights_sha256 = "slow", 200, "none", "MIT", False, "0" * 64

    def encode(self, tiles):
        time.sleep(0.02)
        blocks.append(len(tiles))
        return tiles.reshape(len(tiles), -1)[:, ::750][:, :200] / np.float32(3)

print("ready", flush=True)
make_features(Path(sys.argv[1]), "B", ["S1", "S2", "S3"], "slow", weights=None, code="", batch_size=2,
              precision="fp32", threads=1, workers=0, device="cpu")
print(len(blocks), flush=True)
"""


def start(results: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(results)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run_to_the_end(results: Path) -> tuple[int, float]:
    """Blocks that were encoded, and seconds from beginning to end."""
    process = start(results)
    assert process.stdout is not None
    process.stdout.readline()
    begun = time.monotonic()
    out, errors = process.communicate()
    assert process.returncode == 0, errors[-2000:]
    return int(out), time.monotonic() - begun


def kill_after(results: Path, seconds: float) -> bool:
    """Whether the job was still running."""
    process = start(results)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_killed_at_random_moments(three: Any) -> None:
    outs = [three.out(slide, "slow") for slide in SLIDES]
    folder = outs[0].parent
    total, seconds = run_to_the_end(three.results)
    whole = [out.read_bytes() for out in outs]
    assert total >= 30
    shares = np.random.default_rng(7).permutation(np.linspace(0.05, 0.9, KILLS)).reshape(-1, 2)
    encoded, killed = [], 0
    for first, second in shares:
        shutil.rmtree(folder)
        killed += kill_after(three.results, first * seconds)
        for out in outs:
            out.unlink(missing_ok=True)  # as the workflow does with a failed job's outputs
        killed += kill_after(three.results, second * (1 - first) * seconds)
        encoded.append(run_to_the_end(three.results)[0])
        assert [out.read_bytes() for out in outs] == whole
        assert not list(folder.glob(".kept/*.blocks"))
    assert killed >= KILLS - 2  # a job may end before its kill where the machine is uneven
    # A third run does what is left of two shares: were nothing taken over, each would encode all blocks.
    assert max(encoded) < total
    assert sum(encoded) < 0.6 * total * len(encoded)
