"""One method of nine fails: the other eight are made, and once it is mended only its own runs are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.workflow

EIGHT = ("mean", "ridge", "ridge/neighbours", "knn", "mlp", "random_forest", "bleep", "stflow")
SHORT = {"epochs": 2}
SETTINGS = {"mlp": SHORT, "bleep": SHORT}
FAILS = "raise RunFailed('the loss became nan in epoch 1. Lower learning_rate.')"
BREAKS = "raise ValueError('a mistake in the code')"
PLUGIN = '''
"""A method of a lab."""
import numpy as np

from stflow.errors import RunFailed
from stflow.models import METHODS
from stflow.models.base import Fit, Method, Settings


class NinthSettings(Settings):
    """It has nothing to set."""


@METHODS.register("ninth")
class Ninth(Method):
    """The mean of all spots and genes."""

    name = "ninth"
    Settings = NinthSettings
    stochastic = False
    selects = False

    def fit(self, train, select, *, seed, checkpoint=None, device="cpu"):
        {line}
        self.value = np.mean([slide.expression(self.task.genes).mean() for slide in train])
        return Fit()

    def predict(self, slide, *, seed, device="cpu"):
        return np.full((len(slide), len(self.task.genes)), self.value, dtype=np.float32)

    def state(self):
        return {{"value": np.array([self.value])}}

    def load_state(self, state):
        self.value = state["value"][0]
'''


def write(path: Path, line: str) -> None:
    path.write_text(PLUGIN.format(line=line))


@pytest.fixture
def nine(flow: Any) -> Path:
    """The workflow with eight methods and a plug-in, from features on; the plug-in's file."""
    flow.before("train")
    path = flow.root / "ninth.py"
    own = {**flow.config["settings"], **SETTINGS}
    flow.configure(methods=[*EIGHT, "ninth"], settings=own, plugins=[str(path)])
    return path


def metrics(flow: Any) -> set[str]:
    """Methods that have been scored."""
    found = (path.parts[-3:-1] for path in (flow.results / "metrics").rglob("*.parquet"))
    return {"/".join(names).removesuffix("/default") for names in found}


def test_a_run_that_fails_is_in_the_tables_and_is_mended_alone(flow: Any, enter: Any, nine: Path) -> None:
    write(nine, FAILS)
    code, output = flow.run()
    assert code == 0, output
    table = (flow.results / "tables" / "table1.md").read_text()
    assert metrics(flow) == {*EIGHT, "ninth"}
    assert "Failed runs: 1" in table
    assert "classical/ninth/default/paper/fold0/seed0: the loss became nan in epoch 1" in table
    line = next(line for line in table.splitlines() if line.lower().startswith("| ninth"))
    assert "failed" in line
    mend(flow, enter, nine, 0)
    assert "No run failed." in (flow.results / "tables" / "table1.md").read_text()


def test_a_method_with_a_mistake_stops_the_tables_only(flow: Any, enter: Any, nine: Path) -> None:
    write(nine, BREAKS)
    code, output = flow.run()
    assert code == 1
    assert "ValueError: a mistake in the code" in output
    assert "lab/DEMO_IDC/classical/ninth/default/paper/fold0/seed0" in output
    assert metrics(flow) == set(EIGHT)
    assert not list((flow.results / "tables").glob("*"))
    assert not list((flow.results / "runs").glob("*/*/*/ninth/**/model.safetensors"))
    mend(flow, enter, nine, 1)


def mend(flow: Any, enter: Any, nine: Path, number: int) -> None:
    """Put the method right and run again: its own runs are made, those of the other eight are left as they are."""
    before = others(flow)
    write(nine, "pass")
    code, output = flow.run()
    assert code == 0, output
    ran, after = flow.rules_run(output), others(flow)
    assert (ran["train"], ran["predict"], ran["evaluate"]) == (1, 1, 1)
    again = sum(after[path] != before[path] for path in before)
    enter("a failing method of nine", "train", number, survived=True, lost=0, recomputed=again, struck=True)
    assert not again


def others(flow: Any) -> dict[Path, tuple[int, int]]:
    """Stamps of the runs and metrics of the other eight."""
    found = {}
    for folder in ("runs", "metrics"):
        for path in (flow.results / folder).rglob("*"):
            if path.is_file() and "ninth" not in path.parts:
                status = path.stat()
                found[path] = (status.st_ino, status.st_mtime_ns)
    return found
