"""What a run would take: counted from Snakemake's own words, with hours and sizes that follow what jobs read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stflow import job_resources
from stflow.config import validate
from stflow.errors import ConfigError
from stflow.plan_cost import GPU_ENCODES, GPU_START_S, Estimate, Stage, dry_run, estimate, job_counts, to_text
from stflow.workflow import Plan

RUN = "lab/D/uni/stflow/default/paper/fold0/seed0"
SAID = f"""host: here
Job stats:
job              count
-------------  -------
embed                2
evaluate             1
predict              1
train                1
total                5

[Thu Nov 26 10:00:00 2026]
Job 4: Embed the tiles of lab/s1 with uni.
Job 5: Embed the tiles of lab/s2 with uni.
Job 2: Train {RUN}.
Job 3: Predict with {RUN}.
Job 1: Score lab/D/uni/stflow/default/paper.
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """Plan a slide to learn from and one to test, of 10,000 spots each."""
    rows = ["D,s1,p1,*,0,train", "D,s2,p2,*,0,test"]
    (tmp_path / "lab.csv").write_text("\n".join(["dataset,slide,patient,protocol,fold,role", *rows]) + "\n")
    (tmp_path / "UNI").mkdir()
    (tmp_path / "UNI" / "pytorch_model.bin").write_bytes(b"x")
    monkeypatch.setattr(job_resources, "spots_of", lambda *_: 10_000)
    lab = {"root": str(tmp_path), "manifest": str(tmp_path / "lab.csv")}
    common = {"benchmarks": {"lab": lab}, "encoders": ["uni"], "weights_root": str(tmp_path), "methods": ["stflow"]}
    return lambda **keys: Plan(validate({**common, "results": str(tmp_path / "results"), **keys}))


def test_jobs_are_those_of_the_dry_run() -> None:
    assert job_counts(SAID) == {"embed": 2, "evaluate": 1, "predict": 1, "train": 1}
    assert job_counts("Nothing to be done (all requested files are present and up to date).") == {}


def test_hours_on_cpus(plan) -> None:
    found = estimate(plan(), SAID, gpus=0)
    assert found.gpu_h == 0
    assert {name: stage.jobs for name, stage in found.stages.items()} == job_counts(SAID)
    epochs = plan().config.settings_of("stflow").epochs
    assert found.stages["train"].cpu_h == pytest.approx((2 + 1.6e-3 * 20_000 * epochs) / 3600)  # the test slide chooses
    assert found.stages["embed"].cpu_h > 4, "20,000 tiles of a ViT-L at less than two a second"
    assert found.wall_h(0, 4) == pytest.approx(found.cpu_h / 4)


def test_hours_on_gpus(plan) -> None:
    on_cpu, on_gpu = (estimate(plan(), SAID, gpus=gpus) for gpus in (0, 2))
    embed = on_gpu.stages["embed"].gpu_h - 2 * GPU_START_S / 3600
    assert 2 * embed * GPU_ENCODES == pytest.approx(on_cpu.stages["embed"].cpu_h, rel=0.01)
    assert 0 < on_gpu.stages["train"].gpu_h < on_cpu.stages["train"].cpu_h
    assert on_gpu.wall_h(2, 1000) == on_gpu.gpu_h / 2
    assert estimate(plan(training={"device": "cpu"}), SAID, gpus=2).gpu_h == 0


def test_sizes_follow_spots_and_features(plan) -> None:
    disk = estimate(plan(), SAID, gpus=0).disk
    assert disk["features"] == 20_000 * 1024 * 4
    assert disk["predictions"] == 10_000 * 50 * 8
    assert 1e6 < disk["models"] < 1e8


def test_a_smaller_network_takes_less(plan) -> None:
    small = plan(settings={"stflow": {"hidden": 16, "heads": 1, "layers": 1}})
    assert estimate(small, SAID, 0).stages["train"].cpu_h < 0.5 * estimate(plan(), SAID, 0).stages["train"].cpu_h


def test_several_samples_take_several_times(plan) -> None:
    several = plan(settings={"stflow": {"samples": 20}})
    one, twenty = (estimate(of, SAID, 0).stages["predict"].cpu_h * 3600 - 2 for of in (plan(), several))
    assert twenty == pytest.approx(20 * one)


def test_finished_trainings_are_taken_before_what_is_written(plan, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "runs" / RUN
    folder.mkdir(parents=True)
    epochs = plan().config.settings_of("stflow").epochs
    record = {"run": RUN, "status": "ok", "device": "cpu", "fit": {"epochs": 10}, "seconds": 60}
    record |= {"spots": {"train": 100, "select": 0}, "seconds_by_phase": {"steps": 50, "selection": 0}}
    (folder / "run.json").write_text(json.dumps(record))
    other = folder.parents[3] / "other" / "paper" / "fold0" / "seed0"  # of another variant, which is slower
    other.mkdir(parents=True)
    slower = {**record, "run": RUN.replace("default", "other"), "seconds_by_phase": {"steps": 5000, "selection": 0}}
    (other / "run.json").write_text(json.dumps(slower))
    found = estimate(plan(), SAID, gpus=0)
    assert found.stages["train"].cpu_h == pytest.approx((2 + 50 / 1000 * 20_000 * epochs) / 3600)
    assert "Measured: median of 1 finished" in found.sources["stflow"]


def test_the_text(plan) -> None:
    text = to_text(estimate(plan(), SAID, gpus=8), 8, 64)
    assert "all                            5" in text
    assert "at least" in text
    assert "assumed" in text
    assert to_text(Estimate(), 0, 1) == "Nothing to be done: all is made."
    with_files = to_text(Estimate(stages={"download_0": Stage(3)}, download=2e9, unknown=1), 0, 1)
    assert "download: 2.00 GB, and 1 files whose size the hub has not told yet" in with_files


def test_what_snakemake_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").write_text("rule all:\n    input: 'missing'\n")
    with pytest.raises(ConfigError, match=r"Snakemake cannot plan this:[\s\S]*missing"):
        dry_run(None, ())
