"""A search for real, on three small slides: rungs, a candidate that cannot be trained, the choice, and its use."""

import json

import pytest
import yaml

from stflow.data.demo import make_slide
from stflow.io import read_json
from stflow.layout import Group, Layout
from stflow.search.chosen import Chosen

pytestmark = pytest.mark.workflow

SLIDES = ("DEMO1A", "DEMO2A", "DEMO3A")
CONFIG = {
    "benchmarks": {"lab": {"root": "lab/bench", "manifest": "lab.csv"}},
    "encoders": ["classical"],
    "methods": ["stflow"],
    "protocols": ["clean"],
    "seeds": [4],
    "genes": {"n": 5},
    "training": {"device": "cpu"},
    "settings": {
        "stflow": {
            "hidden": 16,
            "edge_hidden": 16,
            "heads": 1,
            "layers": 1,
            "epochs": 2,
            "regions_per_slide": 1,
            "standardise_features": True,
        }
    },
    # Four heads do not divide 18.
    "search": {
        "grids": {"stflow": {"hidden": [16, 18], "heads": [1, 4]}},
        "eta": 2,
        "min_epochs": 1,
        "trials_per_job": 4,
    },
}
CHOICE = ("lab", "DEMO_IDC", "classical", "stflow")
RUN = Group(*CHOICE, "default", "clean").run(0, 4)


@pytest.fixture(scope="module")
def done(make_tree) -> object:
    """A finished search in a copy of the repository."""
    tree = make_tree()
    for slide in SLIDES:
        make_slide("demo_hest", slide, tree.root / "lab", size_um=500.0)
    rows = [f"DEMO_IDC,{slide},{slide[4]},*,0,{'test' if slide == 'DEMO3A' else 'train'}" for slide in SLIDES]
    (tree.root / "lab.csv").write_text("\n".join(["dataset,slide,patient,protocol,fold,role", *rows]) + "\n")
    (tree.root / "lab.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    ran = tree.snakemake("search", "--cores", "2", "--configfile", "lab.yaml")
    assert ran.returncode == 0, ran.stdout
    return tree


def test_the_best_go_on_and_what_cannot_be_trained_comes_last(done) -> None:
    layout = Layout(done.root / "results")
    first, last = (read_json(layout.search_fold(*CHOICE, 0) / f"ranking{rung}.json") for rung in (0, 1))
    assert [trial["epochs"] for trial in first["trials"]] == [1, 1, 1, None]
    assert first["trials"][-1]["settings"] == {"hidden": 18, "heads": 4}
    assert "multiple of heads" in first["trials"][-1]["reason"]
    went_on = [trial["settings"] for trial in last["trials"] if trial["rung"] == 1]
    assert sorted(map(str, went_on)) == sorted(str(trial["settings"]) for trial in first["trials"][:2])
    assert [trial["settings"] for trial in last["trials"][2:]] == [trial["settings"] for trial in first["trials"][2:]]


def test_nothing_of_the_search_has_seen_the_test_slide(done) -> None:
    layout = Layout(done.root / "results")
    slides = read_json(layout.search_fold(*CHOICE, 0) / "ranking1.json")["slides"]
    assert sorted(slides["train"] + slides["select"]) == ["DEMO1A", "DEMO2A"]
    assert not layout.features("classical", "lab", "DEMO3A").exists()


def test_the_file_holds_the_leader_of_the_ranking(done) -> None:
    layout = Layout(done.root / "results")
    leader = read_json(layout.search_fold(*CHOICE, 0) / "ranking1.json")["trials"][0]
    assert Chosen.read(layout.search_chosen).of(RUN) == leader["settings"]
    assert json.loads(layout.search_choice(*CHOICE).read_text())["candidates"][0]["settings"] == leader["settings"]


def test_a_second_call_has_nothing_to_do(done) -> None:
    again = done.snakemake("search", "--cores", "2", "--configfile", "lab.yaml")
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout


def test_a_training_with_the_chosen_settings_has_the_score_that_chose_them(done) -> None:
    layout = Layout(done.root / "results")
    leader = read_json(layout.search_fold(*CHOICE, 0) / "ranking1.json")["trials"][0]
    target = layout.run_json(RUN).relative_to(done.root).as_posix()
    ran = done.snakemake(
        target, "--cores", "2", "--configfile", "lab.yaml", "--config", "searched=results/search/chosen.yaml"
    )
    assert ran.returncode == 0, ran.stdout
    record = read_json(layout.run_json(RUN))
    assert {name: record["settings"][name] for name in leader["settings"]} == leader["settings"]
    assert (record["fit"]["best_score"], record["fit"]["best_epoch"]) == (leader["score"], leader["best_epoch"])
