"""Downloads from a hub on this machine that are killed: the same bytes in the end, and no whole file fetched twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ..hub import server
from ..workflow.conftest import Tree
from . import flow as tools

KILLS = int(os.environ.get("FAULT_TRIALS", "16"))
NAME = "MahmoodLab/hest-bench"
SLIDES = ("S1", "S2")
FILES = {
    f"IDC/{name}": np.random.default_rng(number).bytes(size)
    for number, (name, size) in enumerate(
        [
            *((f"adata/{slide}.h5ad", 60_000) for slide in SLIDES),
            *((f"patches/{slide}.h5", 200_000) for slide in SLIDES),
        ]
    )
} | {"IDC/var_50genes.json": b'{"genes": ["GATA3"]}'}
#: How long the body of a file takes (s).
BODY_S = 0.2


@pytest.fixture(scope="module")
def hub() -> Iterator[Any]:
    """A hub with one repository, whose files take their time."""
    with pytest.MonkeyPatch.context() as patch, server.serve({NAME: server.Repo(FILES)}) as hub:
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            patch.delenv(name, raising=False)
        patch.setenv("NO_PROXY", "127.0.0.1")
        hub.body_s = BODY_S
        yield hub


def whole(root: Path) -> set[str]:
    """Files that are there; each must be the published one."""
    there = {name for name in FILES if (root / name).exists()}
    assert all((root / name).read_bytes() == FILES[name] for name in there), "a half-written file under its own name"
    return there


def left_over(root: Path) -> list[Path]:
    """What downloads have begun and not removed."""
    begun = (".incomplete", ".partial", ".new")
    files = (path for path in root.rglob("*") if path.is_file())
    return [path for path in files if ".hub-staging" in path.parts or path.suffix in begun]


def test_a_download_that_is_killed(hub: Any, bench: Any, enter: Any, rng: np.random.Generator) -> None:
    folder = bench.root / "downloads"
    root, struck = folder / "data", 0
    for number in range(KILLS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "hub.address").write_text(hub.address)
        wanted = {"repository": NAME, "root": str(root), "files": sorted(FILES), "encoders": []}
        (folder / "hub.json").write_text(json.dumps({"schema": 1, "wanted": [wanted]}))
        assert bench.run("lock", folder)["code"] == 0
        done = bench.run("download", folder, kill_after=float(rng.uniform(0.0, 5.5 * BODY_S)))
        assert done["code"] in (0, -signal.SIGKILL), done["output"]
        before = whole(root)
        hub.asked.clear()
        again = bench.run("download", folder)
        assert again["code"] == 0, again["output"]
        fetched = hub.fetched()
        trial = enter(
            "SIGKILL", "download", number, survived=whole(root) == FILES.keys() and not left_over(root),
            lost=0, recomputed=len(before & fetched.keys()), struck=done["code"] != 0,
        )  # fmt: skip
        assert trial.survived, left_over(root)
        assert fetched == dict.fromkeys(FILES.keys() - before, 1)
        struck += trial.struck
    assert struck


@pytest.mark.workflow
@pytest.mark.parametrize("kind", ["Snakemake", "everything"])
def test_downloads_of_the_workflow_that_is_killed(
    kind: str, hub: Any, enter: Any, rng: np.random.Generator, tmp_path: Path
) -> None:
    root = Tree(tmp_path / "tree").root
    source = {"source": "hub", "repository": NAME, "format": "hest_bench", "manifest": "lab.csv"}
    (root / "lab.yaml").write_text(json.dumps({**tools.CONFIG, "benchmarks": {"lab": source}}))
    rows = [f"IDC,{slide},{slide},*,0,{role}" for slide, role in zip(SLIDES, ("train", "test"), strict=True)]
    (root / "lab.csv").write_text("\n".join(["dataset,slide,patient,protocol,fold,role", *rows]) + "\n")
    words = [sys.executable, "-m", "snakemake", "downloads", "--cores", "2", "--configfile", "lab.yaml"]
    variables = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "STFLOW_PRELOAD": "off"}
    data = root / "results" / "data" / "lab"

    call = tools.Call(root, words, variables)
    call.wait_for("Download ")
    time.sleep(float(rng.uniform(1.0, 6.0)))
    below = tools.descendants(call.pid)
    tools.kill([call.pid] if kind == "Snakemake" else [call.pid, *below])
    call.end()
    tools.wait_for_end(below)  # what goes on alone is waited for, so that its requests are not counted below
    before = whole(data)
    begun = {name.removeprefix("data/lab/") for name in tools.under_way(root)}
    hub.asked.clear()
    again = tools.Call(root, words, variables)
    if again.end():
        assert tools.LOCKED in again.output
        assert tools.Call(root, [*words, "--unlock"], variables).end() == 0
        again = tools.Call(root, words, variables)
        assert again.end() == 0, again.output
    fetched = hub.fetched()
    enter(
        f"SIGKILL of {kind}", "download", 0, survived=whole(data) == FILES.keys() and not left_over(data),
        lost=0, recomputed=len(before & fetched.keys()), struck=True,
    )  # fmt: skip
    assert whole(data) == FILES.keys()
    assert not left_over(data)
    assert before & fetched.keys() <= begun, "a file is fetched again only where Snakemake has not seen its job end"
    assert set(fetched.values()) <= {1}
