"""Every run has a line; logs are there, scrubbed, escaped and bounded; thousands of runs take seconds."""

from __future__ import annotations

import csv
import re
import time
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from stflow.errors import IntegrityError
from stflow.io import write_json, write_text
from stflow.layout import Group, Layout
from stflow.report import runs_page
from stflow.report.runs_page import COLUMNS, make_runs

FACTS = {
    "fit": {"epochs": 18, "best_epoch": 15},
    "seconds": 24.94,
    "device": "cuda",
    "select_by": "patient",
    "peak_memory": {"host_mb": 512.3, "gpu_mb": 2048.0},
}


def write_group(root: Path, method: str, *, folds: int = 2, failed: tuple[int, ...] = (), seeds: int = 1) -> Path:
    """Metrics, records and logs of a group."""
    group, layout = Group("lab", "D", "uni", method, "default", "clean"), Layout(root)
    rows = []
    for fold in range(folds):
        for seed in range(seeds):
            run, bad = group.run(fold, seed), fold in failed
            write_json(layout.run_json(run), FACTS)
            write_text(root / "logs" / "train" / f"{run}.log", f"first line\n{'x' * 10}\n" * 10 + f"last of {run}\n")
            reason = "out of memory on /home/jane/gpu" if bad else ""
            rows += [
                (
                    *(getattr(group, name) for name in Group.__slots__),
                    fold,
                    seed,
                    gene,
                    "failed" if bad else "ok",
                    reason,
                )
                for gene in "AB"
            ]
    names = [*Group.__slots__, "fold", "seed", "gene", "status", "reason"]
    path = layout.metrics(group)
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=names).to_parquet(path)
    return path


def make(root: Path, files: list[Path]) -> tuple[list[dict[str, str]], str]:
    make_runs(files, root, root / "runs.csv", root / "runs.md")
    with (root / "runs.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert all(list(row) == list(COLUMNS) for row in rows)
    return rows, (root / "runs.md").read_text()


def test_a_line_a_run_with_what_its_training_took(tmp_path: Path) -> None:
    rows, page = make(tmp_path, [write_group(tmp_path, "stflow", seeds=2), write_group(tmp_path, "ridge")])
    assert len(rows) == 6
    first = rows[0]
    assert (first["epochs"], first["best_epoch"], first["selection"]) == ("18", "15", "patient")
    assert (first["seconds"], first["device"], first["gpu_mb"]) == ("24.94", "cuda", "2048")
    line = next(row for row in page.splitlines() if row.startswith("| lab/D/uni/stflow/default/clean/fold1/seed1"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:] == ["ok", "18", "15", "patient", "24.9", "cuda", "512", "2,048"]
    assert "6 runs. No run failed." in page


def test_failed_runs_stand_first_and_have_their_whole_log(tmp_path: Path) -> None:
    rows, page = make(tmp_path, [write_group(tmp_path, "ridge"), write_group(tmp_path, "stflow", failed=(1,))])
    assert [row["status"] for row in rows].count("failed") == 1
    table = [line for line in page.splitlines() if line.startswith("| lab")]
    assert "failed" in table[0]
    assert "jane" not in page
    assert "jane" not in (tmp_path / "runs.csv").read_text()
    failed, others = page.split("## Logs of the other runs")
    assert failed.count("first line") == 10
    assert others.count("first line") == 3 * 5, "the last twelve lines of each"


def test_a_log_is_text_and_holds_no_secret(tmp_path: Path) -> None:
    path = write_group(tmp_path, "ridge", folds=1)
    log = tmp_path / "logs" / "predict" / "lab/D/uni/ridge/default/clean/fold0/seed0.log"
    write_text(log, "</pre></details><script>alert(1)</script>\n\n# no heading\n| no | table |\nhf_AbCdEfGh12345678\n")
    _, page = make(tmp_path, [path])
    assert "AbCdEfGh" not in page
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(page)
    assert "<script>" not in html
    assert html.count("<h1>") == html.count("<table>") == 1
    assert html.count("<details>") == html.count("</details>") == 1
    pre = re.findall(r"<pre>(.*?)</pre>", html, flags=re.DOTALL)
    assert "# no heading\n| no | table |" in pre[1]


def test_a_page_is_bounded_and_says_where_the_rest_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_page, "MAX_LINES", 5)
    monkeypatch.setattr(runs_page, "MAX_LOGS", 2)
    monkeypatch.setattr(runs_page, "MAX_FAILED", 1)
    monkeypatch.setattr(runs_page, "MAX_CHARACTERS", 60)
    rows, page = make(tmp_path, [write_group(tmp_path, "ridge", folds=8, failed=(3, 4))])
    assert len(rows) == 8
    assert sum(line.startswith("| lab") for line in page.splitlines()) == 5
    assert "3 more runs are in `tables/runs.csv`" in page
    assert page.count("<details>") == 3
    assert "Logs of 5 more runs are not shown here" in page
    assert "characters left out" in page


def test_a_run_without_a_training_or_a_log_has_a_line(tmp_path: Path) -> None:
    path = write_group(tmp_path, "ridge", folds=1)
    run = Group("lab", "D", "uni", "ridge", "default", "clean").run(0, 0)
    Layout(tmp_path).run_json(run).unlink()
    (tmp_path / "logs" / "train" / f"{run}.log").unlink()
    rows, page = make(tmp_path, [path])
    assert (rows[0]["status"], rows[0]["seconds"]) == ("ok", "")
    assert "No log is there." in page


def test_a_thousand_runs_take_seconds(tmp_path: Path) -> None:
    files = [write_group(tmp_path, f"m{i}", folds=10, seeds=10) for i in range(10)]
    start = time.process_time()
    rows, _ = make(tmp_path, files)
    assert len(rows) == 1000
    assert time.process_time() - start < 10


def test_a_broken_metrics_file_is_told(tmp_path: Path) -> None:
    path = write_group(tmp_path, "ridge")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(IntegrityError, match=r"is not a whole metrics file .*run `evaluate`"):
        make(tmp_path, [path])
