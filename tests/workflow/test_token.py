"""The token opens the hub and is nowhere else: not in logs, results or Snakemake's records, nor in any command line."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stflow.data.demo import make_slide

from ..hub import server

pytestmark = pytest.mark.workflow

NAME = "MahmoodLab/hest-bench"
TOKEN = "hf_0123456789abcdefghijSECRETklmnop"
SLIDES = ("DEMO1A", "DEMO2A")
CONFIG = {
    "benchmarks": {"lab": {"source": "hub", "repository": NAME, "format": "hest_bench", "manifest": "lab.csv"}},
    "encoders": ["classical"],
    "methods": ["mean"],
    "protocols": ["paper"],
    "seeds": [0],
    "training": {"device": "cpu"},
}


@pytest.fixture(scope="module")
def lab(make_lab, tmp_path_factory: pytest.TempPathFactory):
    """A gated repository of two slides, which this token opens."""
    made = tmp_path_factory.mktemp("demo")
    for slide in SLIDES:
        make_slide("demo_hest", slide, made, size_um=500.0)
    bench = made / "bench" / "DEMO_IDC"
    files = {path.relative_to(bench).as_posix(): path.read_bytes() for path in bench.rglob("*") if path.is_file()}
    files["var_50genes.json"] = json.dumps({"genes": ["ERBB2", "GATA3"]}).encode()
    rows = [f"IDC,{slide},{slide[4]},*,0,{'test' if slide == 'DEMO2A' else 'train'}" for slide in SLIDES]
    with server.serve({NAME: server.Repo({f"IDC/{path}": content for path, content in files.items()})}) as hub:
        hub.repos[NAME].token = TOKEN
        yield make_lab(hub, CONFIG, rows)


@contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """Every command line that a process of this machine has meanwhile."""
    seen: set[bytes] = set()
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def holders(root: Path) -> list[str]:
    """Files that hold the token, packed files of the report's aside."""
    return [str(path) for path in root.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


def test_it_is_nowhere(lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with command_lines() as seen:
        done = lab.run("table1")
    assert done.returncode == 0, done.stdout[-3000:]
    assert lab.hub.fetched(), "the token opened nothing"
    assert TOKEN not in done.stdout
    assert holders(lab.tree.root) == []
    if sys.platform == "linux":
        assert any(b"hub\0download" in line for line in seen), "no download was watched"
    assert not [line for line in seen if TOKEN.encode() in line]


def test_nor_where_it_is_refused(lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.hub.repos[NAME].token = "hf_another"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    root = lab.layout.data("lab")
    shutil.rmtree(root)
    words = ("hub", "lock", "--request", "results/hub.json", "--root", str(root.relative_to(lab.tree.root)), "--debug")
    done = subprocess.run(
        [sys.executable, "-c", "from stflow.cli import main; main()", *words],
        cwd=lab.tree.root,
        env={**os.environ, "PYTHONPATH": str(lab.tree.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    lab.hub.repos[NAME].token = TOKEN
    assert done.returncode != 0
    assert "Traceback" in done.stderr  # as --debug asks for
    assert TOKEN not in done.stdout + done.stderr
    assert holders(lab.tree.root) == []
