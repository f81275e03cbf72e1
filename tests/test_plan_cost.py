"""What a run would take: counted from Snakemake's own words, with hours and sizes that follow what jobs read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from stflow import encoder_cost, job_resources
from stflow.config import load, validate
from stflow.encoders.names import EncoderName
from stflow.errors import ConfigError
from stflow.job_resources import GPU_CORES
from stflow.plan_cost import GATHERING, GPU_START_S, START_S, dry_run, estimate, gathering, job_counts
from stflow.search.estimate import Load, known_cost
from stflow.search.estimate import estimate as search_estimate
from stflow.workflow import Plan

ROOT = Path(__file__).parents[1]

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
    common: dict[str, object] = {
        "benchmarks": {"lab": lab},
        "encoders": ["uni"],
        "weights_root": str(tmp_path),
        "methods": ["stflow"],
    }
    common["protocols"] = ["paper"]
    return lambda **keys: Plan(validate({**common, "results": str(tmp_path / "results"), **keys}))


def test_jobs_are_those_of_the_dry_run() -> None:
    assert job_counts(SAID) == {"embed": 2, "evaluate": 1, "predict": 1, "train": 1}
    assert job_counts("Nothing to be done (all requested files are present and up to date).") == {}


def test_rules_that_only_gather_are_no_jobs(plan) -> None:
    table = SAID.replace(
        "total                5",
        "all                  1\nD                    1\nstflow               1\ntotal                8",
    )
    assert set(job_counts(table)) - gathering(plan()) == set(job_counts(SAID))
    assert set(estimate(plan(), table, gpus=0).stages) == set(job_counts(SAID))


def test_the_workflow_s_gathering_rules_are_those_without_a_command() -> None:
    with_command, without = set(), set()
    for path in (ROOT / "workflow" / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")):
        for text in re.split(r"^ *rule\b", path.read_text(), flags=re.MULTILINE)[1:]:
            if name := re.match(r" (\w+):", text):
                (with_command if "shell:" in text else without).add(name[1])
    assert len(with_command) > 20
    assert without == GATHERING - {"table7", "table8"}, "the two have their names from a loop"
    assert not GATHERING & with_command


def test_core_hours(plan) -> None:
    found = estimate(plan(), SAID, gpus=0)
    assert found.gpu_h == 0
    assert {name: stage.jobs for name, stage in found.stages.items()} == job_counts(SAID)
    epochs = plan().config.settings_of("stflow").epochs
    # Ten regions of half the slide on average, and the test slide of the same size chooses the epoch.
    epoch_s = 10 * 5_000 * 0.3e-3 + 10_000 * 0.3e-3
    assert found.stages["train"].core_h == pytest.approx((START_S + epoch_s * epochs) / 3600)
    assert found.stages["predict"].core_h == pytest.approx((START_S + 10_000 * 0.3e-3) / 3600)
    encoded_s = encoder_cost.core_s(EncoderName.parse("uni"), 20_000)
    assert found.stages["embed"].core_h == pytest.approx((2 * START_S + encoded_s) / 3600)
    assert found.trainings == {"stflow": found.stages["train"]}
    assert found.wall_h(0, 4) == pytest.approx(found.core_h / 4)


def test_hours_on_gpus(plan) -> None:
    on_cpu, on_gpu = (estimate(plan(), SAID, gpus=gpus) for gpus in (0, 2))
    embed = on_gpu.stages["embed"].gpu_h - 2 * GPU_START_S / 3600
    assert embed * 3600 == pytest.approx(encoder_cost.gpu_s(EncoderName.parse("uni"), 20_000))
    epochs = plan().config.settings_of("stflow").epochs
    as_searched = known_cost("stflow", "cuda", 10).epoch_s(Load(20_000, 1))
    assert on_gpu.stages["train"].gpu_h == pytest.approx((GPU_START_S + as_searched * epochs) / 3600)
    predicted = on_cpu.stages["predict"].core_h * 3600 - START_S
    assert on_gpu.stages["predict"].gpu_h == pytest.approx((GPU_START_S + predicted / GPU_CORES) / 3600)
    assert on_gpu.stages["train"].core_h == on_gpu.stages["train"].gpu_h, "one core gives the GPU its work"
    assert on_gpu.wall_h(2, 1000) == on_gpu.gpu_h / 2
    assert estimate(plan(training={"device": "cpu"}), SAID, gpus=2).gpu_h == 0


def test_sizes_follow_spots_and_features(plan) -> None:
    disk = estimate(plan(), SAID, gpus=0).disk
    assert disk["features"] == 20_000 * 1024 * 4
    assert disk["predictions"] == 10_000 * 50 * 8
    assert 1e6 < disk["models"] < 1e8


def test_a_smaller_network_takes_less(plan) -> None:
    small = plan(settings={"stflow": {"hidden": 16, "heads": 1, "layers": 1}})
    assert estimate(small, SAID, 0).stages["train"].core_h < 0.5 * estimate(plan(), SAID, 0).stages["train"].core_h


def test_several_samples_take_several_times(plan) -> None:
    several = plan(settings={"stflow": {"samples": 20}})
    one, twenty = (estimate(of, SAID, 0).stages["predict"].core_h * 3600 - 2 for of in (plan(), several))
    assert twenty == pytest.approx(20 * one)


def finished(results: Path, run: str, steps_s: float, epochs: int) -> None:
    """A training's record: 1,000 spots, ten seconds beside its steps, all on one core."""
    folder = results / "runs" / run
    folder.mkdir(parents=True)
    record = {"run": run, "status": "ok", "device": "cpu", "fit": {"epochs": epochs}, "seconds": steps_s + 10}
    record |= {"spots": {"train": 1000, "select": 0}, "seconds_by_phase": {"steps": steps_s, "selection": 0}}
    (folder / "run.json").write_text(json.dumps(record))


