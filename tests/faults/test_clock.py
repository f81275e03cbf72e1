"""Clocks that jump: file times a day off, and a clock that is set while Snakemake runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from . import flow as tools

pytestmark = pytest.mark.workflow

DAY_S = 86_400
ALL = {"tile": 2, "embed": 2, "train": 3, "predict": 3, "evaluate": 3, "table1": 1, "scores": 1}
#: Folder whose files look a day older than they are -> what is then made again: all that looks older than its inputs,
#: and what follows. Of inputs up to 1 MB Snakemake compares the content: metrics are not out of date.
OLD = {
    "results and lab": {},
    "results/tiles": ALL,
    "results/features": {"embed": 2, "train": 2, "predict": 2, "evaluate": 2, "table1": 1, "scores": 1},
    "results/metrics": {},
    "lab": {},
}


def shift(paths: Iterable[Path], seconds: float) -> None:
    """Move the times of files."""
    for path in paths:
        found = path.stat()
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + int(seconds * 1e9)))


def files(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def note(enter: Any, flow: Any, stage: str, number: int, before: dict[str, tuple[int, int]]) -> None:
    """Write a trial down, and require the bytes of the untouched run."""
    after = flow.whole()
    survived = after.keys() == flow.bytes.keys() and not flow.partial()
    recomputed = sum(after.get(name) != stamp for name, stamp in before.items())
    enter("clock", stage, number, survived=survived, lost=0, recomputed=recomputed, struck=True)
    assert survived


@pytest.mark.parametrize("folder", OLD)
def test_files_that_look_a_day_older(folder: str, flow: Any, enter: Any) -> None:
    flow.restore()
    moved = [path for part in folder.split(" and ") for path in files(flow.root / part)]
    inputs = [path for path in moved if not path.is_relative_to(flow.results)]
    shift(moved, -DAY_S)
    before = flow.whole()
    code, output = flow.run()
    shift(inputs, DAY_S)  # they are there for the next trial too
    assert code == 0, output
    assert flow.rules_run(output) == OLD[folder]
    note(enter, flow, folder.rpartition("/")[2], 0, before)


def test_results_of_the_future_that_nothing_is_to_be_made_of_are_left_alone(flow: Any, enter: Any) -> None:
    flow.restore()
    shift(files(flow.results), DAY_S)
    before = flow.whole()
    code, output = flow.run()
    assert code == 0, output
    assert not flow.rules_run(output)
    note(enter, flow, "results", 1, before)


def test_inputs_of_the_future_are_told_before_anything_starts(flow: Any, enter: Any) -> None:
    flow.restore()
    moved = files(flow.results / "tiles")
    shift(moved, DAY_S)
    before = flow.whole()
    code, output = flow.run()
    assert code == 1
    assert "2 files are dated in the future" in output
    assert "touch results/tiles/lab/DEMO1A.h5 results/tiles/lab/DEMO2A.h5" in output
    assert "Traceback" not in output
    assert flow.whole() == before
    for path in moved:
        os.utime(path)  # what the message says
    before = flow.whole()
    code, output = flow.run()
    assert code == 0, output
    assert flow.rules_run(output) == {name: number for name, number in ALL.items() if name != "tile"}
    note(enter, flow, "tiles", 1, before)


def faketime() -> Path | None:
    """The library that shows a process another time, if it is installed or named."""
    named = os.environ.get("LIBFAKETIME")
    found = [Path(named)] if named else sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None


def shifted(library: Path, clock: Path) -> dict[str, str]:
    """Variables under which a process reads the time from ``clock``, and waits as long as ever."""
    return {
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
        "NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip


#: What a process must be able to do under the library: wait, and give a file the time that it is shown.
ABLE = """
import os, sys, time
time.sleep(0.01)
open(sys.argv[1], "w").close()
os.utime(sys.argv[1])
away = os.stat(sys.argv[1]).st_mtime - time.time()
sys.exit(f"files get the time of the machine, {away:.0f} s away" if abs(away) > 60 else 0)
"""


def problem(library: Path, folder: Path) -> str:
    """Why the trials cannot be made with this library; empty if they can."""
    (folder / "shifted").write_text("-1d\n")
    command = [sys.executable, "-c", ABLE, str(folder / "touched")]
    environment = {**os.environ, **shifted(library, folder / "shifted")}
    tried = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return tried.stderr.strip().splitlines()[-1] if tried.returncode else ""


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_is_set_while_snakemake_runs(days: int, flow: Any, enter: Any, tmp_path: Path) -> None:
    """Set back, jobs that end then look older than what they read: Snakemake gives them up. Then it is right again."""
    library = faketime()
    if library is None:
        pytest.skip("libfaketime is not installed; LIBFAKETIME may name it")
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    variables = shifted(library, clock)
    if why := problem(library, tmp_path):
        pytest.skip(f"{library} cannot be used here: {why}")
    flow.before("tile")
    before = flow.whole()
    call = flow.start(**variables)
    call.wait_for(tools.BEGINS["embed"])
    clock.write_text(f"{days:+d}d\n")
    code = call.end()
    if days < 0:
        assert code == 1
        assert "older modification time" in call.output
        code, output = flow.run(**variables)
        assert code == 1
        assert "files are dated in the future" in output
        assert "Set the clock of this machine if it is slow" in output
        assert not flow.rules_run(output)
        code, output = flow.run()
        assert code == 0, output
    assert code == 0, call.output
    assert "Nothing to be done" in flow.run(*tools.COMMAND, "--dry-run")[1]
    note(enter, flow, "embed", 2 + (days > 0), before)
