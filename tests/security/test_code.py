"""No code of the project unpickles, evaluates or unpacks what comes from outside; downloads have their few places.

The walk reads syntax trees, so names in comments and words do not count. Each exception has its reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: (file, what is found there) -> why it may be.
ALLOWED = {
    ("stflow/encoders/weights.py", "import pickle"): "the class of the error that torch raises, nothing is loaded",
    ("stflow/data/download.py", "import urllib.request"): "her2st's archive and no other, by SHA-256",
    ("stflow/data/hub/release.py", "import urllib.request"): "release assets of GitHub, by lock",
    ("stflow/doctor.py", "import httpx2"): "the class of an error of the hub client",
    ("stflow/data/hub/client.py", "import httpx2"): "classes of errors of the hub client",
}
_PICKLES = {"pickle", "cPickle", "_pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
_NETWORK = {"requests", "httpx", "httpx2", "aiohttp", "urllib3", "ftplib", "urllib.request", "http.client"}
_HUB = ("hf_hub_download", "snapshot_download")
_LOADERS = {"SafeLoader", "CSafeLoader"}


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def _modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _call(node: ast.Call) -> str:
    """What is wrong with a call; empty if nothing is."""
    name, last = _dotted(node.func), _dotted(node.func).rpartition(".")[2]
    options = {word.arg: word.value for word in node.keywords}

    def is_true(option: str) -> bool:
        value = options.get(option)
        return isinstance(value, ast.Constant) and value.value is True

    loader = options.get("Loader", node.args[1] if len(node.args) > 1 else None)
    pickled, shell = options.get("allow_pickle"), options.get("shell")
    refused = {
        "a builtin that runs text": name in ("eval", "exec", "__import__", "builtins.eval", "builtins.exec"),
        "torch.load without weights_only=True": name == "torch.load" and not is_true("weights_only"),
        "allow_pickle": pickled is not None and not (isinstance(pickled, ast.Constant) and pickled.value is False),
        "read_pickle": last in ("read_pickle", "to_pickle"),
        "a yaml loader that makes objects": last in ("unsafe_load", "full_load", "unsafe_load_all", "full_load_all")
        or (
            name in ("yaml.load", "yaml.load_all")
            and (loader is None or _dotted(loader).rpartition(".")[2] not in _LOADERS)
        ),
        "a shell": name in ("os.system", "os.popen")
        or (shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False)),
        "an archive unpacked without a filter": last in ("extractall", "unpack_archive") and "filter" not in options,
        "tempfile.mktemp": last == "mktemp",
        "torch.hub": name.startswith("torch.hub."),
    }
    return next((what for what, is_so in refused.items() if is_so), "")


def found(text: str, *, in_hub: bool = False) -> set[str]:
    """What a Python text does that it must not."""
    problems: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        names = list(_modules(node))
        problems |= {f"import {name}" for name in names if name.split(".")[0] in _PICKLES and "." not in name}
        problems |= {f"import {name}" for name in names if name in _NETWORK and not name.startswith("http.client")}
        if not in_hub:
            problems |= {f"import {name}" for name in names if name.rpartition(".")[2] in _HUB}
        if isinstance(node, ast.Call) and (problem := _call(node)):
            problems.add(problem)
    return problems


def _files() -> list[Path]:
    return sorted(
        path for folder in ("stflow", "benchmarks", "workflow", "config") for path in (ROOT / folder).rglob("*.py")
    )


def _python_of_rules() -> Iterator[tuple[str, str]]:
    for path in sorted([*(ROOT / "workflow").rglob("*.smk"), ROOT / "workflow" / "Snakefile"]):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_nothing_of_the_code_runs_what_comes_from_outside() -> None:
    bad, used = [], set()
    files = _files()
    assert len(files) > 150
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        for problem in found(path.read_text(encoding="utf-8"), in_hub=name.startswith("stflow/data/hub/")):
            if (name, problem) in ALLOWED:
                used.add((name, problem))
            else:
                bad.append(f"{name}: {problem}")
    assert not bad
    assert used == set(ALLOWED), "an exception that nothing needs any more"


def test_rules_call_no_loader() -> None:
    """Rules are no plain Python, so their text is searched."""
    rules = list(_python_of_rules())
    assert len(rules) > 5
    for name, text in rules:
        for word in ("pickle", "eval(", "exec(", "os.system", "yaml.load(", "urlopen", "extractall"):
            assert word not in text, f"{name}: {word}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import pickle", "import pickle"),
        ("from joblib import load", "import joblib"),
        ("import torch\ntorch.load(p)", "torch.load without weights_only=True"),
        ("import torch\ntorch.load(p, weights_only=False)", "torch.load without weights_only=True"),
        ("import numpy as np\nnp.load(p, allow_pickle=True)", "allow_pickle"),
        ("pd.read_pickle(p)", "read_pickle"),
        ("import yaml\nyaml.load(t)", "a yaml loader that makes objects"),
        ("import yaml\nyaml.load(t, Loader=yaml.UnsafeLoader)", "a yaml loader that makes objects"),
        ("yaml.unsafe_load(t)", "a yaml loader that makes objects"),
        ("eval(t)", "a builtin that runs text"),
        ("exec(t)", "a builtin that runs text"),
        ("subprocess.run(t, shell=True)", "a shell"),
        ("subprocess.run(t, shell=flag)", "a shell"),
        ("os.system(t)", "a shell"),
        ("tarfile.open(p).extractall(d)", "an archive unpacked without a filter"),
        ("shutil.unpack_archive(p)", "an archive unpacked without a filter"),
        ("tempfile.mktemp()", "tempfile.mktemp"),
        ("import requests", "import requests"),
        ("from urllib import request", "import urllib.request"),
        ("from huggingface_hub import hf_hub_download", "import huggingface_hub.hf_hub_download"),
    ],
)
def test_the_walk_finds(text: str, problem: str) -> None:
    assert found(text) == {problem}


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(p, weights_only=True)",
        "np.load(p, allow_pickle=False)",
        "yaml.load(t, Loader=yaml.CSafeLoader)",
        "yaml.safe_load(t)",
        "module.eval()",
        "tar.extractall(d, filter='data')",
        "subprocess.run(words)",
    ],
)
def test_the_walk_lets_through(text: str) -> None:
    assert not found(text)
