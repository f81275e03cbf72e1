"""What is to be downloaded: sizes from locks, else from what is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from stflow.config import load
from stflow.data.facts import slide_facts
from stflow.data.hub.lock import NAME as HUB_LOCK
from stflow.io import write_json
from stflow.plan_download import counts_b, of_her2st, of_hub
from stflow.workflow import Plan

ROOT = Path(__file__).parents[1]


@pytest.fixture
def paper(tmp_path: Path) -> Plan:
    return Plan(load(ROOT / "config" / "config.yaml").model_copy(update={"results": tmp_path}))


def test_without_a_lock_sizes_follow_from_published_slides_and_encoders(paper: Plan) -> None:
    found = of_hub(paper)
    assert found.known == found.unknown == 0, "slides and weights of the paper are all published"
    patches = sum(facts.patches or 0 for facts in slide_facts("hest").values()) * 224 * 224 * 3
    counts = sum(facts.spots * facts.genes * 2 for facts in slide_facts("stimage").values())
    weights = 4 * (11e6 + 303e6 + 1_135e6 + 86e6 + 7e6)
    assert found.estimated > patches + counts + weights
    assert found.estimated < 1.6 * (patches + counts + weights)


def test_a_lock_s_size_goes_before_an_estimate_and_what_is_here_is_not_downloaded(paper: Plan) -> None:
    everything = of_hub(paper)
    wanted = next(item for item in paper.downloads() if item.repository == "MahmoodLab/UNI")
    write_json(wanted.root / HUB_LOCK, {"files": {"pytorch_model.bin": {"bytes": 7}}})
    locked = of_hub(paper)
    assert locked.known == 7
    assert locked.estimated == pytest.approx(everything.estimated - 4 * 303_350_784)
    (wanted.root / "pytorch_model.bin").touch()
    assert of_hub(paper).known == 0


def test_only_repositories_whose_jobs_run_are_counted(paper: Plan) -> None:
    (number,) = (n for n, item in enumerate(paper.downloads()) if item.repository == "MahmoodLab/UNI")
    found = of_hub(paper, {f"download_{number}"}.__contains__)
    assert found.total == 4 * 303_350_784


def test_counts_hold_no_more_than_the_slide_s_genes(paper: Plan) -> None:
    assert counts_b(paper, "hest", "TENX95") == 11_845 * 541 * 8
    slide = paper.slides("stimage")[0]
    facts = next(facts for facts in slide_facts("stimage").values() if facts.slide == slide)
    assert counts_b(paper, "stimage", slide) == facts.spots * 80_000, "of 33,538 genes a spot has 10,000 at most"


def test_her2st_has_published_sizes(tmp_path: Path) -> None:
    config = load(ROOT / "config" / "her2st.yaml").model_copy(update={"results": tmp_path})
    plan = Plan(config)
    assert of_her2st(plan, "her2st") == pytest.approx(29e6, rel=0.02), "as the README says"
    for path in plan.counts_files("her2st", "A1"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert of_her2st(plan, "her2st") < 26e6
    pack = {"her2st": config.benchmarks["her2st"].model_copy(update={"pack": tmp_path})}
    assert of_her2st(Plan(config.model_copy(update={"benchmarks": pack})), "her2st") == 0
