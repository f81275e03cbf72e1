"""No code of the project unpickles, evaluates or unpacks what comes from outside; downloads have their few places.

The walk reads syntax trees, so names in comments and words do not count; names are followed to what they were imported
or assigned from, so ``import pickle as p``, ``from torch import load as l`` and ``getattr(numpy, "load")`` do. It looks
at one file at a time: it keeps honest code honest, and is no fence against code written to get past it. Each exception
has its reason.
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
    ("stflow/encoders/weights.py", "import zipfile"): "asks whether a file is one, unpacks nothing",
    ("stflow/data/download.py", "import urllib.request"): "her2st's archive and no other, by SHA-256",
    ("stflow/data/hub/release.py", "import urllib.request"): "release assets of GitHub, by lock",
    ("stflow/doctor.py", "import httpx2"): "the class of an error of the hub client",
    ("stflow/data/hub/client.py", "import httpx2"): "classes of errors of the hub client",
    ("stflow/efficiency/measure.py", "import multiprocessing.connection"): "a type; the other end is its own child",
    ("stflow/plugins.py", "a module by a name that is made"): "plug-ins of the configuration, which is trusted code",
    ("stflow/registry.py", "a module by a name that is made"): "the project's own modules, by the table of names",
    ("stflow/preload/server.py", "a module by a name that is made"): "the libraries of a list in that file",
    ("stflow/io.py", "an HDF5 file opened without a check"): "open_h5, which makes the check",
    ("stflow/h5.py", "an AnnData file read without a check"): "read_anndata, which makes the check",
    ("benchmarks/tiling.py", "an HDF5 file opened without a check"): "reads what it has just written",
    ("stflow/csv_text.py", "CSV without a guard of formulas"): "the guard",
}
_IMPORTS = {
    *("pickle", "cPickle", "_pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal", "jsonpickle"),
    *("zipfile", "tarfile", "zipimport", "multiprocessing.connection", "pty", "xmlrpc", "telnetlib"),
    *("requests", "httpx", "httpx2", "aiohttp", "urllib3", "ftplib", "urllib.request"),
}
_HUB = ("hf_hub_download", "snapshot_download")
_LOADERS = ("SafeLoader", "CSafeLoader")
_UNSAFE_YAML = ("unsafe_load", "full_load", "unsafe_load_all", "full_load_all")
#: What a call of one of these full names is.
_CALLS = {
    **dict.fromkeys(("eval", "exec", "compile", "__import__"), "a builtin that runs text"),
    **dict.fromkeys(("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"), "a shell"),
    **dict.fromkeys(("torch.jit.load", "torch.package.PackageImporter", "torch.export.load"), "code in a model file"),
    **dict.fromkeys(("anndata.read_h5ad", "anndata.io.read_h5ad"), "an AnnData file read without a check"),
    **dict.fromkeys(("anndata.read_zarr", "anndata.read", "scanpy.read"), "an AnnData file read without a check"),
    **dict.fromkeys(("scanpy.read_h5ad", "squidpy.read.visium"), "an AnnData file read without a check"),
    **dict.fromkeys(("csv.writer", "csv.DictWriter"), "CSV without a guard of formulas"),
    **dict.fromkeys(("pandas.read_pickle", "pandas.read_hdf", "pandas.to_pickle"), "a pickle"),
    **dict.fromkeys(("tempfile.mktemp",), "tempfile.mktemp"),
}
#: What a call of one of these is, whatever it is called on.
_METHODS = {
    **dict.fromkeys(("read_pickle", "to_pickle", "read_hdf"), "a pickle"),
    **dict.fromkeys(("extractall", "unpack_archive", "_extract_member"), "an archive unpacked"),
    **dict.fromkeys(("mktemp",), "tempfile.mktemp"),
}


class Names:
    """What the names of a file stand for: each name -> every full name that it is imported or assigned from."""

    def __init__(self, tree: ast.AST) -> None:
        self._known: dict[str, set[str]] = {}
        self.imports: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._note(alias.name)
                    first = alias.name.partition(".")[0]
                    self._add(alias.asname or first, alias.name if alias.asname else first)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                self._note(node.module)
                for alias in node.names:
                    self._note(f"{node.module}.{alias.name}")
                    self._add(alias.asname or alias.name, f"{node.module}.{alias.name}")
        assignments = [pair for node in ast.walk(tree) for pair in _assigned(node)]
        for _ in range(3):  # of names that are assigned from names
            for name, value in assignments:
                for full in self.of(value):
                    self._add(name, full)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                self.imports |= {name for name in self._by_call(node) if name}

    def _note(self, module: str) -> None:
        self.imports.add(module)

    def _add(self, name: str, full: str) -> None:
        full = _without_builtins(full)
        if full != name and not full.startswith(f"{name}."):
            self._known.setdefault(name, set()).add(full)
        else:
            self._known.setdefault(name, set()).add(name)

    def of(self, node: ast.expr) -> set[str]:
        """Full names that an expression may stand for; of what is no name, one that begins with ``?``."""
        if isinstance(node, ast.Name):
            return self._known.get(node.id, {node.id})
        if isinstance(node, ast.Attribute):
            return {_without_builtins(f"{owner}.{node.attr}") for owner in self.of(node.value)}
        if isinstance(node, ast.Call):
            if imported := set(self._by_call(node)) - {""}:
                return imported
            function, words = self.of(node.func), node.args
            if "getattr" in function and len(words) > 1 and isinstance(words[1], ast.Constant):
                return {_without_builtins(f"{owner}.{words[1].value}") for owner in self.of(words[0])}
            if "functools.partial" in function and words:
                return self.of(words[0])
            if "globals" in function:
                return {"__builtins__"}
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            # sys.modules["pickle"], globals()["eval"], __builtins__["eval"]
            known = self.of(node.value) & {"sys.modules", "__builtins__"}
            return {str(node.slice.value)} if known else {"?"}
        return {"?"}

    def _by_call(self, node: ast.Call) -> list[str]:
        """The module that ``__import__`` or ``import_module`` names; empty where the name is not written out."""
        if not self.of(node.func) & {"__import__", "importlib.import_module", "importlib.__import__"}:
            return []
        first = node.args[0] if node.args else None
        return [first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""]


def _without_builtins(name: str) -> str:
    return name.removeprefix("builtins.").removeprefix("__builtins__.")


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """(name, value) of an assignment to plain names, a walrus, or an argument's default."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value
            elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=False)
                yield from ((name.id, value) for name, value in pairs if isinstance(name, ast.Name))
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and isinstance(node.target, ast.Name) and node.value:
        yield node.target.id, node.value


