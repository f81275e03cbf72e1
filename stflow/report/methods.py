"""What each method scores and what it costs: a row a method, by dataset, both protocols side by side.

Scores are those of table 1. Costs are of the jobs as they ran, on whatever machine with whatever else ran there: the
median over runs of a training's and of a prediction's wall time from start to end, and the largest peak of memory.
A variant that is predicted from another's model has no training of its own.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from stflow.evaluation.aggregate import GROUP, failures, read_metrics, run_scores, summarise
from stflow.io import read_json, reading, write_text
from stflow.layout import Group, Layout, Run
from stflow.report.columns import Column, encoders_told, labels, method_order
from stflow.report.render import MISSING, format_table, mark, ranks, to_csv, with_spread
from stflow.report.table1 import failed_section, not_run_section, records

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("benchmark", "dataset", "encoder", "protocol", "method", "variant", "mean", "std", "n_seeds", "n_failed"),
    *("n_params", "n_trainings", "train_s", "predict_s", "host_mb", "gpu_mb", "epochs", "n_backed_off", "devices"),
)

HOW_TO_READ = (
    "Scores as in table 1: Pearson correlation, mean over genes, folds and seeds, ± over seeds; in each column "
    "**best** and <u>second</u>. Parameters: trainable numbers of the network, in millions. Training and prediction: "
    "median wall time of a job, with its start-up and reading. Memory: the largest peak of a training or a prediction, "
    "the libraries included (some 0.5 GB)."
)


@dataclass(slots=True)
class Cost:
    """What the jobs of a group took: values of single runs."""

    n_params: int | None = None
    train_s: list[float] = field(default_factory=list)
    predict_s: list[float] = field(default_factory=list)
    host_mb: list[float] = field(default_factory=list)
    gpu_mb: list[float] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    n_backed_off: int = 0
    devices: set[str] = field(default_factory=set)

    def row(self) -> dict[str, Any]:
        """As columns of the table; None where nothing was recorded."""
        return {
            "n_params": self.n_params,
            "n_trainings": len(self.train_s),
            "train_s": median(self.train_s) if self.train_s else None,
            "predict_s": median(self.predict_s) if self.predict_s else None,
            "host_mb": max(self.host_mb, default=None),
            "gpu_mb": max(self.gpu_mb, default=None),
            "epochs": median(self.epochs) if self.epochs else None,
            "n_backed_off": self.n_backed_off,
            "devices": " ".join(sorted(self.devices)),
        }


def make_methods(
    metrics: Sequence[Path],
    results: Path,
    csv_path: Path,
    md_path: Path,
    methods: Sequence[str] = (),
    not_run: Mapping[str, str] | None = None,
) -> None:
    """Write scores and costs as CSV and markdown.

    Parameters
    ----------
    metrics
        Metrics files.
    results
        Results folder, in which the runs and their timings are.
    csv_path, md_path
        Files to write.
    methods
        Rows in order, see `stflow.report.columns.Column.parse`.
    not_run
        Encoder -> why nothing was run with it.

    Raises
    ------
    IntegrityError
        A metrics file that is missing or cut short.
    """
    runs = run_scores(read_metrics(metrics, ["pearson"], []))
    columns = method_order(runs, methods)
    costs = {key: cost_of(Layout(Path(results)), names) for key, names in _runs_of(runs).items()}
    rows = [{**row, **costs[tuple(row[name] for name in GROUP)].row()} for row in records(summarise(runs), columns)]
    write_text(csv_path, to_csv(COLUMNS, rows))
    write_text(md_path, to_markdown(rows, columns, failures(runs), not_run or {}))


def _runs_of(runs: pd.DataFrame) -> dict[tuple[str, ...], list[Run]]:
    """`GROUP` -> its runs."""
    found: dict[tuple[str, ...], list[Run]] = {}
    for row in runs.to_dict("records"):
        group = Group(*(row[name] for name in ("benchmark", "dataset", "encoder", "method", "variant", "protocol")))
        found.setdefault(tuple(row[name] for name in GROUP), []).append(group.run(int(row["fold"]), int(row["seed"])))
    return found


def cost_of(layout: Layout, runs: Iterable[Run]) -> Cost:
    """What the jobs of some runs took, from their run.json and the workflow's timings, as far as these are there."""
    cost = Cost()
    for run in runs:
        path = layout.run_json(run)
        if path.is_file():
            record = read_json(path)
            with reading(path, "Train the run again."):
                facts, peak = record["fit"], record["peak_memory"]
                cost.train_s.append(float(record["seconds"]))
                cost.host_mb.append(float(peak["host_mb"]))
                cost.gpu_mb += [float(peak["gpu_mb"])] if "gpu_mb" in peak else []
                cost.epochs += [facts["epochs"]] if "epochs" in facts else []
                cost.n_params = facts.get("n_params", cost.n_params)
                cost.n_backed_off += bool(facts.get("out_of_memory"))
                cost.devices.add(str(record["device"]))
        seconds, megabytes = _timing(layout.timing("predict", run))
        cost.predict_s += seconds
        cost.host_mb += megabytes
    return cost


