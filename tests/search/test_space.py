"""Candidates, slices and rungs."""

import math
from itertools import pairwise

import pytest

from stflow.config_search import PAPER_GRID
from stflow.search.space import Rung, Space, differs, key, per_job, rungs

GRID = {"rate": [0.1, 0.01], "drop+attention_drop": [0, 0.5], "heads": [1, 2, 4]}


def test_every_combination_is_a_candidate_once_and_tied_settings_move_together() -> None:
    candidates = Space(GRID).candidates()
    assert len(candidates) == len(Space(GRID)) == len({key(candidate) for candidate in candidates}) == 12
    assert all(candidate["drop"] == candidate["attention_drop"] for candidate in candidates)
    assert candidates[0] == {"rate": 0.1, "drop": 0, "attention_drop": 0, "heads": 1}
    assert candidates[1]["heads"] == 2, "the last column varies fastest"


def test_the_paper_s_grid_has_972_candidates_and_its_own_settings_among_them() -> None:
    from stflow.models.stflow import STFlowSettings

    assert len(Space(PAPER_GRID)) == 972
    own = STFlowSettings().model_dump()
    assert sum(all(own[name] == value for name, value in c.items()) for c in Space(PAPER_GRID).candidates()) == 1


@pytest.mark.parametrize("most", [1, 2, 3, 5, 6, 11, 12, 1000])
def test_slices_share_out_all_candidates(most: int) -> None:
    space = Space(GRID)
    parts = [Space(space.slice_grid(row)).candidates() for row in space.slices(most)]
    assert [candidate for part in parts for candidate in part] == space.candidates()
    assert max(map(len, parts)) <= max(most, 1) or len(space.outer(most)) == 1
    assert len(parts) == math.prod(len(GRID[column]) for column in space.outer(most))


def test_a_slice_is_as_large_as_is_allowed() -> None:
    assert [len(Space(GRID).outer(most)) for most in (1, 2, 3, 5, 6, 12)] == [3, 3, 2, 2, 1, 1]


def test_a_slice_takes_the_grid_s_own_values_back() -> None:
    """A table makes 0 of a column with 0.5 a 0.0, and a file's name makes it a text."""
    space = Space(GRID)
    for zero in (0, 0.0, "0"):
        grid = space.slice_grid({"drop": zero})
        assert grid == {"rate": [0.1, 0.01], "drop+attention_drop": [0], "heads": [1, 2, 4]}
    with pytest.raises(KeyError):
        space.slice_grid({"drop": 0.25})


def test_equal_settings_have_one_key_whatever_their_type_and_order() -> None:
    assert key({"a": 1, "b": "x"}) == key({"b": "x", "a": 1.0})
    assert key({"a": 1}) != key({"a": 2})


def test_a_candidate_with_the_configuration_s_own_values_differs_in_nothing() -> None:
    base = {"rate": 0.01, "heads": 2, "other": 7}
    assert not differs({"rate": 0.01, "heads": 2.0}, base)
    assert differs({"rate": 0.01, "heads": 4}, base)


def test_rungs_of_the_paper_s_search() -> None:
    assert rungs(972, 100, "successive", 3, 3) == [Rung(972, 4), Rung(324, 11), Rung(108, 33), Rung(36, 100)]


@pytest.mark.parametrize("candidates", [1, 2, 3, 8, 100, 972])
@pytest.mark.parametrize(("epochs", "eta", "least"), [(100, 3, 3), (4, 2, 1), (18, 3, 1), (7, 4, 2), (1, 2, 1)])
def test_rungs_end_with_full_training_and_leave_a_candidate(candidates: int, epochs: int, eta: int, least: int) -> None:
    found = rungs(candidates, epochs, "successive", eta, least)
    assert found[0].candidates == candidates
    assert found[-1].epochs == epochs
    assert all(rung.candidates >= 1 and rung.epochs >= min(least, epochs) for rung in found)
    for before, after in pairwise(found):
        assert after.candidates == before.candidates // eta
        assert after.epochs > before.epochs


def test_without_halving_or_epochs_there_is_one_rung() -> None:
    assert rungs(12, 100, "none", 3, 3) == rungs(12, None, "successive", 3, 3) == [Rung(12, None)]


def test_jobs_of_every_rung_last_alike() -> None:
    every = rungs(972, 100, "successive", 3, 3)
    assert [per_job(36, rung, every[0]) for rung in every] == [36, 13, 4, 1]
    assert per_job(1, every[-1], every[0]) == 1
