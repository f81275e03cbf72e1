"""What else may happen to a results folder: two Snakemakes, and no right to write."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import flow as tools

pytestmark = pytest.mark.workflow


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Stamps of all files of a folder."""
    return {str(path): tools.stamp(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def changed(flow: Any, before: dict[str, tuple[int, int]]) -> list[str]:
    """Files that were whole before and are others now."""
    after = flow.whole()
    return [name for name in before if after.get(name) != before[name]]


def is_whole(flow: Any) -> bool:
    """Whether all files are those of the untouched run, and none is begun."""
    return flow.whole().keys() == flow.bytes.keys() and not flow.partial()


def test_a_second_snakemake_is_refused_and_the_first_ends_whole(flow: Any, enter: Any) -> None:
    flow.before("tile")
    before = flow.whole()
    first = flow.start()
    first.wait_for(tools.BEGINS["tile"])
    code, output = flow.run()
    struck = first.process.poll() is None
    assert code == 1
    assert tools.LOCKED in output
    assert str(flow.root) in output
    assert not flow.rules_run(output)
    assert first.end() == 0, first.output
    enter(
        "two Snakemakes",
        "tile",
        0,
        survived=is_whole(flow),
        lost=0,
        recomputed=len(changed(flow, before)),
        struck=struck,
    )
    assert struck
    assert is_whole(flow)


def test_two_that_start_together_leave_no_wrong_file(flow: Any, enter: Any) -> None:
    """Snakemake looks for a lock and then writes its own, so both may be let in; then both make the same bytes."""
    flow.before("predict")
    before = flow.whole()
    calls = [flow.start() for _ in range(2)]
    codes = [call.end() for call in calls]
    let_in = [bool(flow.rules_run(call.output)) for call in calls]
    assert any(let_in), [call.output for call in calls]
    assert not flow.half_written()
    if 0 not in codes:
        code, output = flow.run()
        assert code == 0, output
    enter(
        "two Snakemakes", "predict", 1, survived=is_whole(flow), lost=0, recomputed=len(changed(flow, before)),
        struck=all(let_in),
    )  # fmt: skip
    assert is_whole(flow), [call.output for call in calls]


@pytest.fixture
def read_only(tmp_path: Path) -> Callable[[Path], list[str]]:
    """``read_only(folder)``: words of a command that runs another, for which alone the folder is read-only.

    A mount of its own, as root may write wherever the bits of a file forbid it.
    """
    script = tmp_path / "read_only.sh"
    script.write_text('set -e\nmount --bind "$1" "$1"\nmount -o remount,bind,ro "$1"\nshift\nexec "$@"\n')
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]

    def words(folder: Path) -> list[str]:
        return [*unshare, "sh", str(script), str(folder)]

    try:
        tried = subprocess.run([*words(tmp_path), "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare on this machine")
    if tried.returncode:
        pytest.skip(f"no mounts of one's own on this machine: {tried.stderr.strip()}")
    return words


def test_read_only_results(flow: Any, enter: Any, read_only: Callable[[Path], list[str]]) -> None:
    flow.before("evaluate")
    before, all_before = flow.whole(), stamps(flow.results)
    code, output = flow.run(within=read_only(flow.results))
    assert code == 1
    assert "results cannot be written (read-only" in output
    assert "Make its folder writable and run again." in output
    assert "Traceback" not in output
    assert stamps(flow.results) == all_before
    code, output = flow.run()
    assert code == 0, output
    enter(
        "read-only", "evaluate", 0, survived=is_whole(flow), lost=0, recomputed=len(changed(flow, before)), struck=True
    )
    assert is_whole(flow)
    assert not changed(flow, before)


def test_a_stage_in_a_read_only_folder_names_the_file(flow: Any, read_only: Callable[[Path], list[str]]) -> None:
    flow.restore()
    group = f"lab/DEMO_IDC/{tools.GROUPS[0]}/default/paper"
    for out in (f"metrics/{group}.parquet", f"new/{group}.parquet"):
        words = ["evaluate", "--results", "results", "--group", group, "--folds", "0", "--seeds", "0"]
        command = [sys.executable, "-c", "from stflow.cli import main; main()", *words, "--out", f"results/{out}"]
        call = tools.Call(flow.root, [*read_only(flow.results), *command], {})
        assert call.end() == 5, call.output
        assert f"results/{out} cannot be written (Read-only file system)" in call.output
        assert "Traceback" not in call.output
    assert is_whole(flow)
