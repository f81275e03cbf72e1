"""A run's name is its path, both ways."""

from pathlib import Path

import pytest

from stflow.layout import Group, Layout, Run

RUN = Run(Group("hest", "IDC", "uni", "stflow", "default", "clean"), 2, 10)


def test_the_run_of_another_variant_is_the_same_in_all_else() -> None:
    assert str(RUN.of_variant("zinb_0.2_4")) == "hest/IDC/uni/stflow/zinb_0.2_4/clean/fold2/seed10"


def test_names_go_both_ways() -> None:
    assert Run.parse(str(RUN)) == RUN
    assert Group.parse(str(RUN.group)) == RUN.group
    assert str(RUN) == "hest/IDC/uni/stflow/default/clean/fold2/seed10"


@pytest.mark.parametrize("text", ["hest/IDC", "a/b/c/d/e/f/fold1", "a/b/c/d/e/f/foldx/seed1", "a/b/c/d/e/fold1/seed1"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        Run.parse(text)


def test_paths_of_different_runs_differ() -> None:
    layout = Layout(Path("results"))
    paths = {layout.model(RUN.group.run(fold, seed)) for fold in range(3) for seed in range(3)}
    assert len(paths) == 9
