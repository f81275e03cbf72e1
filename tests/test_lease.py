"""Each job has a GPU of its own, held by the kernel for as long as the process lives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from stflow import lease as module
from stflow.errors import ResourceError
from stflow.lease import Gpu, folder, free, gpu_limit, lease, read_nvidia_smi, visible

#: Takes a lease, says which, and holds it until its input ends.
HOLDER = """
import sys
from stflow.lease import lease
with lease(int(sys.argv[1])) as gpus:
    print(",".join(gpus), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def eight_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Eight devices that are not there, and lock files of this test's own."""
    monkeypatch.setattr(module, "_physical", tuple)
    for name in (*module._JOB_VARIABLES, module.SHARE_VARIABLE, module.RECORD_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
    monkeypatch.setenv(module.FOLDER_VARIABLE, str(tmp_path / "leases"))
    return tmp_path


class Holder:
    """A process that holds leases."""

    def __init__(self, n_gpus: int = 1) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(n_gpus)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def gpus(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> str:
        """Let it end; what it said."""
        return self.process.communicate(timeout=30)[1]


@pytest.fixture
def hold() -> type[Holder]:
    return Holder


def test_a_process_sees_its_devices_alone_and_gives_them_back() -> None:
    with lease(2) as gpus:
        assert gpus == ("0", "1")
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2,3,4,5,6,7"
    assert set(free().values()) == {1}


def test_nothing_is_leased_for_jobs_without_or_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with lease(0) as gpus:
        assert gpus == ()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2,3,4,5,6,7"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with lease(1) as gpus:
        assert gpus == ()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with lease(1) as gpus:
        assert gpus == ()


def test_more_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with (
        pytest.raises(ResourceError, match=r"2 GPUs are asked for, and 1 visible \(CUDA_VISIBLE_DEVICES=3\)"),
        lease(2),
    ):
        pass


def test_eight_jobs_have_eight_devices_and_the_ninth_waits(hold: type[Holder]) -> None:
    holders = [hold() for _ in range(8)]
    assert sorted(holder.gpus() for holder in holders) == list("01234567")
    assert set(free().values()) == {0}
    ninth = hold()
    with pytest.raises(subprocess.TimeoutExpired):
        ninth.process.wait(3)
    holders[5].end()
    assert ninth.gpus() in "01234567"
    for holder in (*holders[:5], *holders[6:]):
        holder.end()
    assert "waiting for 1 of 8 GPUs" in ninth.end()
    assert set(free().values()) == {1}


def test_the_kernel_gives_back_what_a_killed_job_held(hold: type[Holder]) -> None:
    holder = hold(8)
    assert holder.gpus().count(",") == 7
    os.kill(holder.process.pid, signal.SIGKILL)
    holder.process.wait()
    with lease(8) as gpus:
        assert len(gpus) == 8


def test_several_gpus_are_taken_all_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    code = "import time\nfrom stflow.lease import lease\nwith lease(2):\n    time.sleep(0.2)"
    # Two of these would wait for each other for ever if each kept the one that it got.
    jobs = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) for _ in range(4)]
    assert [job.wait(60) for job in jobs] == [0] * 4


def test_jobs_may_share_a_device(monkeypatch: pytest.MonkeyPatch, hold: type[Holder]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv(module.SHARE_VARIABLE, "3")
    holders, got = [], []
    for _ in range(6):
        holders.append(hold())
        got.append(holders[-1].gpus())
    assert got == ["0", "1"] * 3  # the emptier device first
    assert free() == {"0": 0, "1": 0}
    for holder in holders:
        holder.end()
    monkeypatch.setenv(module.SHARE_VARIABLE, "many")
    with pytest.raises(ResourceError, match="STFLOW_JOBS_PER_GPU=many is no number of jobs"), lease(1):
        pass


def test_no_interval_of_a_device_overlaps_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    monkeypatch.setenv(module.RECORD_VARIABLE, str(record))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    code = "import time\nfrom stflow.lease import lease\nwith lease(1):\n    time.sleep(0.2)"
    jobs = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) for _ in range(10)]
    assert [job.wait() for job in jobs] == [0] * 10
    events = sorted(map(json.loads, record.read_text().splitlines()), key=lambda event: event["time"])
    assert len(events) == 20
    holder: dict[str, list[int]] = defaultdict(list)
    for event in events:
        if event["event"] == "taken":
            holder[event["gpu"]].append(event["pid"])
        else:
            holder[event["gpu"]].remove(event["pid"])
        assert len(holder[event["gpu"]]) <= 1
    assert set(holder) == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("0,1", ["0", "1"]),
        (" 2 , 3 ", ["2", "3"]),
        ("GPU-ab,GPU-cd", ["GPU-ab", "GPU-cd"]),
        ("0,0,1", ["0", "1"]),
        ("0,-1,1", ["0"]),
        ("", []),
        ("NoDevFiles", []),
    ],
)
def test_what_the_environment_lets_see(said: str, expected: list[str]) -> None:
    assert [gpu.name for gpu in visible({"CUDA_VISIBLE_DEVICES": said})] == expected


def test_number_and_uuid_of_a_device_have_one_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_physical", lambda: ("GPU-a/1", "GPU-b"))
    assert visible({}) == [Gpu("GPU-a/1", "GPU-a_1"), Gpu("GPU-b", "GPU-b")]
    assert visible({"CUDA_VISIBLE_DEVICES": "1"}) == [Gpu("1", "GPU-b")]


def test_instances_stand_for_a_divided_gpu() -> None:
    text = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5a)
  MIG 3g.20gb     Device  0: (UUID: MIG-7089)
  MIG 1g.5gb      Device  1: (UUID: MIG-81ab)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-77c0)
"""
    assert read_nvidia_smi(text) == ("MIG-7089", "MIG-81ab", "GPU-77c0")
    assert read_nvidia_smi("No devices found.\n") == ()


def test_a_scheduler_that_gave_devices_is_trusted(tmp_path: Path) -> None:
    given = {module.FOLDER_VARIABLE: str(tmp_path), "SLURM_JOB_ID": "17", "CUDA_VISIBLE_DEVICES": "0"}
    other = {**given, "SLURM_JOB_ID": "18"}
    assert folder(given) != folder(other)  # its device 0 may be another
    del given["CUDA_VISIBLE_DEVICES"], other["CUDA_VISIBLE_DEVICES"]
    assert folder(given) == folder(other) == tmp_path  # it gave none: both see all


def test_the_limit_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_limit("auto", 2) == 16
    assert gpu_limit("cpu", 2) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_limit("auto", 1) is None
    with pytest.raises(ResourceError, match=r"training\.device is cuda, and no GPU is visible.*auto or cpu"):
        gpu_limit("cuda", 1)


def test_a_lock_that_is_a_link_is_refused(eight_gpus: Path) -> None:
    target = eight_gpus / "precious"
    target.write_text("kept")
    (eight_gpus / "leases").mkdir()
    (eight_gpus / "leases" / "0.0").symlink_to(target)
    with pytest.raises(ResourceError, match=r"0\.0.*STFLOW_LEASES"), lease(1):
        pass
    assert target.read_text() == "kept"
