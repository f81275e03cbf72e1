"""The estimate: its arithmetic, and what it takes its costs from."""

from pathlib import Path

import pytest

from stflow.config import load
from stflow.io import write_json
from stflow.search.estimate import Cost, Load, _hours, cost_of, estimate, job_s, measured, read_records, spots_of
from stflow.search.estimate import load as load_of
from stflow.search.space import Rung, Space
from stflow.workflow import Plan

ROOT = Path(__file__).parents[2]


def record(device: str = "cpu", status: str = "ok", epochs: int = 10, steps: float = 18.0) -> dict:
    return {
        "status": status,
        "device": device,
        "fit": {"epochs": epochs},
        "seconds": steps + 2.0 + 5.0,
        "seconds_by_phase": {"steps": steps, "selection": 2.0, "start-up": 0.5},
        "spots": {"train": 800, "select": 200},
        "cores": 1.0,
    }


def test_hours_are_trials_times_epochs_times_spots_and_the_start_of_each_job() -> None:
    cost = Cost(spot_s=0.001, slide_s=0.5, start_s=36.0, source="")
    loads = [Load(1000, 2), Load(3000, 4)]
    space = Space({"heads": [1, 2]})
    # An epoch over both folds: 4 s of spots, 3 s of slides.
    assert _hours(cost, Rung(20, 9), 9, loads, 100, space) == pytest.approx((20 * 9 * 7 + 100 * 36) / 3600)


def test_more_neighbours_cost_more() -> None:
    cost = Cost(1.0, 0.0, 0.0, "", neighbours=8, neighbour_share=0.05)
    assert cost.times([{"neighbours": 8}]) == cost.times([{"heads": 2}]) == 1.0
    assert cost.times([{"neighbours": 4}, {"neighbours": 8}, {"neighbours": 25}]) == pytest.approx(1 + 0.05 * 13 / 3)


def test_costs_are_the_median_of_finished_trainings_on_the_device() -> None:
    records = [record(steps=18.0), record(steps=18.0), record(steps=98.0), record("cuda", steps=0.0)]
    found = measured([*records, record(status="failed", steps=0.0)], "cpu")
    assert found is not None
    assert found.spot_s == pytest.approx(20.0 / (10 * 1000))
    assert found.start_s == pytest.approx(5.0)
    assert "3 finished trainings" in found.source
    assert measured([record(status="failed"), record(epochs=0)], "cpu") is None


def test_on_a_cpu_costs_are_core_seconds_by_the_job_s_timing_or_its_threads(tmp_path: Path) -> None:
    run = "b/D/e/stflow/default/clean/fold0/seed0"
    own = {name: value for name, value in record().items() if name != "cores"}
    write_json(tmp_path / "runs" / run / "run.json", {**own, "threads": 4})
    cost = cost_of(tmp_path, "stflow", ("cpu",))
    assert cost is not None
    assert cost.spot_s == pytest.approx(4 * 20.0 / (10 * 1000)), "four threads, all busy as far as is known"
    timing = tmp_path / "timings" / "train" / f"{run}.tsv"
    timing.parent.mkdir(parents=True)
    timing.write_text("s\tmax_rss\tcpu_time\tgpus\tmax_gpu_mb\n30.0\t500.0\t75.0\t0\t0.0\n")
    (record_read,) = read_records(tmp_path, "stflow")
    assert record_read["cores"] == 2.5
    cost = cost_of(tmp_path, "stflow", ("cpu",))
    assert cost is not None
    assert (cost.spot_s, cost.start_s) == pytest.approx((2.5 * 20.0 / (10 * 1000), 2.5 * 5.0))
    write_json(tmp_path / "runs" / run / "run.json", {**own, "device": "cuda", "threads": 4})
    cost = cost_of(tmp_path, "stflow", ("cuda",))
    assert cost is not None
    assert cost.spot_s == pytest.approx(20.0 / (10 * 1000)), "a GPU's own seconds"


