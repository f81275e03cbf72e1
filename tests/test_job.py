"""What surrounds a job: its GPUs, and a record of what it took that is there only if it succeeded."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pytest

from stflow import job, lease
from stflow.cli import main


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lease, "_physical", tuple)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.setenv(lease.FOLDER_VARIABLE, str(tmp_path / "leases"))


def row(path: Path) -> dict[str, float]:
    with path.open(newline="") as handle:
        (found,) = csv.DictReader(handle, delimiter="\t")
    return {name: float(value) for name, value in found.items()}


def test_what_a_job_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "_process_age_s", lambda: 100.0)
    timing = tmp_path / "deep" / "t.tsv"
    with job.surrounded(1, timing):
        busy = time.process_time() + 0.2
        while time.process_time() < busy:
            pass
    found = row(timing)
    assert list(found) == list(job.TIMING_COLUMNS)
    assert 99 < found["s"] <= 100
    assert found["cpu_time"] >= 0.2
    assert 10 < found["max_rss"] < 1e6
    assert found["gpus"] == 1
    assert found["max_gpu_mb"] == 0


def test_a_timing_is_read_back_and_what_is_not_one_is_empty(tmp_path: Path) -> None:
    timing = tmp_path / "t.tsv"
    assert job.read_timing(timing) == {}
    with job.surrounded(1, timing):
        pass
    assert job.read_timing(timing) == row(timing)
    timing.write_text("s\th:m:s\tmax_rss\tcpu_time\n3.0\t0:00:03\tNA\t1.5\n4.0\t0:00:04\tNA\t2.5\n")  # Snakemake's
    assert job.read_timing(timing) == {"s": 4.0, "cpu_time": 2.5}
    for broken in ("", "s\tcpu_time\n", "s\tmax_rss\n3.0\t5.0\n", "s\tcpu_time\n0.0\t1.0\n"):
        timing.write_text(broken)
        assert job.read_timing(timing) == {}


def test_the_age_of_a_process_is_that_of_the_process() -> None:
    first = job._process_age_s()
    time.sleep(0.1)
    assert 0.05 < job._process_age_s() - first < 5
    assert first > 0.1  # pytest itself took longer to start


def test_a_job_that_fails_leaves_no_record(tmp_path: Path) -> None:
    timing = tmp_path / "t.tsv"
    with pytest.raises(SystemExit) as stop:
        main(["--gpus", "1", "--timing", str(timing), "list", "nothing"])
    assert stop.value.code == 6
    assert not timing.exists()
    assert lease.free() == {"4": 1, "5": 1}


def test_the_command_line_takes_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timing = tmp_path / "t.tsv"
    main(["--gpus", "2", "--timing", str(timing), "list", "formats"])
    assert row(timing)["gpus"] == 2
    said = capsys.readouterr()
    assert "GPU 4, 5 leased" in said.err
    assert "stimage" in said.out
