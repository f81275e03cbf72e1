"""A copy of the repository in which a test may edit code, and Snakemake on it."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from stflow.config import validate
from stflow.layout import Layout
from stflow.workflow import Plan

ROOT = Path(__file__).parents[2]


class Tree:
    """A copy of what the workflow reads; commands run in it find its copy of the package."""

    def __init__(self, root: Path) -> None:
        self.root = root
        ignore = shutil.ignore_patterns("__pycache__")
        for folder in ("stflow", "workflow", "config", "resources", "envs"):
            shutil.copytree(ROOT / folder, root / folder, ignore=ignore)

    def snakemake(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake in the copy, with jobs that import what they need; the output holds both streams."""
        own = {"PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1", "STFLOW_PRELOAD": "off"}
        environment = {**os.environ, **own, **variables}
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def planned(self, *arguments: str) -> "Planned":
        """The jobs that a dry run says would run."""
        done = self.snakemake("--dry-run", *arguments)
        assert done.returncode == 0, done.stdout
        return Planned(done.stdout)

    def set_up_lab(self, slides: Sequence[str]) -> None:
        """A benchmark `lab` of empty files with stand-in commands; its two folds test the last slide and the first."""
        shutil.copy(Path(__file__).with_name("sham_cli.py"), self.root / "stflow" / "cli.py")
        for slide in slides:
            for name in (f"adata/{slide}.h5ad", f"patches/{slide}.h5"):
                path = self.root / "lab" / "D" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        rows = [
            f"D,{slide},p{slide},*,{fold},{'test' if slide == tested else 'train'}"
            for fold, tested in enumerate((slides[-1], slides[0]))
            for slide in slides
        ]
        (self.root / "lab.csv").write_text("\n".join(["dataset,slide,patient,protocol,fold,role", *rows]) + "\n")

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace text in a file of the copy."""
        target = self.root / path
        text = target.read_text()
        assert old in text, f"{path} does not hold {old!r}"
        target.write_text(text.replace(old, new, 1))


class Planned:
    """Jobs of a dry run: ``count`` a rule, the messages of all jobs, and all that was said."""

    def __init__(self, output: str) -> None:
        self.output = output
        table = output.rpartition("Job stats:")[2].partition("\n\n")[0]
        self.count = Counter({name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)})
        del self.count["total"]
        self.messages = set(re.findall(r"^Job \d+: (.*)$", output, re.MULTILINE))


@pytest.fixture(scope="module")
def make_tree(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Tree]:
    """Make a fresh copy of the repository."""
    return lambda: Tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def tree(make_tree: Callable[[], Tree]) -> Tree:
    """One copy for all tests of a module."""
    return make_tree()


@pytest.fixture
def two_folds(tmp_path: Path) -> Callable[..., Plan]:
    """Plan a benchmark `lab` of three slides in two folds, with these keys of the configuration."""
    manifest = tmp_path / "lab.csv"
    rows = [(f"s{slide}", fold, "test" if slide == 3 - fold else "train") for fold in (0, 1) for slide in (1, 2, 3)]
    lines = [f"D,{slide},p{slide[1]},*,{fold},{role}" for slide, fold, role in rows]
    manifest.write_text("\n".join(["dataset,slide,patient,protocol,fold,role", *lines]) + "\n")
    benchmarks = {"lab": {"root": str(tmp_path), "manifest": str(manifest)}}
    return lambda **values: Plan(validate({"benchmarks": benchmarks, **values}))


class Lab:
    """A copy of the repository with a configuration of its own, its results, and the hub that it downloads from."""

    def __init__(self, tree: Tree, hub, config: Mapping[str, object]) -> None:
        self.tree, self.hub, self.config, self.layout = tree, hub, config, Layout(tree.root / "results")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake; only requests of this call are in ``hub.asked`` afterwards."""
        self.hub.asked.clear()
        return self.tree.snakemake(*arguments, "--cores", "2", "--configfile", "lab.yaml")

    def configure(self, **changes: object) -> None:
        """Write the configuration."""
        (self.tree.root / "lab.yaml").write_text(yaml.safe_dump({**self.config, **changes}))

    @staticmethod
    def rules_run(done: subprocess.CompletedProcess[str]) -> Counter[str]:
        """How often a call of Snakemake ran each rule."""
        return Counter(re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", done.stdout, re.MULTILINE))


@pytest.fixture(scope="module")
def make_lab(make_tree: Callable[[], Tree], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Lab]]:
    """``make_lab(hub, config, rows)``: a fresh copy of the repository on a hub of `hub_server`, without a token.

    ``rows`` are those of the split manifest ``lab.csv``.
    """
    with pytest.MonkeyPatch.context() as patch:

        def make(hub, config: Mapping[str, object], rows: Sequence[str]) -> Lab:
            lab = Lab(make_tree(), hub, config)
            header = "dataset,slide,patient,protocol,fold,role"
            (lab.tree.root / "lab.csv").write_text("\n".join([header, *rows]) + "\n")
            lab.configure()
            patch.setenv("HF_ENDPOINT", hub.address)
            patch.setenv("NO_PROXY", "127.0.0.1")
            patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("home")))
            patch.delenv("HF_TOKEN", raising=False)
            return lab

        yield make
