"""What jobs ask for grows with what they read, and with every attempt; it covers what jobs were seen to take."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stflow import encoder_cost, job_resources
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


@pytest.mark.parametrize(
    ("method", "spots", "step_s", "predict_s"),
    [
        *(("stflow", 300, 0.097, 0.102), ("stflow", 3_000, 0.81, 0.92)),
        *(("histogene", 1_000, 1.31, 0.48), ("histogene", 3_000, 8.91, 2.65)),
        *(("triplex", 300, 4.62, 1.11), ("triplex", 1_000, 16.7, 3.64)),
    ],
)
def test_times_are_those_of_one_core(make, method: str, spots: int, step_s: float, predict_s: float) -> None:
    """Core-seconds of a step on a whole slide, and of its prediction: docs/resources.md, measured on one thread."""
    needs, run_of = make(spots, methods=[method], method_encoders={"histogene": ["uni"]})
    work = needs.work(run_of(method))
    assert (spots * work.step_ms + spots**2 * work.step_pair_us / 1000) / 1000 == pytest.approx(step_s, rel=0.4)
    assert needs.predict_core_s(run_of(method)) == pytest.approx(predict_s, rel=0.4)


@pytest.mark.parametrize("method", ["stflow", "triplex", "histogene"])
def test_an_epoch_is_of_all_regions_and_the_score_that_chooses(make, method: str) -> None:
    """A region has half the spots of a slide and a third of its pairs, on average; the test slide chooses here."""
    common = {"methods": [method], "protocols": ["paper"]}
    needs, run_of = make(3_000, **common)
    run = run_of(method)
    work = needs.work(run)
    region_s = (1_500 * work.step_ms + 3_000_000 * work.step_pair_us / 1000) / 1000
    assert needs.epoch_core_s(run) == pytest.approx(10 * region_s + needs.predict_core_s(run))
    fewer, run_of = make(3_000, settings={method: {"regions_per_slide": 1, "select_every": 4}}, **common)
    assert fewer.epoch_core_s(run_of(method)) == pytest.approx(region_s + needs.predict_core_s(run) / 4)


def test_region_spots_bounds_the_memory_and_the_time_of_a_training(make) -> None:
    common = {"methods": ["stflow"], "protocols": ["paper"], "genes": {"n": 1000}}
    whole, run_of = make(100_000, **common)
    run = run_of("stflow")
    bound, _ = make(100_000, settings={"stflow": {"region_spots": 20_000}}, **common)
    assert bound.train_mb(run) < 0.7 * whole.train_mb(run)
    assert bound.predict_mb(run) == whole.predict_mb(run)
    work = bound.work(run)
    drawn = np.minimum(np.random.default_rng(0).random(200_000) * 100_000, 20_000)
    expected = 10 * drawn.mean() * work.step_ms / 1000 + bound.predict_core_s(run)
    assert bound.epoch_core_s(run) == pytest.approx(expected, rel=0.01)
    above, _ = make(100_000, settings={"stflow": {"region_spots": 200_000}}, **common)
    assert above.train_mb(run) == whole.train_mb(run)
    assert above.epoch_core_s(run) == whole.epoch_core_s(run)


def test_pairs_of_bounded_regions(make) -> None:
    common = {"methods": ["histogene"], "protocols": ["paper"]}
    needs, run_of = make(3_000, settings={"histogene": {"region_spots": 600}}, **common)
    work, run = needs.work(run_of("histogene")), run_of("histogene")
    drawn = np.minimum(np.random.default_rng(0).random(200_000) * 3_000, 600)
    step_s = (drawn.mean() * work.step_ms + (drawn**2).mean() * work.step_pair_us / 1000) / 1000
    assert needs.epoch_core_s(run) == pytest.approx(10 * step_s + needs.predict_core_s(run), rel=0.01)


def test_a_method_on_whole_sections_sees_all_pairs(make) -> None:
    needs, run_of = make(3_000, methods=["triplex"], settings={"triplex": {"sample": "section", "select_every": 100}})
    work = needs.work(run_of("triplex"))
    section_s = (3_000 * work.step_ms + 9_000_000 * work.step_pair_us / 1000) / 1000
    assert needs.epoch_core_s(run_of("triplex")) == pytest.approx(10 * section_s, rel=0.01)


def test_a_forest_takes_what_its_trees_genes_and_features_ask(make) -> None:
    """10,000 spots, 1,024 features, 50 genes x 70 trees: 1,220 s of one core (stflow/models/random_forest/cpu.py)."""
    full, run_of = make(10_000, methods=["random_forest"], protocols=["paper"])
    assert full.epoch_core_s(run_of("random_forest")) == pytest.approx(1_220, rel=0.1)
    genes, run_of = make(10_000, methods=["random_forest"], protocols=["paper"], genes={"n": 500})
    assert genes.epoch_core_s(run_of("random_forest")) == pytest.approx(12_200, rel=0.1)
    small = {"random_forest": {"trees": 7, "max_features": 0.1}}
    fewer, run_of = make(10_000, methods=["random_forest"], protocols=["paper"], settings=small)
    assert fewer.epoch_core_s(run_of("random_forest")) == pytest.approx(12.2, rel=0.1)


def test_a_time_limit_counts_on_two_threads_at_most(make) -> None:
    minutes = []
    for threads in (1, 2, 16):
        needs, run_of = make(3_000, methods=["triplex"], training={"threads": threads, "device": "cpu"})
        minutes.append(needs.train_min(run_of("triplex")) - job_resources.START_MIN)
    assert minutes[0] == pytest.approx(2 * minutes[1], abs=2)
    assert minutes[1] == minutes[2]


def test_a_gpu_is_as_many_cores_on_whole_tiles_as_in_encoding(make, tmp_path: Path) -> None:
    folder = tmp_path / "densenet121.tv_in1k"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"x")
    needs, run_of = make(3_000, methods=["stnet/finetuned", "stflow"])
    assert needs.gpu_cores(run_of("stnet/finetuned")) == encoder_cost.GPU_GFLOPS / encoder_cost.CORE_GFLOPS > 100
    assert needs.gpu_cores(run_of("stflow")) == job_resources.GPU_CORES


def test_encoding_takes_the_time_of_its_tiles_and_network(make) -> None:
    needs, _ = make(5_000, methods=["stflow"], training={"device": "cpu"})
    start = job_resources.START_MIN
    of_one = needs.embed_min("uni", "lab", ["s1"]) - start
    assert of_one == pytest.approx(1.5 * 5_000 / 0.7 / 60, rel=0.1), "0.7 tiles/s on a core"
    assert needs.embed_min("uni", "lab", ["s1", "s2"]) - start == pytest.approx(2 * of_one, abs=1)
    assert needs.embed_min("uni", "lab", ["s1"], attempt=2) == pytest.approx(2 * (of_one + start), abs=1)
    on_gpu, _ = make(5_000, methods=["stflow"], training={"device": "cuda"})
    assert start < on_gpu.embed_min("uni", "lab", ["s1"]) < start + of_one / 50


def test_a_gpu_s_job_has_room_for_cuda_and_asks_for_less_time(make) -> None:
    on_cpu, run_of = make(20_000, methods=METHODS, training={"device": "cpu"})
    on_gpu, gpu_run_of = make(20_000, methods=METHODS, training={"device": "cuda"})
    run, gpu_run = run_of("stflow"), gpu_run_of("stflow")
    assert on_gpu.train_mb(gpu_run) > on_cpu.train_mb(run)
    assert on_gpu.train_min(gpu_run) < on_cpu.train_min(run)


def test_the_demo_is_covered() -> None:
    """Its trainings and predictions held 740 MB at most and took 25 s. Slides not made yet count 390 spots."""
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
