"""Hours and the estimate of energy, from what jobs left."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

from stflow.io import write_json
from stflow.layout import Group, Layout
from stflow.report.energy import Cost, Job, read_jobs, rows, totals

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def timing(path: Path, *lines: tuple[object, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + "".join(f"{s}\t0:00:01\t1\t1\t1\t1\t0\t0\t50\t{cpu}\n" for s, cpu in lines))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def run(method: str, variant: str = "default"):
    return Group("lab", "D", "uni", method, variant, "clean").run(0, 0)


def test_jobs_are_told_by_stage_and_method_and_device(layout: Layout) -> None:
    timing(layout.results / "timings" / "tile" / "lab" / "s1.tsv", (10, 8))
    timing(layout.results / "timings" / "embed" / "uni" / "lab" / "part0.1.tsv", (100, 50))
    for stage in ("train", "predict"):
        timing(layout.timing(stage, run("stflow")), (36, 18))
        timing(layout.timing(stage, run("ridge")), (7.2, 3.6))
    timing(layout.timing("predict", run("stflow", "steps_1")), (36, 18))
    write_json(layout.run_json(run("stflow")), {"device": "cuda"})
    write_json(layout.run_json(run("ridge")), {"device": "cpu"})
    features = layout.features("uni", "lab", "s1")
    features.parent.mkdir(parents=True)
    with h5py.File(features, "w") as handle:
        handle.attrs["machine"] = "NVIDIA A100, torch 2"
    found = totals(read_jobs(layout.results))
    assert list(found) == [
        ("tile", ""), ("embed", "uni"), ("train", "ridge"), ("train", "stflow"), ("predict", "ridge"),
        ("predict", "stflow"),
    ]  # fmt: skip
    assert found["predict", "stflow"].n_jobs == 2
    assert found["predict", "stflow"].gpu_h == pytest.approx(0.02), "a variant without a training is as its method"
    assert found["embed", "uni"].gpu_h == pytest.approx(100 / 3600)
    assert found["train", "ridge"].gpu_h == found["tile", ""].gpu_h == 0
    assert found["train", "ridge"].cpu_h == pytest.approx(0.001)


def test_a_job_whose_cpu_time_was_not_seen_counts_as_one_busy_core(layout: Layout) -> None:
    timing(layout.results / "timings" / "tile" / "lab" / "a.tsv", (0.2, "-"))
    timing(layout.results / "timings" / "tile" / "lab" / "b.tsv", (5, 2), (7, 4))
    timing(layout.results / "timings" / "tile" / "lab" / "empty.tsv")
    jobs = list(read_jobs(layout.results))
    assert [(job.wall_s, job.cpu_s) for job in jobs] == [(0.2, 0.2), (12, 6)]


def test_energy_is_cpu_time_and_gpu_wall_time_by_their_power() -> None:
    cost = Cost() + Job("train", "stflow", 7200.0, 3600.0, True) + Job("train", "stflow", 3600.0, 1800.0, False)
    assert cost.energy_wh(10, 300) == pytest.approx(1.5 * 10 + 2 * 300)
    lines = rows({("train", "stflow"): cost, ("tile", ""): cost}, 10, 300)
    assert lines[-1]["stage"] == "all"
    assert lines[-1]["energy_wh_estimate"] == pytest.approx(2 * lines[0]["energy_wh_estimate"])
    assert lines[-1]["jobs"] == 4


def test_a_folder_without_timings_has_no_jobs(tmp_path: Path) -> None:
    assert rows(totals(read_jobs(tmp_path)), 10, 300)[-1]["jobs"] == 0