def _call(names: Names, node: ast.Call) -> Iterator[str]:
    """What is wrong with a call."""
    options = {word.arg: word.value for word in node.keywords}

    def is_set(option: str, value: bool) -> bool:
        found = options.get(option)
        return isinstance(found, ast.Constant) and found.value is value

    loader = options.get("Loader", node.args[1] if len(node.args) > 1 else None)
    mode = options.get("mode", node.args[1] if len(node.args) > 1 else None)
    if "shell" in options and not is_set("shell", False):
        yield "a shell"
    if "allow_pickle" in options and not is_set("allow_pickle", False):
        yield "numpy.load without allow_pickle=False"
    for name in names.of(node.func):
        last = name.rpartition(".")[2]
        if name in _CALLS:
            yield _CALLS[name]
        elif last in _METHODS:
            yield _METHODS[last]
        elif name in ("torch.load", "torch.serialization.load") and not is_set("weights_only", True):
            yield "torch.load without weights_only=True"
        elif name in ("numpy.load", "numpy.lib.format.read_array") and not is_set("allow_pickle", False):
            yield "numpy.load without allow_pickle=False"
        elif last in _UNSAFE_YAML and name.startswith(("yaml.", "?")):
            yield "a yaml loader that makes objects"
        elif name in ("yaml.load", "yaml.load_all"):
            known = names.of(loader) if loader is not None else {"none"}
            if not all(full.rpartition(".")[2] in _LOADERS for full in known):
                yield "a yaml loader that makes objects"
        elif name == "h5py.File" and not (isinstance(mode, ast.Constant) and mode.value == "w"):
            yield "an HDF5 file opened without a check"
        elif last == "to_csv" and not name.startswith("stflow."):
            yield "CSV without a guard of formulas"
        elif name.startswith("torch.hub."):
            yield "torch.hub"
        elif name in ("importlib.import_module", "importlib.__import__") and "" in names._by_call(node):
            yield "a module by a name that is made"


