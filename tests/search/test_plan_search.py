"""What a search plans: jobs of the parameter space, rungs, files, and what commands are told."""

import json
import shlex
from pathlib import Path

import pytest

from stflow.config import validate
from stflow.plan_search import Case
from stflow.search.space import MOST_JOBS, Space
from stflow.workflow import Plan

ROWS = (
    "dataset,slide,patient,protocol,fold,role,reason\n"
    "D,s1,p1,*,0,train,\nD,s2,p2,*,0,train,\nD,s3,p3,*,0,test,\n"
    "D,s3,p3,*,1,train,\nD,s1,p1,*,1,train,\nD,s2,p2,*,1,test,\n"
    "E,s4,p4,paper,0,train,\nE,s5,p5,paper,0,test,\nE,,,clean,,none,nobody knows the patients\n"
)
GRID = {"learning_rate": [0.001, 0.0005], "dropout+attention_dropout": [0, 0.2, 0.5], "heads": [1, 2, 4, 8]}
CASE = Case("lab", "D", "ciga", "stflow")


def plan(tmp_path: Path, search: dict | None = None, **values: object) -> Plan:
    manifest = tmp_path / "lab.csv"
    manifest.write_text(ROWS)
    benchmark = {"root": str(tmp_path), "manifest": str(manifest)}
    base = {"benchmarks": {"lab": benchmark}, "encoders": ["ciga", "uni"], "methods": ["ridge", "stflow"], "seeds": [5]}
    return Plan(validate({**base, "search": {"grids": {"stflow": GRID}, **(search or {})}, **values}))


def test_datasets_with_leak_free_folds_are_searched_on_the_first_encoder(tmp_path: Path) -> None:
    assert plan(tmp_path).search.cases() == [CASE]
    assert [case.encoder for case in plan(tmp_path, {"encoders": ["uni"]}).search.cases()] == ["uni"]
    assert plan(tmp_path, protocols=["paper"]).search.cases() == []
    assert plan(tmp_path, methods=["ridge"]).search.cases() == []


def test_trials_are_of_the_clean_protocol_and_the_first_seed(tmp_path: Path) -> None:
    search = plan(tmp_path).search
    assert [str(search.run(CASE, fold)) for fold in search.folds("lab", "D")] == [
        f"lab/D/ciga/stflow/default/clean/fold{fold}/seed5" for fold in (0, 1)
    ]
    assert plan(tmp_path, {"folds": "first", "seed": 3}).search.folds("lab", "D") == [0]
    assert plan(tmp_path, {"seed": 3}).search.run(CASE, 1).seed == 3


@pytest.mark.parametrize("share", [1, 4, 100])
def test_the_parameter_space_names_every_job_of_the_first_rung_and_gives_its_candidates_back(
    tmp_path: Path, share: int
) -> None:
    search = plan(tmp_path, {"trials_per_job": share}).search
    space = search.paramspace("stflow")
    assert space.wildcard_pattern == "{candidates}"
    files = search.trials(CASE, 0, 0)
    assert len(files) == len(set(files)) == search.jobs("stflow", 0)
    found = []
    for pattern, path in zip(space.instance_patterns, files, strict=True):
        assert path.as_posix().endswith(f"lab/D/ciga/stflow/fold0/rung0/{pattern}.json")
        found += Space(json.loads(search.slice_grid("stflow", {"candidates": pattern}))).candidates()
    assert found == search.space("stflow").candidates()


def test_later_rungs_train_every_place_once(tmp_path: Path) -> None:
    search = plan(tmp_path, {"eta": 2, "min_epochs": 10, "trials_per_job": 8}).search
    every = search.rungs("stflow")
    assert [(rung.candidates, rung.epochs) for rung in every] == [(24, 12), (12, 25), (6, 50), (3, 100)]
    for number in range(1, len(every)):
        places = [tuple(map(int, share.split("-"))) for share in search.shares("stflow", number)]
        assert [first + n for first, count in places for n in range(count)] == list(range(every[number].candidates))
        assert max(count for _, count in places) == max(1, 8 * every[0].epochs // every[number].epochs)
        assert len(search.trials(CASE, 0, number)) == search.jobs("stflow", number)


def test_a_rung_s_files_fit_one_command_line(tmp_path: Path) -> None:
    grid = {"learning_rate": [1 / n for n in range(1, 41)], "heads": [1, 2, 4, 8], "neighbours": list(range(1, 26))}
    for halving in ("none", "successive"):
        search = plan(tmp_path, {"grids": {"stflow": grid}, "trials_per_job": 1, "halving": halving}).search
        assert len(search.space("stflow")) == 4000
        for number in range(len(search.rungs("stflow"))):
            assert search.jobs("stflow", number) <= MOST_JOBS


def test_trials_are_told_neither_what_the_grid_sets_nor_what_they_do_not_use(tmp_path: Path) -> None:
    """So that another default of a searched setting tries nothing again."""
    told = plan(tmp_path).search.training(CASE, 0, 0)
    words = shlex.split(told)
    settings = json.loads(words[words.index("--settings") + 1])
    assert not {"learning_rate", "dropout", "attention_dropout", "heads", "epochs", "samples"} & settings.keys()
    assert {"neighbours", "steps", "hidden"} <= settings.keys()
    assert words[words.index("--epochs") + 1] == "11"
    changed = {"stflow": {"learning_rate": 0.01, "heads": 2}}
    assert plan(tmp_path, settings=changed).search.training(CASE, 0, 0) == told
    assert plan(tmp_path, settings={"stflow": {"layers": 2}}).search.training(CASE, 0, 0) != told


def test_without_halving_trials_take_the_settings_epochs(tmp_path: Path) -> None:
    search = plan(tmp_path, {"halving": "none"}).search
    words = shlex.split(search.training(CASE, 0, 0))
    assert "--epochs" not in words
    assert json.loads(words[words.index("--settings") + 1])["epochs"] == 100
    assert search.rankings(CASE) == [search.ranking(CASE, fold, 0) for fold in (0, 1)]
    assert search.rankings_before(CASE, 0, 0) == []
