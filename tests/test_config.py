"""One source of configuration: what is generated agrees with it, and bad input is told all at once."""

import json
from pathlib import Path

import pytest
import yaml

from stflow import config, config_files
from stflow.config_datasets import runs_on
from stflow.config_variants import VARIANT_NAME
from stflow.errors import ConfigError
from stflow.models import METHODS


@pytest.mark.parametrize("path", config_files.generated(), ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == config_files.generated()[path], "run: python -m stflow.config_files"


def test_the_default_yaml_is_the_default() -> None:
    assert config.load(config.ROOT / "config" / "config.yaml") == config.Config()


@pytest.mark.parametrize("path", sorted((config.ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_configuration_is_valid_in_both_checks(path: Path) -> None:
    import jsonschema

    config.load(path)
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(config_files.json_schema()))


def test_every_key_has_a_description() -> None:
    bare = [
        key for key, node in config_files.walk(json.loads(config_files.json_schema())) if not node.get("description")
    ]
    assert bare == []


def test_every_problem_comes_in_one_message() -> None:
    with pytest.raises(ConfigError) as caught:
        config.validate(
            {"sedes": [1], "encoders": 7, "benchmarks": {"hest": {"datasets": ["IDC", "LUNGS"]}}}, "mine.yaml"
        )
    message = str(caught.value)
    assert "mine.yaml has 3 problem(s)" in message
    assert "sedes: unknown key. Did you mean 'seeds'?" in message
    assert "encoders: Input should be a valid list (got 7)" in message
    assert "no dataset of benchmark hest 'LUNGS'" in message
    assert "Did you mean 'LUNG'?" in message


def test_a_misspelt_setting_of_a_method_is_told() -> None:
    with pytest.raises(ConfigError, match=r"settings\.stflow\.learning_rat: unknown key. Did you mean 'learning_rate'"):
        config.validate({"settings": {"stflow": {"learning_rat": 1}}})


def test_unknown_methods_encoders_benchmarks_and_variants_are_told() -> None:
    with pytest.raises(ConfigError, match=r"no method 'rigde'.*Did you mean 'ridge'"):
        config.validate({"methods": ["rigde"]})
    with pytest.raises(ConfigError, match=r"encoders: no 'unii'.*Did you mean 'uni'"):
        config.validate({"encoders": ["unii"]})
    with pytest.raises(ConfigError, match="no split manifest at"):
        config.validate({"benchmarks": {"nowhere": {}}})
    with pytest.raises(ConfigError, match="'stflow/fast' names no variant"):
        config.validate({"methods": ["stflow/fast"]})
    with pytest.raises(ConfigError, match=r"variants\.stflow\.fast\.stepps"):
        config.validate({"methods": ["stflow/fast"], "variants": {"stflow": {"fast": {"stepps": 1}}}})


@pytest.mark.parametrize("choice", ["official", "all"])
@pytest.mark.parametrize("where", ["genes", "benchmarks.hest.genes"])
def test_the_clean_protocol_refuses_genes_that_were_chosen_on_test_slides(where: str, choice: str) -> None:
    chosen = {"genes": {"clean": choice}}
    values = chosen if where == "genes" else {"benchmarks": {"hest": chosen}}
    with pytest.raises(
        ConfigError, match=rf"{where}\.clean: '{choice}' genes are chosen on the test slides.*take train"
    ):
        config.validate(values)


def test_an_unknown_choice_of_genes_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        config.validate({"genes": {"paper": "offical", "clean": "trian", "n": 0}})
    message = str(caught.value)
    assert "3 problem(s)" in message
    assert "genes.paper: 'offical' is not official, all, train or the path of a gene list" in message
    assert "Did you mean 'official'?" in message
    assert "Did you mean 'train'?" in message


def test_a_benchmark_s_genes_are_the_configuration_s_but_for_what_it_names() -> None:
    checked = config.validate(
        {"genes": {"paper": "all", "n": 30}, "benchmarks": {"hest": {}, "her2st": {"genes": {"clean": "my/list.txt"}}}}
    )
    assert checked.genes_of("hest") == checked.genes
    found = checked.genes_of("her2st")
    assert (found.paper, found.clean, found.n) == ("all", "my/list.txt", 30)


def test_a_colour_map_that_matplotlib_lacks_is_told_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"figures\.colormap.*no colour map 'virids'\. Did you mean 'viridis'\?.*safe"
    ):
        config.validate({"figures": {"colormap": "virids"}})
    assert config.validate({"figures": {"colormap": "Blues"}}).figures.colormap == "Blues"


def test_a_variant_changes_only_what_it_names() -> None:
    checked = config.validate(
        {"settings": {"stflow": {"epochs": 3}}, "variants": {"stflow": {"one_step": {"steps": 1}}}}
    )
    base, variant = checked.settings_of("stflow"), checked.settings_of("stflow", "one_step")
    changed = {key for key, value in base.model_dump().items() if variant.model_dump()[key] != value}
    assert changed == {"steps"}
    assert variant.model_dump()["epochs"] == 3


def test_every_built_in_variant_fits_its_method_and_changes_something() -> None:
    checked = config.Config()
    for method in METHODS.names():
        base = checked.settings_of(method)
        assert METHODS.get(method).sampling <= set(base.model_dump())
        assert METHODS.get(method).selection <= METHODS.get(method).sampling
        for variant in METHODS.get(method).variants:
            assert VARIANT_NAME.fullmatch(variant)
            assert checked.settings_of(method, variant) != base or variant == "steps_5", "five steps are the default"


def test_a_variant_of_the_file_replaces_the_built_in_one_and_adds_to_the_others() -> None:
    checked = config.validate(
        {"methods": ["stflow/wo_fm", "stflow/mine", "stflow/steps_2"],
         "variants": {"stflow": {"wo_fm": {"steps": 1, "layers": 2}, "mine": {"steps": 3}}}}
    )  # fmt: skip
    found = {name: checked.settings_of("stflow", name).model_dump() for name in ("wo_fm", "mine", "steps_2")}
    assert [found[name]["steps"] for name in found] == [1, 3, 2]
    assert [found[name]["layers"] for name in found] == [2, 4, 4]


def test_names_of_variants_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"'stflow/step_2' names no variant(.|\n)*Did you mean 'stflow/steps_2'"):
        config.validate({"methods": ["stflow/step_2"]})
    with pytest.raises(ConfigError, match=r"'a/b' cannot be a folder's name"):
        config.validate({"variants": {"stflow": {"a/b": {"steps": 2}}}})
    with pytest.raises(ConfigError, match=r"variants\.stflow\.default: .*settings\.stflow"):
        config.validate({"variants": {"stflow": {"default": {"steps": 2}}}})


def test_a_built_in_variant_is_checked_where_it_is_used() -> None:
    odd = {"settings": {"stflow": {"heads": 3, "hidden": 96, "edge_hidden": 96}}}
    with pytest.raises(ConfigError, match=r"methods: stflow/mine|variants\.stflow\.mine"):
        config.validate({**odd, "methods": ["stflow/mine"], "variants": {"stflow": {"mine": {"hidden": 128}}}})
    assert config.validate({**odd, "methods": ["stflow/wo_fm"]}).trained_as("stflow", "wo_fm") == "default"


def test_the_model_of_a_variant_is_the_first_that_differs_in_sampling_alone() -> None:
    checked = config.validate(
        {
            "variants": {
                "stflow": {
                    "zero_10": {"prior": "zero", "steps": 10},
                    "wide": {"hidden": 256},
                    "wide_2": {"hidden": 256, "steps": 2},
                    "wo_fm": {"steps": 1, "layers": 2},
                },
                "ridge": {"same": {}, "strong": {"alpha": 9.0}},
            }
        }
    )
    expected = {
        "default": "default",
        "steps_16": "default",
        "wo_fm_trained": "wo_fm_trained",
        "zero_10": "prior_zero",
        "wide": "wide",
        "wide_2": "wide",
        "wo_fm": "wo_fm",
    }
    assert {variant: checked.trained_as("stflow", variant) for variant in expected} == expected
    assert [checked.trained_as("ridge", variant) for variant in ("same", "strong")] == ["default", "strong"]


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        config.Config().results = Path("elsewhere")


def test_files_that_are_no_configuration_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "bad.yaml").write_text("a: [1\n")
    with pytest.raises(ConfigError, match="must hold keys and values"):
        config.load(tmp_path / "list.yaml")
    with pytest.raises(ConfigError, match="is not yaml"):
        config.load(tmp_path / "bad.yaml")
    with pytest.raises(ConfigError, match=r"Start from config/config\.yaml"):
        config.load(tmp_path / "none.yaml")


