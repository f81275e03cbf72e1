"""What an edit reruns: the stages that reach the edited code, and what follows them. Commands are stand-ins."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from stflow.layout import Group, Layout
from stflow.plan_cost import dry_run, job_counts

SLIDES = ("s1", "s2", "s3")
CONFIG = {
    "benchmarks": {"lab": {"root": "lab", "manifest": "lab.csv"}},
    "encoders": ["classical"],
    "methods": ["mean", "stflow"],
    "protocols": ["clean"],
    "seeds": [0],
    "figures": {"biomarkers": [{"benchmark": "lab", "slide": "s3", "gene": "GATA3"}]},
}
DENOISER = "stflow/models/stflow/denoiser.py"
#: What is made of scores, beside the paper's tables: tables with a page each, and a figure.
TABLES = ("table1", "methods", "scores", "protocol_gap", "intervals", "comparisons", "runs", "provenance", "summary")
SCORED = {**dict.fromkeys((*TABLES, "critical_difference"), 1), "report": 1}
#: What shows the configuration, which the record of it brings up to date.
RECORD = {"provenance": 1, "summary": 1, "table_page": 2, "report": 1}
#: The paper's tables beside table 1 that show STFlow; no other method runs here that they show.
OF_STFLOW = {"paper_table": 9, "table_page": 9 + len(TABLES)}
#: Any line of code will do; all modules of the package begin with this one.
FUTURE = "from __future__ import annotations"


@pytest.fixture(scope="module")
def done(make_tree) -> object:
    """A finished workflow of two folds, two methods and one map, in a copy of the repository."""
    tree = make_tree()
    tree.set_up_lab(SLIDES)
    write_config(tree)
    ran = tree.snakemake("--cores", "2", "--configfile", "lab.yaml")
    assert ran.returncode == 0, ran.stdout
    return tree


@pytest.fixture
def tree(done) -> Iterator[object]:
    """The finished workflow; the copied code and the configuration are put back afterwards."""
    kept = {path: path.read_text() for path in (done.root / "stflow").rglob("*.py")}
    yield done
    for path, text in kept.items():
        path.write_text(text)
    write_config(done)


def write_config(tree, **changes: object) -> None:
    (tree.root / "lab.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}))


@dataclass(frozen=True)
class Again:
    """What would run again: rule -> jobs, the target `all` left out, and the methods that would be trained."""

    count: dict[str, int]
    trained: set[str]


def rerun(tree) -> Again:
    planned = tree.planned("--configfile", "lab.yaml")
    count = {rule: n for rule, n in planned.count.items() if rule != "all"}
    return Again(count, {text.split("/")[3] for text in planned.messages if text.startswith("Train ")})


def test_a_finished_workflow_has_nothing_to_do(tree) -> None:
    assert rerun(tree).count == {}


def test_what_would_run_is_told_beforehand(tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.root)
    monkeypatch.setenv("PYTHONPATH", str(tree.root))
    assert job_counts(dry_run(Path("lab.yaml"), ())) == {}
    tree.edit(DENOISER, FUTURE, f"{FUTURE}\n\nEDITED = 1")
    again = job_counts(dry_run(Path("lab.yaml"), ()))
    assert (again["train"], again["predict"], again["evaluate"]) == (2, 2, 1)
    assert "embed" not in again


def test_editing_the_denoiser_retrains_stflow_and_what_follows_only(tree) -> None:
    tree.edit(DENOISER, FUTURE, f"{FUTURE}\n\nEDITED = 1")
    again = rerun(tree)
    made = {**SCORED, **OF_STFLOW, "biomarker": 1}
    made |= {"table6": 1, "table_page": made["table_page"] + 1}  # the network's parameters are counted
    assert again.count == {"train": 2, "predict": 2, "evaluate": 1, **made}
    assert again.trained == {"stflow"}
    tree.edit(DENOISER, "\n\nEDITED = 1", "")
    assert rerun(tree).count == {}, "the edit was taken back"


def test_editing_a_figure_redraws_it_only(tree) -> None:
    tree.edit("stflow/report/maps/page.py", FUTURE, f"{FUTURE}\n\nEDITED = 1")
    assert rerun(tree).count == {"biomarker": 1, "report": 1}


def test_editing_a_table_remakes_it_only(tree) -> None:
    tree.edit("stflow/report/table1.py", FUTURE, f"{FUTURE}\n\nEDITED = 1")
    again = rerun(tree).count
    assert again["table1"] == 1
    assert not again.keys() & {"train", "predict", "evaluate", "biomarker", "audit", "paper_table"}


def test_editing_the_audit_retrains_nothing(tree) -> None:
    """Though a clean training waits for it."""
    tree.edit("stflow/data/duplicates.py", FUTURE, f"{FUTURE}\n\nEDITED = 1")
    assert rerun(tree).count == {"audit_dataset": 1, "audit": 1, "summary": 1, "table_page": 2, "report": 1}


def test_editing_the_scores_retrains_nothing(tree) -> None:
    tree.edit("stflow/evaluation/evaluate.py", FUTURE, f"{FUTURE}\n\nEDITED = 1")
    assert rerun(tree).count == {"evaluate": 2, **SCORED, **OF_STFLOW}


def test_editing_one_encoder_embeds_again(tree) -> None:
    tree.edit("stflow/encoders/classical.py", FUTURE, f"{FUTURE}\n\nEDITED = 1")
    again = rerun(tree).count
    assert again["embed"] == 3
    assert not again.keys() & {"counts", "tile", "genes"}


def test_edits_that_change_no_number_rerun_nothing(tree) -> None:
    tree.edit(DENOISER, FUTURE, f"# A comment.\n{FUTURE}")
    tree.edit("stflow/errors.py", "exit_code = 3", "exit_code = 33")
    tree.edit("stflow/models/__init__.py", '"mean": "', '"another": "stflow.models.mean:Mean",\n        "mean": "')
    tree.edit("stflow/encoders/efficientnet_lite0.py", FUTURE, f"{FUTURE}\n\nEDITED = 1")  # not in the configuration
    assert rerun(tree).count == {}


def examples(*marks: str) -> list[list[str]]:
    """The README's commands that hold all these words, on the finished workflow in place of the paper's."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    lines = [line.partition("#")[0].split() for line in text.splitlines() if line.startswith("snakemake ")]
    found = [[word.replace("/hest/IDC/uni/", "/lab/D/classical/") for word in words[1:]] for words in lines]
    return [[*words, "--configfile", "lab.yaml"] for words in found if all(mark in " ".join(words) for mark in marks)]


