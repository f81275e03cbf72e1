"""Table 6: parameters beside the printed ones, and verdicts that compare like with like."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from stflow.efficiency.measure import Measurement
from stflow.report.table6 import COLUMNS, cost_rows, make_table6, parameter_rows

HEADER = "method,variant,what,spots,ended,seconds,least_seconds,repeats,idle_mb,peak_mb,device,processor,threads\n"


def measured(seconds: float | None, mb: float | None, **other: object) -> list[dict[str, object]]:
    values: dict[str, object] = {
        "method": "stflow", "variant": "default", "what": "predict", "spots": 1000, "ended": "ok", "repeats": 3,
        "device": "cuda", "processor": "NVIDIA RTX A6000", "threads": 1, **other,
    }  # fmt: skip
    return list(cost_rows(Measurement(seconds=seconds, memory_mb=mb, **values)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("stnet", [(0.05125, "agrees")]),
        ("bleep", [(0.408064, "not comparable"), (0.670208, "agrees")]),
        ("histogene", [(7.187506, "not comparable")]),
        ("triplex", [(13.767256, "agrees")]),
        ("stflow", [(1.147724, "agrees")]),
    ],
)
def test_parameters_at_the_defaults(method: str, expected: list[tuple[float, str]]) -> None:
    rows = list(parameter_rows(method, {}, 1024, 50))
    assert [(row["mean"], row["verdict"]) for row in rows] == expected
    assert all(row["reason"] for row in rows)


def test_settings_that_make_another_network_have_a_line_that_names_them() -> None:
    _, row = parameter_rows("stflow", {"layers": 1, "epochs": 3}, 1024, 50)
    assert (row["verdict"], row["reason"]) == ("not comparable", "the configuration sets layers")
    assert row["column"].endswith("as configured")
    assert len(list(parameter_rows("stflow", {"epochs": 3}, 1024, 50))) == 1


def test_on_the_paper_s_gpu_time_and_memory_are_compared() -> None:
    time, memory = measured(0.0135, 400.0)
    assert (time["mean"], time["printed_mean"], time["verdict"]) == (1.35, 1.3, "agrees")
    assert (memory["printed_mean"], memory["difference"], memory["verdict"]) == (150.0, 250.0, "higher")
    assert measured(0.002, 10.0)[0]["verdict"] == "lower"


def test_on_another_machine_they_are_not() -> None:
    time, memory = measured(0.0135, 160.0, processor="NVIDIA H100")
    assert (time["verdict"], memory["verdict"]) == ("not comparable", "agrees")
    assert "NVIDIA H100" in time["reason"]
    time, memory = measured(0.0135, 160.0, device="cpu", processor="A CPU")
    assert (time["verdict"], memory["verdict"]) == ("not comparable", "not comparable")
    assert "a process's memory is not a GPU's" in memory["reason"]


def test_what_did_not_run_and_what_is_not_printed_say_so() -> None:
    time, _ = measured(None, None, ended="out of memory")
    assert (time["mean"], time["printed_mean"], time["verdict"]) == (None, 1.3, "not comparable")
    assert time["reason"] == "ours: out of memory"
    assert measured(0.1, 1.0, spots=300)[0]["reason"] == "nothing is printed"
    assert measured(0.1, 1.0, method="histogene", spots=20_000)[0]["reason"] == "the paper ran out of memory"
    step, _ = measured(0.1, 1.0, what="train")
    assert (step["mean"], step["printed_mean"]) == (0.1, None)
    assert "training step" in step["column"]


def test_the_files(tmp_path: Path) -> None:
    source, out, page = tmp_path / "m.csv", tmp_path / "t.csv", tmp_path / "t.md"
    source.write_text(HEADER + "stflow,default,predict,1000,ok,0.02,0.02,3,10,60,cpu,A CPU,2\n")
    make_table6([source], out, page, json.dumps({"stflow": {"layers": 1}}), 1024, 50)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["row"] for row in rows] == ["ST-Net", "BLEEP", "BLEEP", "HisToGene", "TRIPLEX", *["STFlow"] * 4]
    assert {row["verdict"] for row in rows} <= {"agrees", "higher", "lower", "not comparable"}
    assert rows[-2]["mean"] == "2"
    text = page.read_text()
    assert "Measured on A CPU, 2 threads." in text
    assert "149.046" in text
    make_table6([], out, page, "{}", 1024, 50)
    assert "were not measured" in page.read_text()
