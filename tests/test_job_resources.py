"""What jobs ask for grows with what they read, and with every attempt; it covers what jobs were seen to take."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from stflow import job_resources
from stflow.config import load, validate
from stflow.job_resources import JobResources, growing
from stflow.layout import Run
from stflow.workflow import Plan

ROOT = Path(__file__).parents[1]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[JobResources, Callable[[str], Run]]]:
    """``make(spots, **keys)``: resources of two slides of so many spots, and the run of a row of the tables."""

    def build(spots: float, **keys: object) -> tuple[JobResources, Callable[[str], Run]]:
        rows = ["D,s1,p1,*,0,train", "D,s2,p2,*,0,test"]
        (tmp_path / "lab.csv").write_text("\n".join(["dataset,slide,patient,protocol,fold,role", *rows]) + "\n")
        lab = {"root": str(tmp_path), "manifest": str(tmp_path / "lab.csv")}
        plan = Plan(validate({"benchmarks": {"lab": lab}, "encoders": ["uni"], "weights_root": str(tmp_path), **keys}))
        monkeypatch.setattr(job_resources, "spots_of", lambda *_: spots)

        def run_of(row: str) -> Run:
            method, _, variant = row.partition("/")
            groups = plan.groups(method=method)
            return plan.runs(next(g for g in groups if g.variant == (variant or "default")))[0]

        return JobResources(plan), run_of

    (tmp_path / "UNI").mkdir()
    (tmp_path / "UNI" / "pytorch_model.bin").write_bytes(b"x")
    return build


def all_of(needs: JobResources, run: Run, attempt: int = 1) -> tuple[int, ...]:
    asked = (needs.train_mb, needs.predict_mb, needs.train_min, needs.predict_min)
    return tuple(ask(run, attempt) for ask in asked)


METHODS = ["mean", "ridge", "bleep", "random_forest", "triplex", "stflow"]


@pytest.mark.parametrize("method", METHODS)
def test_more_spots_more_genes_and_more_attempts_ask_for_more(make, method: str) -> None:
    small, run_of = make(1_000, methods=METHODS)
    asked = all_of(small, run_of(method))
    large, run_of = make(100_000, methods=METHODS)
    assert all(more > less for more, less in zip(all_of(large, run_of(method))[:2], asked[:2], strict=True))
    assert all(more >= less for more, less in zip(all_of(large, run_of(method)), asked, strict=True))
    genes, run_of = make(100_000, methods=METHODS, genes={"n": 1000})
    assert genes.train_mb(run_of(method)) > large.train_mb(run_of(method))
    again = all_of(small, run_of(method), attempt=2)
    assert all(1.9 * less - 500 <= more <= 2 * less for more, less in zip(again, asked, strict=True))
    assert all_of(small, run_of(method), attempt=9)[2] <= job_resources.LONGEST_MIN


@pytest.mark.parametrize(
    ("method", "spots", "train_mb"), [("stflow", 20_000, 2_500), ("stflow", 10_000, 1_600), ("triplex", 3_000, 8_500)]
)
def test_what_was_measured_is_covered_and_not_by_far(make, method: str, spots: int, train_mb: int) -> None:
    """Memory of a training step on one slide, docs/baselines.md."""
    needs, run_of = make(spots, methods=METHODS, training={"device": "cpu"})
    assert train_mb < needs.train_mb(run_of(method)) < 4 * train_mb + 2 * job_resources.LIBRARIES_MB


def test_a_gpu_s_job_has_room_for_cuda_and_asks_for_less_time(make) -> None:
    on_cpu, run_of = make(20_000, methods=METHODS, training={"device": "cpu"})
    on_gpu, gpu_run_of = make(20_000, methods=METHODS, training={"device": "cuda"})
    run, gpu_run = run_of("stflow"), gpu_run_of("stflow")
    assert on_gpu.train_mb(gpu_run) > on_cpu.train_mb(run)
    assert on_gpu.train_min(gpu_run) < on_cpu.train_min(run)


def test_the_demo_is_covered() -> None:
    """Its trainings and predictions held 740 MB at most and took 16 s. Slides not made yet count 2,000 spots."""
    plan = Plan(load(ROOT / "config" / "demo.yaml"))
    needs = JobResources(plan)
    runs = [run for group in plan.groups() for run in plan.runs(group)]
    assert all(740 < needs.train_mb(run) <= 12_000 for run in runs)
    assert all(740 < needs.predict_mb(run) <= 4_000 for run in runs)
    assert all(job_resources.START_MIN <= needs.train_min(run) < 240 for run in runs)


def test_every_rule_of_a_cluster_grows_with_attempts() -> None:
    """Jobs that stay with Snakemake aside, and those whose bound is the configuration's."""
    rules = {}
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for text in re.split(r"^\s*(?=rule\b)", path.read_text(), flags=re.MULTILINE)[1:]:
            if "shell:" in text and "localrule: True" not in text:
                found = re.search(r"rule (\w+):", text) or re.search(r'name:\s+f?"(\S+)"', text)
                rules[found[1] if found else text[:60]] = text
    assert len(rules) > 30
    for name, text in rules.items():
        for resource in ("mem_mb", "runtime"):
            asked = re.search(rf"{resource}=(.*)", text)
            assert asked, f"{name} does not say its {resource}"
            if name not in ("efficiency", "provenance") and not (resource == "runtime" and name.startswith("hub")):
                assert "growing(" in asked[1] or "attempt" in asked[1], f"{resource} of {name}: {asked[1]}"


def test_growing() -> None:
    assert [growing(100)(None, attempt) for attempt in (1, 2, 3)] == [100, 200, 400]