def found(text: str, *, in_hub: bool = False) -> set[str]:
    """What a Python text does that it must not."""
    tree = ast.parse(text)
    names = Names(tree)
    problems = {
        f"import {module}"
        for name in names.imports
        for module in _IMPORTS
        if name == module or name.startswith(f"{module}.")
    }
    problems |= {"import *" for name in names.imports if name.endswith(".*")}
    used = {name for node in ast.walk(tree) if isinstance(node, ast.Attribute) for name in names.of(node)}
    problems |= {f"import {module}" for module in _IMPORTS & used if "." in module}
    if not in_hub:
        hub = {name for name in used if name.startswith("huggingface_hub.")} | names.imports
        problems |= {f"import {name}" for name in hub if name.rpartition(".")[2] in _HUB}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            problems |= set(_call(names, node))
        elif isinstance(node, (ast.Name, ast.Attribute)):
            # As a value too: map(eval, texts) calls what is never seen in a call.
            problems |= {_CALLS[name] for name in names.of(node) if name in _CALLS}
    for node in ast.walk(tree):
        handed = [*node.args, *(word.value for word in node.keywords)] if isinstance(node, ast.Call) else []
        if any(names.of(value) & {"torch.load", "torch.serialization.load"} for value in handed):
            problems.add("torch.load without weights_only=True")
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


_WORDS_OF_NO_RULE = (
    *("pickle", "eval(", "exec(", "os.system", "os.popen", "yaml.load(", "urlopen", "import_module", "__import__"),
    *("zipfile", "tarfile", "extractall", "unpack_archive", "torch.load", "h5py", "read_h5ad", "csv.writer", "to_csv("),
)


def test_rules_call_no_loader() -> None:
    """Rules are no plain Python, so their text is searched."""
    rules = list(_python_of_rules())
    assert len(rules) > 5
    for name, text in rules:
        for word in _WORDS_OF_NO_RULE:
            assert word not in text, f"{name}: {word}"