def test_finished_trainings_tell_what_an_epoch_costs_and_when_they_stop(plan, tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert "a bound from above" in estimate(plan(), SAID, gpus=0).sources["stflow"]
    finished(results, RUN, steps_s=50, epochs=10)
    finished(results, RUN.replace("seed0", "seed1"), steps_s=100, epochs=20)
    finished(results, RUN.replace("seed0", "seed2"), steps_s=350, epochs=70)
    finished(results, RUN.replace("default", "other"), steps_s=5_000, epochs=3)  # another variant, which is slower
    found = estimate(plan(), SAID, gpus=0)
    assert found.stages["train"].core_h == pytest.approx((10 + 5e-3 * 20_000 * 20) / 3600)
    assert "Measured: median of 3 finished" in found.sources["stflow"]
    assert "finished ones of the dataset for 1 of 1" in found.sources["stflow"]


def test_the_epochs_of_another_dataset_say_nothing(plan, tmp_path: Path) -> None:
    finished(tmp_path / "results", RUN.replace("lab/D", "lab/E"), steps_s=50, epochs=10)
    found = estimate(plan(), SAID, gpus=0)
    epochs = plan().config.settings_of("stflow").epochs
    assert found.stages["train"].core_h == pytest.approx((10 + 5e-3 * 20_000 * epochs) / 3600)
    assert "a bound from above" in found.sources["stflow"]


def test_a_search_s_jobs_cost_what_the_search_s_own_estimate_says(tmp_path: Path) -> None:
    config = load(ROOT / "config" / "search.yaml")
    of_two = config.search.model_copy(update={"datasets": ["hest/IDC", "hest/SKCM"]})
    paper = Plan(config.model_copy(update={"results": tmp_path, "search": of_two}))
    said, jobs = [], {"search_slice": 0, "search_rung": 0}
    for case in paper.search.cases():
        for fold in paper.search.folds(case.benchmark, case.dataset):
            for rung in range(len(paper.search.rungs(case.method))):
                for number, path in enumerate(paper.search.trials(case, fold, rung)):
                    of = f"candidates {path.stem.removeprefix('places')} of rung {rung}" if rung else path.stem
                    said.append(f"Job {number}: Try {of} on {paper.search.run(case, fold)}.")
                    jobs["search_rung" if rung else "search_slice"] += 1
    table = "".join(f"{name}  {number}\n" for name, number in jobs.items())
    found = estimate(paper, f"Job stats:\n{table}\n" + "\n".join(said), gpus=8)
    told = re.search(r"([\d,]+) GPU hours", search_estimate(paper, 8))[1]
    assert found.gpu_h == pytest.approx(float(told.replace(",", "")), abs=1)
    assert found.gpu_h > 20
    assert found.sources == {"search of stflow": known_cost("stflow", "cuda").source}


def test_what_snakemake_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").write_text("rule all:\n    input: 'missing'\n")
    with pytest.raises(ConfigError, match=r"Snakemake cannot plan this:[\s\S]*missing"):
        dry_run(None, ())
