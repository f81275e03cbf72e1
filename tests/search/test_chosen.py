"""Chosen settings in a configuration: who takes them, and what is refused."""

import json
from pathlib import Path

import pytest
import yaml

from stflow.config import validate
from stflow.errors import ConfigError
from stflow.layout import Group, Run
from stflow.workflow import Plan

ROWS = (
    "dataset,slide,patient,protocol,fold,role\n"
    "D,s1,p1,*,0,train\nD,s2,p2,*,0,train\nD,s3,p3,*,0,test\n"
    "D,s3,p3,*,1,train\nD,s1,p1,*,1,train\nD,s2,p2,*,1,test\n"
)
ENTRY = {"all_folds": {"heads": 2}, "folds": {0: {"heads": 1}, 1: {"heads": 8}}}


def plan(tmp_path: Path, chosen: dict | None = None, folds: str = "each", **values: object) -> Plan:
    manifest = tmp_path / "lab.csv"
    manifest.write_text(ROWS)
    if chosen is not None:
        path = tmp_path / "chosen.yaml"
        path.write_text(yaml.safe_dump({"schema": 1, "folds": folds, "chosen": chosen}))
        values["searched"] = str(path)
    benchmark = {"root": str(tmp_path), "manifest": str(manifest)}
    base = {"benchmarks": {"lab": benchmark}, "encoders": ["classical", "efficientnet_lite0"], "methods": ["stflow"]}
    return Plan(validate({**base, **values}))


def run(variant: str = "default", protocol: str = "clean", fold: int = 0, encoder: str = "classical") -> Run:
    return Group("lab", "D", encoder, "stflow", variant, protocol).run(fold, 0)


def heads(lab: Plan, which: Run) -> int:
    options = lab.options.training(which)
    return json.loads(options[options.index("{") : options.rindex("}") + 1])["heads"]


def test_a_clean_fold_takes_its_own_choice_and_the_paper_protocol_the_dataset_s(tmp_path: Path) -> None:
    lab = plan(tmp_path, {"stflow": {"classical": {"lab/D": ENTRY}}})
    assert [heads(lab, run(fold=fold)) for fold in (0, 1)] == [1, 8]
    assert [heads(lab, run(protocol="paper", fold=fold)) for fold in (0, 1)] == [2, 2]
    assert heads(plan(tmp_path, {"stflow": {"classical": {"lab/D": ENTRY}}}, folds="first"), run(fold=1)) == 2


def test_an_encoder_that_was_not_searched_on_takes_the_first_one_s_choice(tmp_path: Path) -> None:
    lab = plan(tmp_path, {"stflow": {"classical": {"lab/D": ENTRY}}})
    assert heads(lab, run(encoder="efficientnet_lite0", fold=1)) == 8
    own = {"all_folds": {}, "folds": {0: {}, 1: {"heads": 2}}}
    lab = plan(tmp_path, {"stflow": {"classical": {"lab/D": ENTRY}, "efficientnet_lite0": {"lab/D": own}}})
    assert heads(lab, run(encoder="efficientnet_lite0", fold=1)) == 2


def test_a_dataset_or_method_that_was_not_searched_keeps_its_settings(tmp_path: Path) -> None:
    lab = plan(tmp_path, {"stflow": {"classical": {"lab/E": ENTRY}}}, methods=["stflow", "ridge"])
    without = plan(tmp_path, methods=["stflow", "ridge"])
    assert lab.options.training(run()) == without.options.training(run())
    ridge = Group("lab", "D", "classical", "ridge", "default", "clean").run(0, 0)
    assert lab.options.training(ridge) == without.options.training(ridge)


def test_a_variant_s_own_settings_win(tmp_path: Path) -> None:
    values = {"methods": ["stflow", "stflow/mine"], "variants": {"stflow": {"mine": {"heads": 4, "layers": 1}}}}
    entry = {"all_folds": {"heads": 2, "dropout": 0.5}, "folds": {0: {"heads": 2, "dropout": 0.5}, 1: {}}}
    lab = plan(tmp_path, {"stflow": {"classical": {"lab/D": entry}}}, **values)
    settings = lab.config.settings_of("stflow", "mine", lab.chosen.of(run("mine")))
    assert (settings.heads, settings.dropout, settings.layers) == (4, 0.5, 1)
    assert heads(lab, run("mine")) == 4


def test_a_variant_that_says_what_was_the_default_no_longer_shares_the_default_s_model(tmp_path: Path) -> None:
    """Four heads are STFlow's own, so without a search both are one model; with another choice they are two."""
    values = {
        "methods": ["stflow", "stflow/four", "stflow/steps_2"],
        "variants": {"stflow": {"four": {"heads": 4}}},
    }
    assert plan(tmp_path, **values).trained_as(run("four")) == run("default")
    lab = plan(tmp_path, {"stflow": {"classical": {"lab/D": ENTRY}}}, **values)
    assert lab.trained_as(run("four")) == run("four")
    assert lab.trained_as(run("steps_2")) == run("default")
    assert heads(lab, lab.trained_as(run("steps_2"))) == 1


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"stflwo": {"classical": {"lab/D": ENTRY}}}, r"stflwo\.classical\.lab/D\.all_folds: no method 'stflwo'"),
        ({"stflow": {"classical": {"lab/D": {"all_folds": {"haeds": 1}}}}}, r"haeds: unknown key. Did you mean 'heads"),
        ({"stflow": {"classical": {"lab/D": {"all_folds": {"heads": 3}}}}}, r"multiple of heads = 3"),
        ({"stflow": {"classical": {"lab/D": {"folds": {}}}}}, r"all_folds: Field required"),
        ({"stflow": {"classical": {"lab/D": {"all_folds": {}, "folds": {0: {}}}}}}, r"no choice for fold 1"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_told_before_anything_runs(tmp_path: Path, chosen: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(tmp_path, chosen)


def test_a_missing_file_or_another_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"searched: no chosen settings at .*none\.yaml.*snakemake search"):
        plan(tmp_path, searched=str(tmp_path / "none.yaml"))
    (tmp_path / "other.yaml").write_text("results: x\n")
    with pytest.raises(ConfigError, match="is not a file of chosen settings"):
        plan(tmp_path, searched=str(tmp_path / "other.yaml"))
