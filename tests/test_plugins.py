"""A user's file is loaded once, what it registers is a name like any other, and the jobs find it too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stflow import config, plugins
from stflow.encoders import ENCODERS
from stflow.errors import ConfigError
from stflow.provenance import closure

PLUGIN = '''
"""An encoder of a lab."""
import numpy as np

from stflow.encoders import ENCODERS
from stflow.encoders.base import Encoder


@ENCODERS.register("{name}")
class Brightness(Encoder):
    name = "{name}"
    dim = 3
    transform = "mean colour"
    licence = "MIT"
    uses_torch = False
    weights_sha256 = "none"

    def encode(self, tiles):
        return tiles.mean(axis=(1, 2)).astype(np.float32)
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that registers an encoder named after it; forgotten afterwards."""
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(ENCODERS, "_added", {})
    monkeypatch.setenv(plugins.VARIABLE, "")
    path = tmp_path / "brightness_of_lab.py"
    path.write_text(PLUGIN.format(name=path.stem))
    yield path
    sys.modules.pop(path.stem, None)


def test_what_a_file_registers_can_be_configured(plugin: Path) -> None:
    loaded = config.validate({"plugins": [str(plugin)], "encoders": ["brightness_of_lab+dihedral", "classical"]})
    assert loaded.encoders[0] == "brightness_of_lab+dihedral"
    assert ENCODERS.get("brightness_of_lab").dim == 3
    config.validate({"plugins": [str(plugin)], "encoders": ["brightness_of_lab"]})  # a second time


def test_the_commands_of_a_job_find_it(plugin: Path) -> None:
    plugins.load([plugin])
    assert os.environ[plugins.VARIABLE] == str(plugin)
    code = "from stflow.encoders import ENCODERS; print(ENCODERS.get('brightness_of_lab').dim, ENCODERS.names()[-1])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "brightness_of_lab"]


def test_its_code_is_part_of_what_features_are_made_by(plugin: Path) -> None:
    plugins.load([plugin])
    assert closure(ENCODERS.module("brightness_of_lab"))["brightness_of_lab"] == plugin


def test_files_that_cannot_be_loaded_are_told(plugin: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.py is not a Python file with a module's name"):
        plugins.load([tmp_path / "nothing.py"])
    (tmp_path / "my-file.py").write_text("")
    with pytest.raises(ConfigError, match=r"my-file\.py is not a Python file with a module's name"):
        plugins.load([tmp_path / "my-file.py"])
    (tmp_path / "random.py").write_text("")
    with pytest.raises(ConfigError, match=r"there is another module 'random'"):
        plugins.load([tmp_path / "random.py"])


def test_a_file_with_a_mistake_shows_it_each_time(plugin: Path) -> None:
    plugin.write_text("1 / 0")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            plugins.load([plugin])
