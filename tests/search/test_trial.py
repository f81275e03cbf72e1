"""train_trials: the training of a run, without a look at test slides; what fails is written, what is killed goes on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stflow.errors import ConfigError
from stflow.io import read_json, write_json
from stflow.layout import Layout
from stflow.models import METHODS
from stflow.models.base import Fit
from stflow.search.trial import train_trials
from stflow.training.inputs import Inputs
from stflow.training.train import train_run

from ..training.conftest import TINY, Fake


@pytest.fixture
def trials(results: Path, manifest: Path, run_name: Callable[..., str], tmp_path: Path) -> Callable[..., dict]:
    """Train candidates on clean fold 0; gives the file."""

    def go(grid: dict | None = None, settings: dict | None = None, method: str = "stflow", **options: object) -> dict:
        out = tmp_path / "out.json"
        train_trials(
            results,
            run_name(method),
            manifest,
            json.dumps(settings or {}),
            out,
            grid=json.dumps(grid or {}),
            device="cpu",
            **options,
        )
        assert not out.with_name("out.json.kept").exists()
        return read_json(out)

    return go


class Scorer(Fake):
    """Scores its setting `shift`; counts its fits."""

    name = "scorer"
    selects = True
    fits = 0

    def fit(self, train, select, *, seed, checkpoint=None, device="cpu") -> Fit:
        type(self).fits += 1
        if self.settings.fail == "killed":
            raise KeyboardInterrupt
        super().fit(train, select, seed=seed, device=device)
        return Fit(facts={"best_score": self.settings.shift, "best_epoch": 1, "epochs": 1})


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> type[Scorer]:
    monkeypatch.setitem(METHODS._added, "scorer", Scorer)
    monkeypatch.setattr(Scorer, "fits", 0)
    return Scorer


def test_a_candidate_with_a_run_s_settings_is_that_run(
    trials: Callable[..., dict], results: Path, manifest: Path, run_name: Callable[..., str]
) -> None:
    train_run(results, run_name(), manifest, json.dumps(TINY), device="cpu")
    fit = read_json(Layout(results).run_json(run_name()))["fit"]
    grid = {"learning_rate": [5e-4, TINY["learning_rate"]], "heads": [TINY["heads"]]}
    found = trials(grid, {**TINY, "epochs": 99}, epochs=TINY["epochs"])
    other, same = found["trials"]
    assert same["settings"] == {"learning_rate": TINY["learning_rate"], "heads": TINY["heads"]}
    assert (same["score"], same["best_epoch"]) == (fit["best_score"], fit["best_epoch"])
    assert other["score"] != same["score"]


def test_no_test_slide_is_read(trials: Callable[..., dict], scorer: type, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = Inputs.read
    monkeypatch.setattr(Inputs, "read", lambda self, names, **how: read.extend(names) or original(self, names, **how))
    found = trials({"shift": [1.0]}, method="scorer")
    assert sorted(read) == ["A1", "A2", "B1"]
    assert sorted(found["slides"]["train"] + found["slides"]["select"]) == ["A1", "A2", "B1"]
    assert found["slides"]["select"]


def test_expected_failures_are_written_and_the_others_go_on(trials: Callable[..., dict], scorer: type) -> None:
    found = trials({"fail": ["diverged", "memory", ""], "shift": [0.5]}, method="scorer")["trials"]
    assert [trial["status"] for trial in found] == ["failed", "failed", "ok"]
    assert "the loss became nan" in found[0]["reason"]
    assert found[1]["reason"].startswith("out of memory")
    assert (found[2]["score"], found[0]["score"]) == (0.5, None)


def test_a_score_that_is_not_a_number_is_a_failure(trials: Callable[..., dict], scorer: type) -> None:
    (trial,) = trials({"shift": [1.0]}, {"fail": ""}, method="scorer")["trials"]
    assert trial["status"] == "ok"
    (trial,) = trials({"shift": ["nan"]}, method="scorer")["trials"]
    assert (trial["status"], trial["reason"]) == ("failed", "no selection score, but nan")


def test_values_that_do_not_go_together_are_a_failure_with_the_reason(trials: Callable[..., dict]) -> None:
    (trial,) = trials({"heads": [4], "hidden": [18]}, TINY)["trials"]
    assert trial["status"] == "failed"
    assert "multiple of heads = 4" in trial["reason"]


def test_a_bug_is_raised(trials: Callable[..., dict], scorer: type) -> None:
    with pytest.raises(RuntimeError, match="shapes do not match"):
        trials({"fail": ["bug"]}, method="scorer")


def test_a_killed_job_goes_on_with_the_next_candidate(
    trials: Callable[..., dict], scorer: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = {"fail": ["", "killed"], "shift": [1.0, 2.0]}
    with pytest.raises(KeyboardInterrupt):
        trials(grid, method="scorer")
    assert scorer.fits == 3
    kept = read_json(tmp_path / "out.json.kept")
    assert len(kept["trials"]) == 2
    monkeypatch.setattr(scorer, "fit", lambda self, *_, **__: Fit(facts={"best_score": 7.0}))
    scores = [trial["score"] for trial in trials(grid, method="scorer")["trials"]]
    assert scores == [1.0, 2.0, 7.0, 7.0]


def test_what_a_job_of_other_settings_has_left_is_not_used(
    trials: Callable[..., dict], scorer: type, tmp_path: Path
) -> None:
    write_json(tmp_path / "out.json.kept", {"fingerprint": "another", "trials": {'{"shift": 1.0}': {"score": 9.0}}})
    (trial,) = trials({"shift": [1.0]}, method="scorer")["trials"]
    assert (trial["score"], scorer.fits) == (1.0, 1)


def test_a_later_rung_trains_its_places_of_the_ranking(
    trials: Callable[..., dict], scorer: type, tmp_path: Path
) -> None:
    ranked = [{"settings": {"shift": shift}, "reason": ""} for shift in (4.0, 3.0, 2.0)]
    ranked.append({"settings": {"shift": 1.0}, "reason": "diverged before"})
    write_json(tmp_path / "ranking.json", {"trials": ranked})
    found = trials(method="scorer", ranking=tmp_path / "ranking.json", first=1, count=3)["trials"]
    assert [trial["settings"]["shift"] for trial in found] == [3.0, 2.0, 1.0]
    assert [trial["reason"] for trial in found] == ["", "", "diverged before"]
    assert scorer.fits == 2, "what has failed is not tried again"


def test_a_grid_that_is_not_json_is_told(results: Path, manifest: Path, run_name: Callable[..., str]) -> None:
    with pytest.raises(ConfigError, match="is not JSON"):
        train_trials(results, run_name(), manifest, "{}", results / "o.json", grid="{", device="cpu")