def test_the_papers_encoders_of_a_method_are_for_the_papers_list_of_encoders_alone() -> None:
    assert config.validate({}).encoders_of("stflow") == ["ciga", "uni", "gigapath"]
    assert config.validate({}).encoders_of("random_forest") == ["ciga", "uni", "gigapath", "gigapath_slide"]
    assert config.validate({"encoders": ["resnet50"]}).encoders_of("stflow") == ["resnet50"]
    assert config.validate({}).encoders_of("mean") == ["tiles"]
    recorded = config.validate({"encoders": ["resnet50"]}).model_dump(mode="json")
    assert config.validate(recorded).encoders_of("stflow") == ["resnet50"]


def test_encoders_of_a_method_are_checked() -> None:
    with pytest.raises(ConfigError) as caught:
        config.validate({"method_encoders": {"stflo": ["uni"], "stflow": ["unii"], "ridge": []}})
    message = str(caught.value)
    assert "method_encoders: no method or variant 'stflo'" in message
    assert "method_encoders.stflow: encoders: no 'unii'" in message
    assert "method_encoders.ridge: names no encoder" in message


def test_eight_views_are_for_a_method_that_knows_them() -> None:
    with pytest.raises(ConfigError, match=r"methods: ridge cannot use encoder 'resnet50\+views', eight features"):
        config.validate({"methods": ["ridge"], "method_encoders": {"ridge": ["resnet50+views"]}})


