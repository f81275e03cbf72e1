"""One source of configuration: what is generated agrees with it, and bad input is told all at once."""

import json
from pathlib import Path

import pytest
import yaml

from stflow import config, config_files
from stflow.errors import ConfigError


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
    with pytest.raises(ConfigError, match="no encoder 'unii'"):
        config.validate({"encoders": ["unii"]})
    with pytest.raises(ConfigError, match="no split manifest at"):
        config.validate({"benchmarks": {"nowhere": {}}})
    with pytest.raises(ConfigError, match="'stflow/fast' names no variant"):
        config.validate({"methods": ["stflow/fast"]})
    with pytest.raises(ConfigError, match=r"variants\.stflow\.fast\.stepps"):
        config.validate({"methods": ["stflow/fast"], "variants": {"stflow": {"fast": {"stepps": 1}}}})


def test_a_variant_changes_only_what_it_names() -> None:
    checked = config.validate(
        {"settings": {"stflow": {"epochs": 3}}, "variants": {"stflow": {"one_step": {"steps": 1}}}}
    )
    base, variant = checked.settings_of("stflow"), checked.settings_of("stflow", "one_step")
    changed = {key for key, value in base.model_dump().items() if variant.model_dump()[key] != value}
    assert changed == {"steps"}
    assert variant.model_dump()["epochs"] == 3


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