@pytest.mark.parametrize(
    ("name", "slide", "spots"), [("demo", "DEMO1A", 390), ("her2st", "A1", 346), ("her2st", "C4", 184)]
)
def test_what_will_be_made_has_known_spots(tmp_path: Path, name: str, slide: str, spots: int) -> None:
    plan = Plan(load(ROOT / "config" / f"{name}.yaml").model_copy(update={"results": tmp_path}))
    benchmark = {"demo": "demo_hest", "her2st": "her2st"}[name]
    assert spots_of(plan, benchmark, plan.dataset_of(benchmark, slide), slide) == spots


def test_jobs_of_a_rung_add_up_to_its_hours(paper: Plan) -> None:
    cost = Cost(spot_s=1e-3, slide_s=0.5, start_s=36.0, source="")
    case = next(case for case in paper.search.cases() if case.dataset == "IDC")
    for number, rung in enumerate(paper.search.rungs(case.method)):
        jobs = paper.search.jobs(case.method, number)
        epochs = rung.epochs or paper.config.settings_of(case.method).epochs
        hours = _hours(cost, rung, epochs, [load_of(paper, case, 0)], jobs, paper.search.space(case.method))
        assert jobs * job_s(paper, paper.search.run(case, 0), number, cost) / 3600 == pytest.approx(hours)


def test_finished_trainings_go_before_what_is_known_and_a_gpu_before_the_cpu(tmp_path: Path) -> None:
    known = cost_of(tmp_path, "stflow", ("cuda", "cpu"), regions=10)
    assert known is not None
    assert known.source.startswith("Assumed")
    half = cost_of(tmp_path, "stflow", ("cuda",), regions=5)
    assert half is not None
    assert (half.spot_s, half.slide_s) == pytest.approx((known.spot_s / 2, known.slide_s / 2))
    assert cost_of(tmp_path, "another", ("cuda", "cpu")) is None
    path = tmp_path / "runs/b/D/e/stflow/default/clean/fold0/seed0/run.json"
    write_json(path, record("cuda"))
    found = cost_of(tmp_path, "stflow", ("cuda", "cpu"))
    assert found is not None
    assert found.source == "Measured: median of 1 finished trainings (cuda)."
    assert found.neighbour_share == known.neighbour_share


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    config = load(ROOT / "config" / "config.yaml")
    return Plan(config.model_copy(update={"results": tmp_path_factory.mktemp("results")}))


def test_spots_are_those_of_the_training_and_select_slides(paper: Plan) -> None:
    case = next(case for case in paper.search.cases() if case.dataset == "IDC")
    fold = paper.folds["hest", "IDC", "clean"][0]
    found = load_of(paper, case, 0)
    assert found.spots == sum(spots_of(paper, "hest", "IDC", name) for name in (*fold.train, *fold.select))
    assert found.slides == len(fold.train)
    single = next(case for case in paper.search.cases() if case.dataset == "SKCM")
    (slide,) = paper.folds["hest", "SKCM", "clean"][0].train
    assert load_of(paper, single, 0).spots == spots_of(paper, "hest", "SKCM", slide)


def test_the_paper_s_search_fits_a_week_of_eight_gpus_and_without_halving_it_does_not(paper: Plan) -> None:
    text = estimate(paper, 8)
    assert "972 candidates on 39 folds of 14 datasets" in text
    lines = text.splitlines()
    total = next(line for line in lines if line.endswith("on 8 GPU(s)"))
    full = next(line for line in lines if "without halving" in line)
    assert float(total.split(": ")[1].split(" days")[0]) < 7
    assert float(full.split(", ")[-1].split(" days")[0]) > 7
    trials = [int(line.split()[3].replace(",", "")) for line in lines if line.split()[0] in "0123"]
    assert trials == [39 * n for n in (972, 324, 108, 36)]


def test_the_guide_shows_what_is_printed(tmp_path: Path) -> None:
    config = load(ROOT / "config" / "search.yaml").model_copy(update={"results": tmp_path})
    text = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
    assert f"```\n{estimate(Plan(config), 8)}\n```" in text
