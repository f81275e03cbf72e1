"""The target `search`: what it plans, what reruns it, and what `all` makes of its choice. Commands are stand-ins."""

import re
from collections.abc import Iterator

import pytest
import yaml

SLIDES = ("s1", "s2", "s3")
GRIDS = {"stflow": {"learning_rate": [0.003, 0.0005], "heads": [1, 2, 4]}}
SEARCH = {"grids": GRIDS, "eta": 2, "min_epochs": 1, "trials_per_job": 3}
CONFIG = {
    "benchmarks": {"lab": {"root": "lab", "manifest": "lab.csv"}},
    "encoders": ["classical"],
    "methods": ["mean", "stflow", "stflow/wo_fa"],
    "protocols": ["clean"],
    "seeds": [0, 1],
    "settings": {"stflow": {"epochs": 4}},
    "search": SEARCH,
}
#: On each of two folds: six candidates of one epoch in two jobs, then three of two epochs, then one of four.
TARGETS = ("all", "search")
JOBS = {"search_slice": 2 * 2, "search_rung": 2 * (3 + 1), "search_ranking": 2 * 3, "search_choice": 1, "search": 1}


@pytest.fixture(scope="module")
def done(make_tree) -> object:
    """A finished `all` and a finished `search` of two folds, in a copy of the repository."""
    tree = make_tree()
    tree.set_up_lab(SLIDES)
    write_config(tree)
    tree.before = {target: tree.planned(target, "--configfile", "lab.yaml") for target in TARGETS}
    ran = tree.snakemake(*TARGETS, "--cores", "2", "--configfile", "lab.yaml")
    assert ran.returncode == 0, ran.stdout
    return tree


@pytest.fixture
def tree(done) -> Iterator[object]:
    """The same; code and configuration are put back afterwards."""
    kept = {path: path.read_text() for path in (done.root / "stflow").rglob("*.py")}
    yield done
    for path, text in kept.items():
        path.write_text(text)
    write_config(done)


def write_config(tree, **changes: object) -> None:
    (tree.root / "lab.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}, sort_keys=False))


def write_chosen(tree, *, folds: dict[int, dict[str, object]]) -> None:
    entry = {"all_folds": {}, "folds": folds}
    values = {"schema": 1, "folds": "each", "chosen": {"stflow": {"classical": {"lab/D": entry}}}}
    (tree.root / "mine.yaml").write_text(yaml.safe_dump(values))


def jobs(count: dict[str, int]) -> dict[str, int]:
    return {rule: n for rule, n in count.items() if rule != "all"}


def rerun(tree, *targets: str) -> dict[str, int]:
    """What would run again."""
    return jobs(tree.planned(*(targets or TARGETS), "--configfile", "lab.yaml").count)


def searching(counts: dict[str, int]) -> dict[str, int]:
    return {rule: n for rule, n in counts.items() if rule.startswith("search")}


def test_a_dry_run_counts_every_job_and_tells_the_estimate_first(done) -> None:
    told = done.before["search"].output
    assert "Search of stflow: 6 candidates on 2 folds of 1 datasets with classical" in told
    assert told.index("Search of stflow") < told.index("Job stats")
    rows = re.findall(r"^ +(\d) +(\d+) +(\d+) +(\d+) +(\d+) ", told, re.MULTILINE)
    assert rows == [("0", "1", "6", "12", "4"), ("1", "2", "3", "6", "6"), ("2", "4", "1", "2", "2")]
    planned = done.before["search"].count
    assert searching(planned) == JOBS
    assert planned["embed"] == 3
    assert not planned.keys() & {"train", "predict"}


def test_all_has_nothing_of_a_search(done) -> None:
    assert "Search of" not in done.before["all"].output
    assert done.before["all"].count["train"]
    assert not searching(done.before["all"].count)


def test_afterwards_neither_has_work_left(tree) -> None:
    assert rerun(tree) == {}


def test_without_a_grid_for_its_methods_there_is_no_such_target(tree) -> None:
    write_config(tree, methods=["mean"])
    refused = tree.snakemake("--dry-run", "search", "--configfile", "lab.yaml")
    assert refused.returncode == 1
    assert "nothing to search" in refused.stdout


def test_another_default_of_a_searched_setting_tries_nothing_again(tree) -> None:
    """Candidates replace it; it only decides between equals when the choice is made."""
    write_config(tree, settings={"stflow": {"epochs": 4, "heads": 2}})
    assert rerun(tree, "search") == {"search_choice": 1, "search": 1}


def test_another_setting_tries_all_again(tree) -> None:
    write_config(tree, settings={"stflow": {"epochs": 4, "layers": 2}})
    assert rerun(tree, "search") == JOBS


def test_a_grid_with_one_value_more_tries_that_value(tree) -> None:
    grids = {"stflow": {"learning_rate": [0.003, 0.0005, 0.0001], "heads": [1, 2, 4]}}
    write_config(tree, search={**SEARCH, "grids": grids})
    assert rerun(tree, "search")["search_slice"] == 2


def test_editing_the_choice_chooses_again_and_no_more(tree) -> None:
    future = "from __future__ import annotations"
    tree.edit("stflow/search/choose.py", future, f"{future}\n\nEDITED = 1")
    assert rerun(tree) == {"search_choice": 1, "search": 1}


def test_chosen_settings_retrain_the_runs_that_they_change(tree) -> None:
    """Fold 0 keeps what it had; in fold 1 the method and its variant take other heads. Trials know nothing of it."""
    write_chosen(tree, folds={0: {"learning_rate": 0.0005, "heads": 4}, 1: {"learning_rate": 0.0005, "heads": 2}})
    write_config(tree, searched="mine.yaml")
    planned = tree.planned(*TARGETS, "--configfile", "lab.yaml")
    trained = {text.removeprefix("Train ").rstrip(".") for text in planned.messages if text.startswith("Train ")}
    assert trained == {
        f"lab/D/classical/stflow/{variant}/clean/fold1/seed{seed}"
        for variant in ("default", "wo_fa")
        for seed in (0, 1)
    }
    assert not searching(planned.count)