_TORCH = "torch.load without weights_only=True"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import pickle", "import pickle"),
        ("from joblib import load", "import joblib"),
        ("import torch\ntorch.load(p)", _TORCH),
        ("import torch\ntorch.load(p, weights_only=False)", _TORCH),
        ("import numpy as np\nnp.load(p, allow_pickle=True)", "numpy.load without allow_pickle=False"),
        ("pd.read_pickle(p)", "a pickle"),
        ("import pickle as p\np.loads(b)", "import pickle"),
        ("from pickle import loads as p", "import pickle"),
        ("def f():\n    import dill as d\n    d.load(p)", "import dill"),
        ("try:\n    import cPickle as p\nexcept ImportError:\n    pass", "import cPickle"),
        ("import multiprocessing\nmultiprocessing.connection.Client(a)", "import multiprocessing.connection"),
        ("from torch import load as l\nl(p)", _TORCH),
        ("import torch as t\nt.load(p)", _TORCH),
        ("import torch\nread = torch.load\nread(p)", _TORCH),
        ("import torch\na = torch\nb = a.load\nb(p)", _TORCH),
        ("import torch\na, b = 1, torch.load\nb(p)", _TORCH),
        ("import torch\nif (r := torch.load):\n    r(p)", _TORCH),
        ("import torch\ngetattr(torch, 'load')(p)", _TORCH),
        ("from functools import partial\nimport torch\nr = partial(torch.load)\nr(p)", _TORCH),
        ("import torch\ntorch.load(p, weights_only=flag)", _TORCH),
        ("import torch\nlist(map(torch.load, p))", _TORCH),
        ("import torch\ntorch.jit.load(p)", "code in a model file"),
        ("from numpy import load\nload(p)", "numpy.load without allow_pickle=False"),
        ("from numpy import load as l\nl(p)", "numpy.load without allow_pickle=False"),
        ("import numpy as np\nnp.load(p)", "numpy.load without allow_pickle=False"),
        ("import numpy as n\nn.load(p, mmap_mode='r')", "numpy.load without allow_pickle=False"),
        ("from numpy import *", "import *"),
        ("import pandas as pd\npd.read_hdf(p)", "a pickle"),
        ("frame.to_pickle(p)", "a pickle"),
        ("import importlib\nimportlib.import_module('pickle')", "import pickle"),
        ("from importlib import import_module as i\ni('pickle').loads(b)", "import pickle"),
        ("import importlib\nimportlib.import_module(name)", "a module by a name that is made"),
        ("import importlib as i\ni.import_module('tor' + 'ch')", "a module by a name that is made"),
        ("import sys\nsys.modules['os'].system(t)", "a shell"),
        ("import builtins\nbuiltins.eval(t)", "a builtin that runs text"),
        ("from builtins import exec as e\ne(t)", "a builtin that runs text"),
        ("import builtins as b\ngetattr(b, 'eval')(t)", "a builtin that runs text"),
        ("globals()['eval'](t)", "a builtin that runs text"),
        ("list(map(eval, texts))", "a builtin that runs text"),
        ("run = eval\nrun(t)", "a builtin that runs text"),
        ("from os import system as s\ns(t)", "a shell"),
        ("import subprocess as s\ns.getoutput(t)", "a shell"),
        ("from subprocess import run as r\nr(t, shell=True)", "a shell"),
        ("import yaml as y\ny.load(t)", "a yaml loader that makes objects"),
        ("from yaml import load as l, UnsafeLoader as U\nl(t, U)", "a yaml loader that makes objects"),
        ("from yaml import full_load as f\nf(t)", "a yaml loader that makes objects"),
        ("import zipfile as z\nz.ZipFile(p).extract(n)", "import zipfile"),
        ("from tarfile import open as o\no(p).extractfile(n)", "import tarfile"),
        ("from shutil import unpack_archive as u\nu(p)", "an archive unpacked"),
        ("archive.extractall(d, filter='data')", "an archive unpacked"),
        ("import h5py\nh5py.File(p)", "an HDF5 file opened without a check"),
        ("from h5py import File as F\nF(p, 'r')", "an HDF5 file opened without a check"),
        ("import h5py\nh5py.File(p, mode='r+')", "an HDF5 file opened without a check"),
        ("import anndata as ad\nad.read_h5ad(p)", "an AnnData file read without a check"),
        ("from anndata.io import read_h5ad as r\nr(p)", "an AnnData file read without a check"),
        ("import scanpy as sc\nsc.read_h5ad(p)", "an AnnData file read without a check"),
        ("import csv\ncsv.writer(f)", "CSV without a guard of formulas"),
        ("from csv import DictWriter as W\nW(f, n)", "CSV without a guard of formulas"),
        ("frame.to_csv(p)", "CSV without a guard of formulas"),
        ("import urllib\nurllib.request.urlopen(a)", "import urllib.request"),
        ("import huggingface_hub as h\nh.snapshot_download(n)", "import huggingface_hub.snapshot_download"),
        ("import yaml\nyaml.load(t)", "a yaml loader that makes objects"),
        ("import yaml\nyaml.load(t, Loader=yaml.UnsafeLoader)", "a yaml loader that makes objects"),
        ("yaml.unsafe_load(t)", "a yaml loader that makes objects"),
        ("__import__(name)", "a builtin that runs text"),
        ("eval(t)", "a builtin that runs text"),
        ("exec(t)", "a builtin that runs text"),
        ("subprocess.run(t, shell=True)", "a shell"),
        ("subprocess.run(t, shell=flag)", "a shell"),
        ("os.system(t)", "a shell"),
        ("open_archive(p).extractall(d)", "an archive unpacked"),
        ("shutil.unpack_archive(p)", "an archive unpacked"),
        ("tempfile.mktemp()", "tempfile.mktemp"),
        ("import requests", "import requests"),
        ("from urllib import request", "import urllib.request"),
        ("from huggingface_hub import hf_hub_download", "import huggingface_hub.hf_hub_download"),
    ],
)
def test_the_walk_finds(text: str, problem: str) -> None:
    assert found(text) == {problem}


def test_the_walk_names_both_a_hidden_import_and_what_it_hides_in() -> None:
    assert found("p = __import__('pickle')\np.loads(b)") == {"a builtin that runs text", "import pickle"}
    assert found("import os, pickle\nos.system(t)") == {"a shell", "import pickle"}


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(p, weights_only=True)",
        "np.load(p, allow_pickle=False)",
        "from torch import load as l\nl(p, weights_only=True)",
        "from numpy import load as l\nl(p, allow_pickle=False)",
        "from yaml import load as l, CSafeLoader as S\nl(t, S)",
        "import importlib.metadata\nimportlib.metadata.version('x')",
        "import importlib\nimportlib.import_module('stflow.io')",
        "from stflow.report.render import to_csv\nto_csv(c, r)",
        "import h5py\nh5py.File(p, 'w')",
        "import re\nre.compile(t)",
        "import urllib.parse\nurllib.parse.quote(t)",
        "method.load(p)",
        "import csv\ncsv.DictReader(f)",
        "yaml.load(t, Loader=yaml.CSafeLoader)",
        "yaml.safe_load(t)",
        "module.eval()",
        "subprocess.run(words)",
    ],
)
def test_the_walk_lets_through(text: str) -> None:
    assert not found(text)