def _timing(path: Path) -> tuple[list[float], list[float]]:
    """Seconds and peak MB of a job from the file that it leaves; empty where it tells none."""
    if not path.is_file():
        return [], []
    with path.open(newline="", encoding="utf-8") as handle:
        row = next(csv.DictReader(handle, delimiter="\t"), {})
    seconds, mebibytes = _numbers(row.get("s")), _numbers(row.get("max_rss"))
    return seconds, [value * 2**20 / 1e6 for value in mebibytes]


def _numbers(text: str | None) -> list[float]:
    """The number of a cell, if it holds one."""
    try:
        return [float(text or "")]
    except ValueError:
        return []


def to_markdown(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    failed: Sequence[str],
    not_run: Mapping[str, str],
) -> str:
    """The whole page: a block a dataset."""
    parts = ["# Methods: scores and costs", HOW_TO_READ]
    for place in dict.fromkeys((row["benchmark"], row["dataset"]) for row in rows):
        here = [row for row in rows if (row["benchmark"], row["dataset"]) == place]
        parts += [f"## {'/'.join(place)}", _block(here, columns)]
    parts += [encoders_told(columns), _backed_off(rows), not_run_section(not_run), failed_section(failed)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> str:
    protocols = list(dict.fromkeys(row["protocol"] for row in rows))
    cell = {(Column.of(row), row["protocol"]): row for row in rows}
    names = [
        (column, label) for column, label in labels(columns).items() if any((column, p) in cell for p in protocols)
    ]
    scores: dict[tuple[Column, str], str] = {}
    for protocol in protocols:
        here = [cell.get((column, protocol)) for column, _ in names]
        means = [math.nan if row is None else row["mean"] for row in here]
        for (column, _), row, rank in zip(names, here, ranks(means), strict=True):
            scores[column, protocol] = MISSING if row is None else mark(_score(row), rank)
    body = []
    for column, label in names:
        both = [cell[column, protocol] for protocol in protocols if (column, protocol) in cell]
        body.append(
            [
                label,
                *(scores[column, protocol] for protocol in protocols),
                _largest(both, "n_params", 1e-6, 3),
                _largest(both, "train_s", 1, 1),
                _largest(both, "predict_s", 1, 1),
                _largest(both, "host_mb", 1e-3, 2),
                *([_largest(both, "gpu_mb", 1e-3, 2)] if any(row["gpu_mb"] is not None for row in rows) else []),
            ]
        )
    gpu = ["GPU GB"] if any(row["gpu_mb"] is not None for row in rows) else []
    header = ["method", *protocols, "parameters (M)", "training (s)", "prediction (s)", "memory (GB)", *gpu]
    return format_table(header, body)


def _score(row: Mapping[str, Any]) -> str:
    return "failed" if row["n_seeds"] == 0 and row["n_failed"] else with_spread(row["mean"], row["std"])


def _largest(rows: Sequence[Mapping[str, Any]], name: str, unit: float, decimals: int) -> str:
    """The largest over the protocols."""
    values = [row[name] for row in rows if row[name] is not None]
    return f"{max(values) * unit:,.{decimals}f}" if values else MISSING


def _backed_off(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which methods ran out of memory and went on with smaller batches."""
    told = [
        f"- {'/'.join(str(row[name]) for name in GROUP)}: {row['n_backed_off']} of {row['n_trainings']} trainings"
        for row in rows
        if row["n_backed_off"]
    ]
    return "\n".join(["Ran out of memory and went on with smaller batches or regions:", "", *told]) if told else ""
