"""Jobs of a workflow on eight devices that are only named: each has its own, all are busy, none has two jobs."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
import yaml

pytestmark = pytest.mark.workflow

SLIDES = ("s1", "s2", "s3")
CONFIG = {
    "benchmarks": {"lab": {"root": "lab", "manifest": "lab.csv"}},
    "encoders": ["classical"],
    "methods": ["mlp"],
    "protocols": ["paper"],
    "seeds": list(range(10)),  # in two folds: twenty trainings
}
EIGHT = "0,1,2,3,4,5,6,7"


@pytest.fixture(scope="module")
def lab(tree):
    """A copy with stand-in commands."""
    tree.set_up_lab(SLIDES)
    return tree


def trainings(lab, training: Mapping[str, object], *options: str, **variables: str):
    """Run the twenty trainings anew; what Snakemake said, and the events of leases in their order."""
    (lab.root / "lab.yaml").write_text(yaml.safe_dump({**CONFIG, "training": dict(training)}))
    record = lab.root / "leases.jsonl"
    record.unlink(missing_ok=True)
    targets = [
        f"results/runs/lab/D/classical/mlp/default/paper/fold{fold}/seed{seed}/model.safetensors"
        for fold in (0, 1)
        for seed in range(10)
    ]
    own = {"STFLOW_LEASES": str(lab.root / "leases"), "STFLOW_LEASE_RECORD": str(record)}
    done = lab.snakemake(
        *targets,
        "--forcerun",
        "train",
        "--configfile",
        "lab.yaml",
        *options,
        **own,
        **{"SHAM_SECONDS": "1.5", **variables},
    )
    events = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    return done, sorted(events, key=lambda event: event["time"])


def most_at_a_time(events: Sequence[Mapping[str, object]]) -> tuple[dict[str, int], int]:
    """Most jobs that a device had at the same time, and most jobs that had one."""
    now: Counter[str] = Counter()
    peak: Counter[str] = Counter()
    together = 0
    for event in events:
        now[event["gpu"]] += 1 if event["event"] == "taken" else -1
        peak |= now
        together = max(together, now.total())
    return dict(peak), together


def test_eight_devices(lab) -> None:
    done, events = trainings(lab, {}, "--cores", "16", CUDA_VISIBLE_DEVICES=EIGHT)
    assert done.returncode == 0, done.stdout[-3000:]
    assert len(events) == 40
    peak, together = most_at_a_time(events)
    assert peak == dict.fromkeys(EIGHT.split(","), 1)
    assert together == 8


def test_two_devices_are_two_jobs_though_eight_are_allowed(lab) -> None:
    done, events = trainings(lab, {}, "--cores", "16", CUDA_VISIBLE_DEVICES="3,5", SHAM_SECONDS="0.2")
    assert done.returncode == 0, done.stdout[-3000:]
    assert most_at_a_time(events) == ({"3": 1, "5": 1}, 2)
    logs = (lab.root / "results" / "logs" / "train").rglob("*.log")
    assert not any("waiting" in log.read_text() for log in logs), "a job was started that had to wait"


def test_three_jobs_a_device(lab) -> None:
    training = {"jobs_per_gpu": 3}
    done, events = trainings(lab, training, "--cores", "16", CUDA_VISIBLE_DEVICES="0,1")
    assert done.returncode == 0, done.stdout[-3000:]
    assert most_at_a_time(events) == ({"0": 3, "1": 3}, 6)


def test_without_a_gpu_jobs_run_on_the_cpu_or_not_at_all(lab) -> None:
    done, events = trainings(lab, {"device": "auto"}, "--cores", "4", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stdout[-3000:]
    assert not events
    done, events = trainings(lab, {"device": "cuda"}, "--cores", "4", CUDA_VISIBLE_DEVICES="")
    assert done.returncode != 0
    assert "training.device is cuda, and no GPU is visible here" in done.stdout
    assert "Finished jobid" not in done.stdout
