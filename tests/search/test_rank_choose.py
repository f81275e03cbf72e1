"""Rankings and choices: what leads, what equals do, what failures do."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from stflow.errors import IntegrityError, RunFailed
from stflow.io import read_json, write_json
from stflow.search.choose import choose, write_chosen
from stflow.search.chosen import Chosen
from stflow.search.rank import rank_trials

GRID = {"rate": [1.0, 2.0, 3.0, 4.0]}
BASE = {"rate": 3.0}


def trials_file(path: Path, scores: dict[float, float | None], fold: int = 0, seconds: float = 1.0) -> Path:
    """A file of trials; a score of None is a failure."""
    trials = [
        {
            "settings": {"rate": rate},
            "status": "failed" if score is None else "ok",
            "reason": "diverged" if score is None else "",
            "score": score,
            "best_epoch": 1,
            "epochs": 1,
            "seconds": seconds,
        }
        for rate, score in scores.items()
    ]
    shared = {"run": f"b/D/e/m/default/clean/fold{fold}/seed0", "select_by": "patient"}
    write_json(path, {**shared, "slides": {"train": ["t"], "select": [f"s{fold}"]}, "trials": trials})
    return path


def rates(ranking: Path) -> list[float]:
    return [trial["settings"]["rate"] for trial in read_json(ranking)["trials"]]


@pytest.fixture
def rank(tmp_path: Path) -> Callable[..., Path]:
    def go(
        *files: dict[float, float | None], rung: int = 0, before: Path | None = None, fold: int = 0, name: str = "r"
    ) -> Path:
        paths = [trials_file(tmp_path / f"{name}{n}.json", scores, fold) for n, scores in enumerate(files)]
        out = tmp_path / f"{name}.json"
        rank_trials(paths, out, rung=rung, grid=GRID, ranking=before)
        return out

    return go


def test_the_best_score_leads_and_failures_come_last(rank: Callable[..., Path]) -> None:
    assert rates(rank({1.0: 0.1, 2.0: None}, {3.0: 0.3, 4.0: -0.2})) == [3.0, 1.0, 4.0, 2.0]


def test_equals_stand_in_the_grid_s_order_and_the_choice_is_the_configuration_s_own(
    rank: Callable[..., Path], tmp_path: Path
) -> None:
    ranking = rank({4.0: 0.5, 3.0: 0.5, 2.0: 0.5, 1.0: 0.4})
    assert rates(ranking) == [2.0, 3.0, 4.0, 1.0]
    for own, expected in ((3.0, [3.0, 2.0, 4.0, 1.0]), (1.0, [2.0, 3.0, 4.0, 1.0])):
        choose([ranking], tmp_path / "m.json", folds="each", base={"rate": own})
        found = read_json(tmp_path / "m.json")
        assert found["all_folds"] == found["folds"]["0"] == {"rate": expected[0]}
        assert [row["settings"]["rate"] for row in found["candidates"]] == expected


def test_equal_mean_places_go_to_the_configuration_s_own(rank: Callable[..., Path], tmp_path: Path) -> None:
    paths = [
        rank({1.0: 0.4, 2.0: 0.3, 3.0: 0.2, 4.0: 0.1}, fold=0, name="zero"),
        rank({2.0: 0.4, 1.0: 0.3, 3.0: 0.2, 4.0: 0.1}, fold=1, name="one"),
    ]
    for own, expected in ((2.0, 2.0), (1.0, 1.0), (3.0, 1.0)):
        choose(paths, tmp_path / "m.json", folds="each", base={"rate": own})
        assert read_json(tmp_path / "m.json")["all_folds"] == {"rate": expected}


def test_who_trained_longer_stands_before_who_did_not_whatever_the_score(rank: Callable[..., Path]) -> None:
    first = rank({1.0: 0.9, 2.0: 0.8, 3.0: 0.7, 4.0: 0.6}, name="first")
    assert rates(rank({1.0: 0.2, 2.0: 0.3}, rung=1, before=first, name="second")) == [2.0, 1.0, 3.0, 4.0]


def test_who_diverges_late_is_last_and_the_rung_below_wins(rank: Callable[..., Path]) -> None:
    first = rank({1.0: 0.9, 2.0: 0.8, 3.0: 0.7, 4.0: None}, name="first")
    assert rates(rank({1.0: None}, rung=1, before=first, name="second")) == [2.0, 3.0, 1.0, 4.0]


def test_if_all_fail_that_is_an_error_with_the_reasons(rank: Callable[..., Path]) -> None:
    with pytest.raises(RunFailed, match=r"b/D/e/m/default/clean/fold0/seed0: none of 4 candidates .*diverged"):
        rank(dict.fromkeys(GRID["rate"]))


def test_times_are_in_no_ranking(tmp_path: Path) -> None:
    """Else a repeated trial would train all later rungs again."""
    texts = []
    for seconds in (1.0, 2.0):
        path = trials_file(tmp_path / "t.json", {1.0: 0.1, 2.0: 0.2, 3.0: 0.0, 4.0: 0.4}, seconds=seconds)
        rank_trials([path], tmp_path / "r.json", rung=0, grid=GRID)
        texts.append((tmp_path / "r.json").read_text())
    assert texts[0] == texts[1]


@pytest.fixture
def rankings(rank: Callable[..., Path]) -> list[Path]:
    """Two folds that disagree: 1 and 4 lead, and 2 is second in both."""
    return [
        rank({1.0: 0.4, 2.0: 0.3, 3.0: 0.2, 4.0: 0.1}, fold=0, name="zero"),
        rank({4.0: 0.4, 2.0: 0.3, 3.0: 0.2, 1.0: 0.1}, fold=1, name="one"),
    ]


def test_each_fold_takes_its_own_best_and_the_dataset_the_best_mean_place(
    rankings: Sequence[Path], tmp_path: Path
) -> None:
    choose(rankings, tmp_path / "m.json", folds="each", base=BASE)
    found = read_json(tmp_path / "m.json")
    assert found["folds"] == {"0": {"rate": 1.0}, "1": {"rate": 4.0}}
    assert found["all_folds"] == {"rate": 2.0}
    assert [row["settings"]["rate"] for row in found["candidates"]] == [2.0, 1.0, 4.0, 3.0]
    assert [row["mean_place"] for row in found["candidates"]] == [2.0, 2.5, 2.5, 3.0]
    assert found["select_slides"] == {"0": ["s0"], "1": ["s1"]}


def test_rankings_of_other_candidates_are_refused(rankings: Sequence[Path], tmp_path: Path) -> None:
    values = json.loads(rankings[1].read_text())
    values["trials"].pop()
    rankings[1].write_text(json.dumps(values))
    with pytest.raises(IntegrityError, match="is not in the rankings of all folds"):
        choose(rankings, tmp_path / "m.json", folds="each", base=BASE)


@pytest.mark.parametrize("folds", ["each", "first"])
def test_what_is_written_is_read_back(rankings: Sequence[Path], tmp_path: Path, folds: str) -> None:
    from stflow.layout import Run

    choose(rankings, tmp_path / "m.json", folds=folds, base=BASE)
    write_chosen([tmp_path / "m.json"], tmp_path / "chosen.yaml", folds=folds)
    chosen = Chosen.read(tmp_path / "chosen.yaml")
    clean, paper = (
        [chosen.of(Run.parse(f"b/D/e/m/default/{protocol}/fold{fold}/seed3")) for fold in (0, 1)]
        for protocol in ("clean", "paper")
    )
    assert paper == [{"rate": 2.0}] * 2
    assert clean == ([{"rate": 1.0}, {"rate": 4.0}] if folds == "each" else paper)
    assert "had a part in it" in (tmp_path / "chosen.yaml").read_text() or folds == "each"
    assert yaml.safe_load((tmp_path / "chosen.yaml").read_text())["folds"] == folds
