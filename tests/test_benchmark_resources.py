"""benchmarks/resources.py: what jobs asked for beside what they took, on made timings."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from stflow.job_resources import JobResources
from stflow.layout import Run
from stflow.workflow import Plan

FOLDER = Path(__file__).parents[1] / "benchmarks"
RUN = "lab/D/uni/{method}/default/paper/fold0/seed0"


@pytest.fixture
def resources(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("benchmark_resources", FOLDER / "resources.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with a configuration; slides not there count 2,000 spots."""
    rows = ["D,s1,p1,*,0,train", "D,s2,p2,*,0,test"]
    (tmp_path / "lab.csv").write_text("\n".join(["dataset,slide,patient,protocol,fold,role", *rows]) + "\n")
    (tmp_path / "UNI").mkdir()
    (tmp_path / "UNI" / "pytorch_model.bin").write_bytes(b"x")
    config = {
        "results": str(tmp_path / "elsewhere"),
        "benchmarks": {"lab": {"root": str(tmp_path), "manifest": str(tmp_path / "lab.csv")}},
        "encoders": ["uni"],
        "methods": ["ridge", "bleep"],
        "protocols": ["paper"],
        "weights_root": str(tmp_path),
        "training": {"device": "cpu"},
    }
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def timing(results: Path, place: str, s: float, max_rss: float, cpu_time: float) -> None:
    path = results / "timings" / f"{place}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\tmax_rss\tcpu_time\tgpus\tmax_gpu_mb\n{s}\t{max_rss}\t{cpu_time}\t0\t0.0\n")


def test_a_row_is_of_the_job_nearest_to_its_limit(resources: ModuleType, results: Path) -> None:
    timing(results, "tile/lab/s1", s=60, max_rss=500, cpu_time=30)
    timing(results, "tile/lab/s2", s=30, max_rss=800, cpu_time=45)
    (row,) = resources.rows(list(resources.jobs(results)))
    plan = Plan(resources.load(results / "config.yaml"))
    assert (row.rule, row.of, row.jobs, row.asked_mb, row.used_mb, row.mb_ratio) == ("tile", "lab", 2, 4000, 800, 5)
    assert (row.asked_min, row.used_min) == (JobResources(plan).tile_min("lab", "s1"), 1.0)
    assert row.cores == 1.0, "half a core, and one and a half"
    assert row.remark == ""


def test_what_is_asked_is_what_the_workflow_asks(resources: ModuleType, results: Path) -> None:
    needs = JobResources(Plan(resources.load(results / "config.yaml")))
    for stage in ("train", "predict"):
        timing(results, f"{stage}/{RUN.format(method='ridge')}", s=6, max_rss=500, cpu_time=6)
    timing(results, "embed/uni/lab/s1", s=600, max_rss=4_000, cpu_time=6)
    timing(results, f"train/{RUN.format(method='knn')}", s=6, max_rss=500, cpu_time=6)  # no longer configured
    timing(results, "map_genes/lab/D", s=6, max_rss=500, cpu_time=6)  # a stage that asks for nothing of its size
    found = {(row.rule, row.of): row for row in resources.rows(list(resources.jobs(results)))}
    assert set(found) == {("train", "ridge"), ("predict", "ridge"), ("embed", "uni")}
    run = Run.parse(RUN.format(method="ridge"))
    assert found["train", "ridge"].asked_mb == needs.train_mb(run)
    assert found["predict", "ridge"].asked_min == needs.predict_min(run)
    assert found["embed", "uni"].asked_min == needs.embed_min("uni", "lab", ["s1"])


@pytest.mark.parametrize(
    ("asked_mb", "used_mb", "asked_min", "used_min", "remark"),
    [
        (1000, 900, 60, 30, "too little memory"),
        (4000, 2000, 60, 55, "too little time"),
        (4000, 300, 60, 30, "too much memory"),
        (1000, 50, 30, 0.1, ""),  # small requests
        (4000, 2000, 60, 3, "too much time"),
        (900, 890, 600, 1, "too little memory, too much time"),
    ],
)
def test_requests_far_from_their_use_are_marked(
    resources: ModuleType, asked_mb: float, used_mb: float, asked_min: float, used_min: float, remark: str
) -> None:
    job = resources.Job("train", "x", asked_mb, used_mb, asked_min, used_min, 1.0)
    (row,) = resources.rows([job])
    assert row.remark == remark
    assert resources.table([row]).splitlines()[2].startswith(f"| train | x | 1 | {asked_mb:,} | {used_mb:,} |")
