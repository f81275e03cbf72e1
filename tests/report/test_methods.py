"""The table of methods: scores of both protocols beside what the jobs took, read from what the runs left."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stflow.evaluation.evaluate import COLUMNS as METRIC_COLUMNS
from stflow.io import write_json
from stflow.layout import Group, Layout
from stflow.report.methods import COLUMNS, make_methods


def write_group(
    root: Path, method: str, protocol: str, level: float, *, encoder: str = "enc", seeds: int = 2,
    facts: dict[str, object] | None = None, gpu_mb: float | None = None, failed: bool = False,
) -> Path:  # fmt: skip
    """Metrics, run.json and timings of two folds; training takes 10 s more with each fold, prediction 1 s more."""
    group, layout = Group("demo", "IDC", encoder, method, "default", protocol), Layout(root)
    rows = []
    for fold, seed in product(range(2), range(seeds)):
        run = group.run(fold, seed)
        record = {
            "seconds": 10.0 * (fold + 1),
            "fit": facts or {},
            "device": "cpu" if gpu_mb is None else "cuda",
            "peak_memory": {"host_mb": 500.0 + fold, **({} if gpu_mb is None else {"gpu_mb": gpu_mb})},
        }
        write_json(layout.run_json(run), record)
        timing = layout.timing("predict", run)
        timing.parent.mkdir(parents=True, exist_ok=True)
        timing.write_text(f"s\th:m:s\tmax_rss\n{fold + 1}.5\t0:00:01\t{'-' if fold else '1000.0'}\n")
        rows += [
            {
                "benchmark": "demo", "dataset": "IDC", "encoder": encoder, "method": method, "variant": "default",
                "protocol": protocol, "fold": fold, "seed": seed, "slide": "all", "gene": gene, "metric": "pearson",
                "value": np.nan if failed else level + seed / 10, "n_spots": 10,
                "status": "failed" if failed else "ok", "reason": "out of memory" if failed else "",
            }
            for gene in "AB"
        ]  # fmt: skip
    path = layout.metrics(group)
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows)[list(METRIC_COLUMNS)].to_parquet(path)
    return path


def make(root: Path, files: list[Path], methods: tuple[str, ...] = ()) -> tuple[dict[tuple[str, str], dict], str]:
    make_methods(files, root, root / "m.csv", root / "m.md", methods)
    with (root / "m.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert all(list(row) == list(COLUMNS) for row in rows)
    return {(row["method"], row["protocol"]): row for row in rows}, (root / "m.md").read_text()


def line(page: str, label: str) -> list[str]:
    found = next(row for row in page.splitlines() if row.startswith(f"| {label} "))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_scores_of_both_protocols_stand_beside_the_costs(tmp_path: Path) -> None:
    network = {"n_params": 1_147_724, "epochs": 40}
    files = [
        write_group(tmp_path, "stflow", "paper", 0.5, facts=network),
        write_group(tmp_path, "stflow", "clean", 0.3, facts=network),
        write_group(tmp_path, "ridge", "clean", 0.2, seeds=1),
    ]
    rows, page = make(tmp_path, files, ("ridge", "stflow"))
    row = rows["stflow", "clean"]
    assert float(row["mean"]) == pytest.approx(0.35)
    assert (row["n_params"], row["n_trainings"], row["devices"]) == ("1147724", "4", "cpu")
    assert (float(row["train_s"]), float(row["predict_s"]), float(row["epochs"])) == (15.0, 2.0, 40.0)
    assert float(row["host_mb"]) == pytest.approx(1048.576), "a prediction's peak, which Snakemake gives in MiB"
    assert row["gpu_mb"] == ""
    assert line(page, "STFlow")[1:] == ["0.550 ± 0.050", "**0.350 ± 0.050**", "1.148", "15.0", "2.0", "1.05"]
    assert line(page, "Ridge")[1:] == ["-", "<u>0.200</u>", "-", "15.0", "2.0", "1.05"]
    assert page.index("| Ridge") < page.index("| STFlow")
    assert "GPU GB" not in page


def test_a_gpu_has_a_column_and_encoders_are_told_apart(tmp_path: Path) -> None:
    files = [
        write_group(tmp_path, "stflow", "clean", 0.3, encoder="uni", gpu_mb=2000.0),
        write_group(tmp_path, "stflow", "clean", 0.2, encoder="ciga", gpu_mb=1000.0),
    ]
    _, page = make(tmp_path, files)
    assert line(page, "method")[-1] == "GPU GB"
    assert line(page, "STFlow, uni")[-1] == "2.00"
    assert line(page, "STFlow, ciga")[-1] == "1.00"


def test_failures_and_smaller_batches_are_told(tmp_path: Path) -> None:
    files = [
        write_group(tmp_path, "histogene", "clean", 0.3, failed=True),
        write_group(tmp_path, "triplex", "clean", 0.3, facts={"out_of_memory": 2, "spots_limit": 256}),
    ]
    rows, page = make(tmp_path, files)
    assert rows["histogene", "clean"]["n_failed"] == "4"
    assert line(page, "HisToGene")[1] == "failed"
    assert "## Failed runs: 4" in page
    assert rows["triplex", "clean"]["n_backed_off"] == "4"
    assert "- demo/IDC/enc/clean/triplex/default: 4 of 4 trainings" in page


def test_a_variant_without_a_training_of_its_own_has_no_training_time(tmp_path: Path) -> None:
    path = write_group(tmp_path, "stflow", "clean", 0.3)
    for record in (tmp_path / "runs").rglob("run.json"):
        record.unlink()
    rows, page = make(tmp_path, [path])
    assert (rows["stflow", "clean"]["n_trainings"], rows["stflow", "clean"]["train_s"]) == ("0", "")
    assert line(page, "STFlow")[2:] == ["-", "-", "2.0", "1.05"]
