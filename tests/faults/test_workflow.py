"""Snakemake, its jobs, or all of them are killed: the same command again ends with the bytes of an untouched run."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import pytest

from . import flow as tools

pytestmark = pytest.mark.workflow

#: Stages at whose first job the clock of a kill starts; of the second, jobs start without a server.
STAGES = ("tile", "embed", "train", "evaluate")
#: Longest time from that first job to the kill (s); a trial that has ended by then was not struck.
WINDOW_S = 5.0


def strike(call: Any, kind: str, rng: np.random.Generator) -> tuple[bool, list[int]]:
    """Kill; whether something was there to be killed, and who may still run."""
    below = tools.descendants(call.pid)
    if call.process.poll() is not None:
        return False, below
    if kind == "a worker":
        if not below:
            return False, below
        tools.kill([int(rng.choice(below))])
    elif kind == "Snakemake":
        tools.kill([call.pid])
    else:
        os.killpg(call.pid, signal.SIGKILL)
        tools.kill(below)
    return True, below


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", ["Snakemake", "everything", "a worker"])
def test_kill(kind: str, stage: str, flow: Any, enter: Any, rng: np.random.Generator) -> None:
    number = STAGES.index(stage)
    variables = {"STFLOW_PRELOAD": "off"} if number == 1 else {}
    flow.before(stage)
    call = flow.start(**variables)
    call.wait_for(tools.BEGINS[stage])
    time.sleep(float(rng.uniform(0, WINDOW_S)))
    struck, below = strike(call, kind, rng)
    call.end()
    first = call.output
    before, begun, half = flow.whole(), tools.under_way(flow.root), flow.half_written()
    lost = [name for name in flow.upstream(stage) if name not in before]
    code, output = flow.run(**variables)
    locked = tools.LOCKED in output
    if locked:
        assert "It can be removed with the --unlock argument" in output
        assert flow.run(*tools.COMMAND, "--unlock", **variables)[0] == 0
        code, output = flow.run(**variables)
    assert locked == (struck and kind != "a worker"), output
    tools.wait_for_end(below)
    after = flow.whole()
    recomputed = [name for name in before if after.get(name) != before[name]]
    survived = code == 0 and after.keys() == flow.bytes.keys() and not half and not flow.partial()
    trial = enter(
        f"SIGKILL of {kind}",
        stage,
        number,
        survived=survived,
        lost=len(lost),
        recomputed=len(recomputed),
        struck=struck,
    )
    assert trial.survived, (half, flow.partial(), first, output)
    assert not lost
    if kind == "a worker":
        assert (first.count("Error in rule") > 0) == bool(flow.rules_run(output)), first
    else:
        assert set(recomputed) <= begun, "a file is made again only where Snakemake has not seen its job end"
    if kind == "Snakemake":  # whose jobs have gone on, beside those of the second call
        assert "Nothing to be done" in flow.run(*tools.COMMAND, "--dry-run")[1]
