"""Measurements: a process each, whole files, and what happens beyond the limits."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from stflow.efficiency import measure
from stflow.efficiency.measure import COLUMNS, Work, alone, measure_method, read_measurements
from stflow.errors import IntegrityError, ResourceError

WORK = Work("ridge", 8, 4, 2, 1, "cpu", 60.0, 64.0)


def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "ridge.csv", tmp_path / "ridge.json"


def test_a_method_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    csv, facts = files(tmp_path)
    measure_method(WORK, [40], ["predict"], csv, facts)
    (row,) = read_measurements(csv)
    assert (row.method, row.variant, row.what, row.spots, row.ended) == ("ridge", "default", "predict", 40, "ok")
    assert row.seconds is not None
    assert 0 < row.seconds < 60
    assert row.memory_mb is not None
    assert row.memory_mb >= 0
    assert (row.device, row.threads, row.repeats) == ("cpu", 1, 2)
    assert row.processor
    assert csv.read_text().splitlines()[0] == ",".join(COLUMNS)
    told = json.loads(facts.read_text())
    assert (told["method"], told["features"], told["genes"]) == ("ridge", 8, 4)
    assert told["settings"]["components"] == 256


def stand_in(monkeypatch: pytest.MonkeyPatch, ends: dict[int, object]) -> list[int]:
    """Replace processes: number of spots -> exit code (None: ended for its time), or a result."""
    asked: list[int] = []

    def alone(job: dict[str, object], limit_s: float) -> tuple[object, object]:
        asked.append(job["n"])  # type: ignore[arg-type]
        end = ends[job["n"]]  # type: ignore[index]
        return (0, end) if isinstance(end, dict) else (end, None)

    monkeypatch.setattr(measure, "alone", alone)
    return asked


OK = {
    "ended": "ok", "seconds": 0.5, "least_seconds": 0.4, "idle_mb": 100.0, "peak_mb": 150.0, "device": "cpu",
    "processor": "A CPU", "torch": "2",
}  # fmt: skip


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (None, "over the limit"),
        (-int(signal.SIGKILL), "out of memory"),
        ({"ended": "out of memory", "device": "cpu", "processor": "A CPU", "torch": "2"}, "out of memory"),
    ],
)
def test_beyond_a_limit_larger_slides_are_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: object, told: str
) -> None:
    asked = stand_in(monkeypatch, {10: OK, 20: end})
    measure_method(WORK, [30, 20, 10, 20], ["predict"], *files(tmp_path))
    rows = read_measurements(files(tmp_path)[0])
    assert asked == [10, 20]
    assert [(row.spots, row.ended) for row in rows] == [(10, "ok"), (20, told), (30, "not tried")]
    assert [(row.seconds, row.memory_mb) for row in rows] == [(0.5, 50.0), (None, None), (None, None)]
    assert {row.processor for row in rows} == {"A CPU"}


def test_a_process_that_takes_too_long_is_ended() -> None:
    job = {"method": "ridge", "what": "predict", "n": 40, "features": 8, "genes": 4, "repeats": 10**9, "threads": 1}
    assert alone({**job, "device": "cpu", "limit_gb": 64.0}, 0.5) == (None, None)


def test_a_process_that_fails_has_no_result() -> None:
    code, found = alone({"no": "such option"}, 60.0)
    assert (code, found) == (1, None)


def test_memory_of_a_gpu_is_its_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, {10: {**OK, "device": "cuda"}})
    measure_method(WORK, [10], ["predict", "train"], *files(tmp_path))
    rows = read_measurements(files(tmp_path)[0])
    assert [(row.what, row.memory_mb) for row in rows] == [("predict", 150.0), ("train", 150.0)]


def test_a_failure_of_another_kind_is_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, {10: 1})
    with pytest.raises(ResourceError, match=r"measuring ridge \(predict\) on 10 spots failed with 1"):
        measure_method(WORK, [10], ["predict"], *files(tmp_path))
    assert not files(tmp_path)[0].exists()


def test_files_that_are_not_measurements_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="does not exist"):
        read_measurements(tmp_path / "no.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(IntegrityError, match="not a file of measurements"):
        read_measurements(tmp_path / "other.csv")