def test_one_cell_reruns_alone(tree) -> None:
    """As the README says."""
    layout = Layout(tree.root / "results")
    cell = layout.metrics(Group("lab", "D", "classical", "stflow", "default", "clean"))
    again, only_missing = examples("/metrics/", "--forcerun"), examples("/metrics/")
    assert len(again) == 1
    assert len(only_missing) == 2
    assert tree.planned(*only_missing[0]).count == {}
    assert tree.planned(*again[0]).count == {"train": 2, "predict": 2, "evaluate": 1}
    times = {path: path.stat().st_mtime_ns for path in layout.results.rglob("*") if path.is_file()}
    cell.unlink()
    ran = tree.snakemake(*only_missing[0])
    assert ran.returncode == 0, ran.stdout
    assert re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", ran.stdout, re.MULTILINE) == ["evaluate"]
    kept = [path for path in times if "logs" not in path.parts and path != cell]
    assert all(path.stat().st_mtime_ns == times[path] for path in kept)


def test_a_setting_of_a_method_retrains_that_method_only(tree) -> None:
    write_config(tree, settings={"stflow": {"learning_rate": 0.01}})
    assert rerun(tree).trained == {"stflow"}


def with_variant(steps: int, **settings: object) -> dict[str, object]:
    """A configuration whose second STFlow takes other steps, and the settings of both."""
    return {
        "methods": ["stflow", "stflow/mine"],
        "variants": {"stflow": {"mine": {"steps": steps}}},
        "settings": {"stflow": settings},
    }


def test_the_steps_of_a_variant_predict_again_and_retrain_nothing(tree) -> None:
    write_config(tree, **with_variant(2))
    added = rerun(tree).count
    assert (added.get("train", 0), added["predict"]) == (0, 2)
    ran = tree.snakemake("--cores", "2", "--configfile", "lab.yaml")
    assert ran.returncode == 0, ran.stdout
    assert rerun(tree).count == {}
    write_config(tree, **with_variant(3))
    changed = rerun(tree).count
    assert (changed.get("train", 0), changed["predict"], changed["evaluate"]) == (0, 2, 1)
    write_config(tree)
    ran = tree.snakemake("--cores", "2", "--configfile", "lab.yaml")
    assert ran.returncode == 0, f"the tables of the other tests are made again: {ran.stdout}"


def test_the_method_s_own_steps_retrain_as_they_choose_the_epoch(tree) -> None:
    write_config(tree, settings={"stflow": {"steps": 3}})
    assert rerun(tree).count["train"] == 2


def test_more_samples_of_the_method_itself_predict_again_and_retrain_nothing(tree) -> None:
    write_config(tree, settings={"stflow": {"samples": 20}})
    again = rerun(tree).count
    assert (again.get("train", 0), again["predict"], again["evaluate"]) == (0, 2, 1)


def test_another_built_in_variant_reruns_nothing(tree) -> None:
    tree.edit("stflow/models/stflow/variants.py", '"prior_zero": {', '"another": {"steps": 7},\n    "prior_zero": {')
    assert rerun(tree).count == {}


def test_another_seed_trains_its_runs_only(tree) -> None:
    write_config(tree, seeds=[0, 1])
    again = rerun(tree).count
    assert (again["train"], again["predict"], again["evaluate"]) == (2, 2, 1)


def test_another_number_of_genes_chooses_and_trains_again_and_cuts_no_tile(tree) -> None:
    write_config(tree, genes={"n": 20})
    again = rerun(tree).count
    assert (again["genes"], again["train"], again["predict"]) == (1, 4, 4)
    assert not again.keys() & {"counts", "tile", "embed", "splits"}


def test_the_crop_of_another_format_cuts_nothing_again(tree) -> None:
    write_config(tree, tiling={"crop": "pixels"})
    assert rerun(tree).count == RECORD


def test_a_changed_role_writes_the_folds_again(tree) -> None:
    manifest = tree.root / "lab.csv"
    text = manifest.read_text()
    manifest.write_text(text.replace("D,s2,ps2,*,0,train", "D,s2,ps2,*,0,val"))
    again = rerun(tree).count
    manifest.write_text(text)
    assert (again["splits"], again["genes"], again["table1"]) == (1, 1, 1)


def test_a_colour_map_redraws_the_maps_only(tree) -> None:
    write_config(tree, figures={**CONFIG["figures"], "colormap": "cividis"})
    assert rerun(tree).count == {"biomarker": 1, **RECORD}
