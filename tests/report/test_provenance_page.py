"""The page says what the results come from, and nothing of whom or where."""

from __future__ import annotations

import csv
import getpass
import shutil
import socket
import subprocess
from pathlib import Path

import h5py
import pytest
import yaml

from stflow.data.hub.lock import Entry, Lock, write_lock
from stflow.data.hub.request import Wanted, to_json
from stflow.io import write_json, write_text
from stflow.layout import Group, Layout
from stflow.report import hardware
from stflow.report.energy import COLUMNS
from stflow.report.provenance_page import make_provenance


@pytest.fixture
def results(tmp_path: Path) -> Path:
    layout = Layout(tmp_path / "results")
    for seed, torch in enumerate(("2.14.1", "2.14.1", "2.13.0")):
        run = Group("lab", "D", "uni", "stflow", "default", "clean").run(0, seed)
        write_json(
            layout.run_json(run),
            {"device": "cuda", "versions": {"python": "3.11.7", "torch": torch}, "inputs_sha256": {"s1": "a" * 64}},
        )
        timing = layout.timing("train", run)
        write_text(timing, "s\tcpu_time\n3600\t1800\n")
    for stage in ("train-stflow", "evaluate"):
        write_text(layout.results / "code" / f"{stage}.sha256", f"{stage}\n")
    features = layout.features("uni", "lab", "s1")
    features.parent.mkdir(parents=True)
    with h5py.File(features, "w") as handle:
        handle.attrs["weights_sha256"] = "b" * 64
    root = layout.results / "data" / "hest"
    root.mkdir(parents=True)
    write_json(layout.hub_request, to_json([Wanted("MahmoodLab/hest-bench", root, ("x",))]))
    write_lock(root, Lock("MahmoodLab/hest-bench", "c" * 40, {"x": Entry(1, "d" * 64, None)}))
    config = {"seeds": [3, 5], "data_root": "/home/jane/mirror", "results": str(layout.results)}
    write_text(layout.results / "config.yaml", yaml.safe_dump(config))
    return layout.results


def make(results: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[dict[str, str]], str]:
    monkeypatch.chdir(results.parent)
    make_provenance(results, results / "p.csv", results / "p.md", 10, 300)
    with (results / "p.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert all(list(row) == list(COLUMNS) for row in rows)
    return rows, (results / "p.md").read_text()


def section(page: str, heading: str) -> str:
    return page.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def test_versions_seeds_devices_and_hashes_are_there(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, page = make(results, monkeypatch)
    libraries = section(page, "Libraries")
    torch = next(line for line in libraries.splitlines() if line.startswith("| torch "))
    assert "2.14.1 (2), 2.13.0 (1)" in torch
    assert section(page, "Seeds").strip().startswith("3, 5.")
    assert "devices of the trainings: cuda" in section(page, "Hardware")
    data = section(page, "Data and weights")
    assert f"MahmoodLab/hest-bench: commit `{'c' * 40}`, 1 files" in data
    assert f"weights of uni: `{'b' * 64}`" in data
    assert "read of lab with uni: 1 slides" in data
    assert "code of 2 stages" in section(page, "Code")
    assert "data_root: .../mirror" in section(page, "Configuration")


def test_time_and_energy_are_told_as_an_estimate(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, page = make(results, monkeypatch)
    assert [(row["stage"], row["of"]) for row in rows] == [("train", "stflow"), ("all", "")]
    assert float(rows[1]["energy_wh_estimate"]) == pytest.approx(3 * 0.5 * 10 + 3 * 300)
    told = section(page, "Time and energy")
    assert "**Energy is an estimate**" in told
    assert "10 W a core" in told
    assert "energy, estimate (Wh)" in told
    assert "915.0" in told


def test_nobody_and_no_place_is_named(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, page = make(results, monkeypatch)
    for secret in ("jane", str(results.parent), str(Path.home())):
        assert secret not in page
    for name in (socket.gethostname(), getpass.getuser()):
        assert len(name) < 5 or name not in page


def test_the_code_s_hash_changes_with_the_code(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = section(make(results, monkeypatch)[1], "Code")
    assert section(make(results, monkeypatch)[1], "Code") == before
    write_text(results / "code" / "evaluate.sha256", "other\n")
    assert section(make(results, monkeypatch)[1], "Code") != before


def test_an_empty_folder_has_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    rows, page = make(tmp_path / "results", monkeypatch)
    assert rows[-1]["jobs"] == "0"
    assert "no training has been recorded" in page


def test_without_git_and_gpu_tools_the_page_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hardware.commit(tmp_path) == ""
    assert hardware.hardware()["GPUs"] == "none"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_that_of_the_tree(tmp_path: Path) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for words in (("init", "-q"), (*who, "commit", "-q", "--allow-empty", "-m", "x")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert hardware.commit(tmp_path) == head.stdout.strip()


def test_libraries_of_development_are_no_part_of_the_versions() -> None:
    found = hardware.packages()
    assert {"python", "torch", "numpy"} <= set(found)
    assert "mypy" not in found
