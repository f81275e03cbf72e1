"""Code stamps: what a stage reaches is hashed, what only documents or names is not."""

import textwrap
from pathlib import Path

import pytest

from stflow import provenance
from stflow.config import load
from stflow.errors import RegistryError
from stflow.provenance import closure, code_hash, write_if_changed
from stflow.stamps import stages

DEMO = Path(__file__).parents[1] / "config" / "demo.yaml"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A third party's package whose method reaches one module in each of the ways that Python has."""
    files = {
        "__init__.py": "",
        "method.py": """
            from typing import TYPE_CHECKING

            import numpy
            from lab_methods import absolute
            from . import beside
            from .deep.leaf import value
            from stflow.seeds import entropy
            import stflow.errors

            if TYPE_CHECKING:
                from lab_methods import only_types

            def fit(x):
                '''Fit.'''
                # a comment
                from lab_methods.lazy import helper
                return helper(x) + value
            """,
        "absolute.py": "",
        "beside.py": "",
        "lazy.py": "def helper(x):\n    return x\n",
        "deep/__init__.py": "from .other import thing\n",
        "deep/leaf.py": "from .. import up\nvalue = 1\n",
        "deep/other.py": "thing = 2\n",
        "up.py": "",
        "only_types.py": "",
        "unrelated.py": "",
    }
    root = tmp_path / "lab_methods"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    return root


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    provenance._source.cache_clear()


def test_the_closure_follows_every_kind_of_import_within_the_packages(package: Path) -> None:
    own = {name.removeprefix("lab_methods") for name in closure("lab_methods.method") if name.startswith("lab")}
    assert own == {"", ".method", ".absolute", ".beside", ".lazy", ".deep", ".deep.leaf", ".deep.other", ".up"}


def test_a_third_party_method_is_followed_into_this_package_and_no_other(package: Path) -> None:
    others = {name for name in closure("lab_methods.method") if not name.startswith("lab_methods")}
    assert others == {"stflow.seeds"}


@pytest.mark.parametrize("module", ["method.py", "lazy.py", "deep/other.py"])
def test_an_edit_of_reached_code_changes_the_hash(package: Path, module: str) -> None:
    before = code_hash("lab_methods.method")
    with (package / module).open("a") as handle:
        handle.write("ADDED = 1\n")
    assert code_hash("lab_methods.method") != before


@pytest.mark.parametrize("module", ["unrelated.py", "only_types.py"])
def test_an_edit_of_other_code_does_not(package: Path, module: str) -> None:
    before = code_hash("lab_methods.method")
    (package / module).write_text("ADDED = 1\n")
    assert code_hash("lab_methods.method") == before


def test_comments_docstrings_and_layout_do_not_change_the_hash(package: Path) -> None:
    before = code_hash("lab_methods.method")
    edit(package / "method.py", "# a comment", "# another\n\n")
    edit(package / "method.py", "'''Fit.'''", '"""Fit at\n    length."""')
    edit(package / "lazy.py", "return x", "return (x)")
    assert code_hash("lab_methods.method") == before


def test_a_string_that_is_no_docstring_changes_the_hash(package: Path) -> None:
    before = code_hash("lab_methods.method")
    edit(package / "lazy.py", "return x", "return 'x'")
    assert code_hash("lab_methods.method") != before


def test_a_module_that_is_not_there_is_told() -> None:
    with pytest.raises(RegistryError, match=r"no module 'stflow\.nothing'.*Install it"):
        code_hash("stflow.nothing")


def test_an_unchanged_file_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "stamp"
    write_if_changed(path, "a\n")
    written = path.stat().st_mtime_ns
    write_if_changed(path, "a\n")
    assert path.stat().st_mtime_ns == written
    write_if_changed(path, "b\n")
    assert path.read_text() == "b\n"


def test_no_stage_depends_on_the_command_line_the_configuration_or_the_workflow() -> None:
    for name, modules in stages(load(DEMO)).items():
        reached = closure(*modules)
        assert not reached.keys() & {*provenance.NAMES_ONLY, "stflow.workflow", "stflow.stamps"}, name


def test_stages_reach_what_they_run_and_not_what_others_run() -> None:
    reached = {name: closure(*modules) for name, modules in stages(load(DEMO)).items()}
    assert "stflow.models.stflow.denoiser" in reached["train-stflow"]
    assert "stflow.models.stflow.denoiser" in reached["predict-stflow"]
    assert "stflow.evaluation.crps" in reached["predict-stflow"]
    assert "stflow.evaluation.crps" not in reached["train-stflow"]
    for name in ("train-ridge", "embed-classical", "evaluate", "table1"):
        assert "stflow.models.stflow.denoiser" not in reached[name]
    for name in reached.keys() - {"maps", "refinement", "figure5"}:
        assert "stflow.report.maps.page" not in reached[name], name
    assert "stflow.models.triplex" in reached["efficiency-triplex"]
    assert "stflow.models.stflow.denoiser" not in reached["efficiency-triplex"]
    assert "stflow.models.ridge" not in reached["train-stflow"]