def test_a_method_may_run_on_some_datasets_and_protocols_alone() -> None:
    demo = {"demo_hest": {"source": "demo", "format": "hest"}}
    found = config.validate(
        {
            "benchmarks": demo,
            "methods": ["ridge", "stflow", "stflow/egnn"],
            "method_datasets": {"stflow": ["demo_hest@paper"], "stflow/egnn": ["demo_hest/DEMO_IDC@clean"]},
        }
    )
    where = ("demo_hest", "DEMO_IDC")
    runs = {
        (row, protocol): runs_on(found, *row.split("/"), *where, protocol)
        for row in ("ridge/default", "stflow/default", "stflow/egnn")
        for protocol in ("paper", "clean")
    }
    assert [key for key, ran in runs.items() if not ran] == [("stflow/default", "clean"), ("stflow/egnn", "paper")]


def test_unknown_places_of_a_method_are_told_all_at_once() -> None:
    demo = {"demo_hest": {"source": "demo", "format": "hest"}}
    places = {"stflo": ["demo_hest"], "stflow": ["hest", "demo_hest/IDC", "demo_hest@papers"], "ridge": []}
    with pytest.raises(ConfigError) as caught:
        config.validate({"benchmarks": demo, "method_datasets": places})
    message = str(caught.value)
    for told in (
        "no method or variant 'stflo'",
        "method_datasets.stflow: no benchmark 'hest' here; known are demo_hest",
        "benchmark demo_hest has no dataset 'IDC' here",
        "no protocol 'papers'; take paper or clean",
        "method_datasets.ridge: names no dataset",
    ):
        assert told in message


def test_the_papers_ablations_run_by_default_on_its_benchmark_alone() -> None:
    paper = config.Config()
    assert "stflow/egnn" in paper.methods
    assert runs_on(paper, "stflow", "egnn", "hest", "IDC", "paper")
    assert not runs_on(paper, "stflow", "egnn", "hest", "IDC", "clean")
    assert not runs_on(paper, "stflow", "egnn", "stimage", "Brain", "paper")
    ours = config.validate({"benchmarks": {"demo_hest": {"source": "demo", "format": "hest"}}})
    assert "stflow/egnn" not in ours.methods
    assert ours.method_datasets == {}
