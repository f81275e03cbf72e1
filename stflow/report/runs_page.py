"""Every run in a line, and the logs of its jobs: of failed runs in full, of the others the last lines.

The CSV has all runs. The page is read in a browser, so it has as many as one opens with ease and says where the rest
lies. Logs are scrubbed (`stflow.report.scrub`) and escaped: nothing in them is markup.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stflow.errors import IntegrityError
from stflow.evaluation.aggregate import read_table
from stflow.io import read_json, write_text
from stflow.layout import Group, Layout, Run
from stflow.report.render import MISSING, format_table, to_csv
from stflow.report.scrub import scrub

COLUMNS = (
    *("benchmark", "dataset", "encoder", "method", "variant", "protocol", "fold", "seed", "status", "reason"),
    *("epochs", "best_epoch", "seconds", "device", "host_mb", "gpu_mb", "selection"),
)
#: Lines of the page's table.
MAX_LINES = 3000
#: Runs whose logs are shown though nothing went wrong, and the last lines of each job's.
MAX_LOGS, TAIL_LINES = 200, 12
#: Characters of the log of one job of a failed run: what is cut is its middle.
MAX_CHARACTERS = 20_000
#: Failed runs whose logs are shown.
MAX_FAILED = 200
_JOBS = ("train", "predict")

HOW_TO_READ = (
    "One line a run: a method with a variant and an encoder on one fold, with one seed. Epochs: how many were run, and "
    "which was kept, and what chose it. Seconds and memory are of the training; a variant without any is "
    "predicted from another one's model."
)


def make_runs(metrics: Sequence[Path], results: Path, csv_path: Path, md_path: Path) -> None:
    """Write all runs as CSV, and as a page with logs.

    Parameters
    ----------
    metrics
        Metrics files: they say which runs there are, and which failed.
    results
        Results folder, with the runs and the logs.
    csv_path, md_path
        Files to write.

    Raises
    ------
    IntegrityError
        A metrics file or a run's record that is cut short.
    """
    layout = Layout(Path(results))
    found = [record(layout, run, status, reason) for path in metrics for run, status, reason in runs_in(path)]
    write_text(csv_path, to_csv(COLUMNS, found))
    write_text(md_path, to_markdown(layout, found))


def runs_in(metrics: Path) -> Iterator[tuple[Run, str, str]]:
    """Run, status and reason of every run of a metrics file.

    Raises
    ------
    IntegrityError
        The file is missing or cut short.
    """
    names = [*Group.__slots__, "fold", "seed", "status", "reason"]
    table = read_table(metrics, names)
    lines = table.group_by(names, use_threads=False).aggregate([]).to_pylist()
    for line in sorted(lines, key=lambda line: (line["fold"], line["seed"])):
        group = Group(*(line[name] for name in Group.__slots__))
        yield group.run(line["fold"], line["seed"]), line["status"], line["reason"] or ""


def record(layout: Layout, run: Run, status: str, reason: str) -> dict[str, Any]:
    """`COLUMNS` of a run."""
    path = layout.run_json(run)
    facts = read_json(path) if path.is_file() else {}
    fit, peak = facts.get("fit", {}), facts.get("peak_memory", {})
    if not (isinstance(fit, dict) and isinstance(peak, dict)):
        raise IntegrityError(f"{path} is not the record of a run: fit or peak_memory is no object. Train it again.")
    return {
        **{name: getattr(run.group, name) for name in Group.__slots__},
        "fold": run.fold,
        "seed": run.seed,
        "status": status,
        "reason": scrub(reason),
        "epochs": fit.get("epochs"),
        "best_epoch": fit.get("best_epoch"),
        "seconds": facts.get("seconds"),
        "device": facts.get("device"),
        "host_mb": peak.get("host_mb"),
        "gpu_mb": peak.get("gpu_mb"),
        "selection": facts.get("select_by"),
    }


def to_markdown(layout: Layout, runs: Sequence[dict[str, Any]]) -> str:
    """The whole page."""
    failed = [run for run in runs if run["status"] != "ok"]
    fine = [run for run in runs if run["status"] == "ok"]
    shown = [*failed, *fine][:MAX_LINES]
    told = "No run failed." if not failed else f"{len(failed):,} of {len(runs):,} runs failed; they stand first."
    parts = ["# Runs", HOW_TO_READ, f"{len(runs):,} runs. {told}", _table(shown)]
    if len(shown) < len(runs):
        parts.append(f"{len(runs) - len(shown):,} more runs are in `tables/runs.csv` below the results folder.")
    if failed:
        parts += ["## Logs of failed runs", *(_details(layout, run, whole=True) for run in failed[:MAX_FAILED])]
    if fine:
        parts += [
            "## Logs of the other runs",
            f"The last {TAIL_LINES} lines of each job.",
            *(_details(layout, run, whole=False) for run in fine[:MAX_LOGS]),
        ]
    rest = max(0, len(failed) - MAX_FAILED) + max(0, len(fine) - MAX_LOGS)
    if rest:
        parts.append(
            f"Logs of {rest:,} more runs are not shown here. Every job's is below the results folder, as "
            "`logs/train/<run>.log` and `logs/predict/<run>.log`."
        )
    return "\n\n".join(parts) + "\n"


def _table(runs: Sequence[dict[str, Any]]) -> str:
    has_gpu = any(run["gpu_mb"] is not None for run in runs)
    gpu = ["GPU (MB)"] if has_gpu else []
    header = ["run", "status", "epochs", "kept", "chosen by", "seconds", "device", "memory (MB)", *gpu]
    body = [
        [
            _name(run),
            run["status"],
            _cell(run["epochs"]),
            _cell(run["best_epoch"]),
            _cell(run["selection"]),
            _cell(run["seconds"], 1),
            _cell(run["device"]),
            _cell(run["host_mb"], 0),
            *([_cell(run["gpu_mb"], 0)] if has_gpu else []),
        ]
        for run in runs
    ]
    return format_table(header, body, 2)


def _cell(value: Any, decimals: int | None = None) -> str:
    if value is None:
        return MISSING
    return f"{value:,.{decimals}f}" if decimals is not None else str(value)


def _name(run: dict[str, Any]) -> str:
    return str(Group(*(str(run[name]) for name in Group.__slots__)).run(run["fold"], run["seed"]))


def _details(layout: Layout, run: dict[str, Any], *, whole: bool) -> str:
    """The logs of a run behind its name; HTML, as markdown has nothing that folds."""
    name = _name(run)
    head = name if run["status"] == "ok" else f"{name}: {run['reason'] or run['status']}"
    parts = [f"<details><summary>{html.escape(head)}</summary>"]
    for job in _JOBS:
        path = layout.results / "logs" / job / f"{name}.log"
        if path.is_file():
            text = scrub(path.read_text(encoding="utf-8", errors="replace").strip())
            shown = _cut(text) if whole else "\n".join(text.splitlines()[-TAIL_LINES:])
            parts.append(f"<pre>\n{html.escape(shown)}\n</pre>")
    if len(parts) == 1:
        parts.append("<p>No log is there.</p>")
    return "\n\n".join([*parts, "</details>"])


def _cut(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    half = MAX_CHARACTERS // 2
    return f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"
