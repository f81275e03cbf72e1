"""The section `search`: what it refuses, and that a configuration that does not name it is never refused for it."""

import pytest

from stflow.config import validate
from stflow.errors import ConfigError


def test_all_problems_of_a_search_come_in_one_message() -> None:
    grids = {
        "stflow": {
            "haeds": [1],
            "heads": [1, 3],
            "dropout": [0.1, 2],
            "samples": [20],
            "neighbours": [],
            "epochs": [3],
        },
        "ridge": {"alpha": [1.0]},
        "stflwo": {"heads": [1]},
    }
    with pytest.raises(ConfigError) as caught:
        validate({"search": {"grids": grids, "encoders": ["resnet50"], "datasets": ["hest/IDCC", "hest/IDC"]}})
    message = str(caught.value)
    for part in (
        "search.encoders: 'resnet50' is not among encoders",
        "search.datasets: no 'hest/IDCC'",
        "search.grids.stflow.haeds: 1: Extra inputs are not permitted",
        "search.grids.stflow.heads: 3: hidden = 128 must be even and a multiple of heads = 3",
        "search.grids.stflow.dropout: 2: Input should be less than 1",
        "search.grids.stflow.samples: matters only when the method predicts",
        "search.grids.stflow.neighbours: needs values",
        "search.grids.stflow.epochs: successive halving sets them itself",
        "search.grids.ridge: ridge chooses nothing on select slides",
        "search.grids.stflwo: methods: no 'stflwo'",
    ):
        assert part in message
    assert "'hest/IDC'" not in message
    assert "heads: 1:" not in message


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"heads": [1, 1]}, "heads: needs values, each once"),
        ({"heads": [1], "heads+layers": [2]}, "heads: is in two columns"),
        ({"prior": ["../zinb"]}, "cannot be part of a file's name"),
    ],
)
def test_grids_that_name_no_space_are_refused(grid: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate({"search": {"grids": {"stflow": grid}}})


def test_the_default_grid_refuses_no_configuration() -> None:
    """A network of 100 hidden units has no eight heads; who searches nothing need not know."""
    assert validate({"settings": {"stflow": {"hidden": 100}}}).search.grids["stflow"]["heads"] == [1, 2, 4, 8]
    with pytest.raises(ConfigError, match=r"heads: 8: hidden = 100"):
        validate({"settings": {"stflow": {"hidden": 100}}, "search": {"folds": "first"}})


def test_steps_can_be_searched_as_they_choose_the_epoch() -> None:
    assert validate({"search": {"grids": {"stflow": {"steps": [2, 5]}}}}).search.grids["stflow"] == {"steps": [2, 5]}
