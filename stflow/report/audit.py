"""The audit of all folds as a table, and on the terminal before anything has run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stflow.data.audit import CHECKS, LEAK, PASS, UNCHECKED, audit, leaks
from stflow.errors import LeakageError
from stflow.io import read_json, write_text
from stflow.report.render import format_table, to_csv

if TYPE_CHECKING:
    from stflow.config import _Config

COLUMNS = ("benchmark", "dataset", "protocol", "fold", *CHECKS, "detail")

#: Characters a line of the terminal's table, where the terminal itself has fewer.
TABLE_WIDTH = 120

HOW_TO_READ = (
    "What a fold's training knows of its test slides. Slide, patient: on both sides by the split manifest. Tissue: on "
    "both sides by what is known of single slides, whatever their patient ids say (`resources/same_patient.csv`). "
    "Content: the same counts or picture under two names. Genes, epoch: chosen on test slides. The paper protocol "
    "leaks where the paper did; a clean fold that leaks is not run."
)


def make_audit_table(audits: Sequence[Path], csv_path: Path, md_path: Path) -> None:
    """Write the audits of all datasets as CSV, one line a fold, and markdown, one line a dataset and protocol.

    Raises
    ------
    IntegrityError
        An audit that is not JSON.
    """
    found = [read_json(path) for path in audits]
    write_text(csv_path, to_csv(COLUMNS, [row for one in found for row in rows(one)]))
    write_text(md_path, to_markdown(found))


def rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`COLUMNS` of every fold of one audit."""
    return [
        {
            **{name: found[name] for name in ("benchmark", "dataset", "protocol")},
            "fold": int(index),
            **{check: checks[check]["verdict"] for check in CHECKS},
            "detail": "; ".join(f"{check}: {checks[check]['detail']}" for check in CHECKS if checks[check]["detail"]),
        }
        for index, checks in found["folds"].items()
    ]


def to_markdown(found: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    body = [
        [
            one["benchmark"],
            one["dataset"],
            one["protocol"],
            str(len(one["folds"])),
            *(_over_folds(one, c) for c in CHECKS),
        ]
        for one in found
    ]
    table = format_table(["benchmark", "dataset", "protocol", "folds", *CHECKS], body, 4 + len(CHECKS))
    return "\n\n".join(part for part in ("# Audit of the folds", HOW_TO_READ, table, _notes(found)) if part) + "\n"


def print_audit(config: _Config) -> None:
    """Print the audit of every fold of a configuration, from what its results folder holds by now.

    Raises
    ------
    LeakageError
        A fold of the clean protocol leaks.
    """
    from rich.console import Console
    from rich.table import Table

    from stflow.layout import Layout

    layout = Layout(config.results)
    found = [
        audit(layout, benchmark, dataset, protocol, config.manifest(benchmark))
        for benchmark in config.benchmarks
        for dataset in config.datasets(benchmark)
        for protocol in config.protocols
    ]
    table = Table(*COLUMNS[:-1], box=None, pad_edge=False)
    for one in found:
        for row in rows(one):
            table.add_row(*(str(row[name]) for name in COLUMNS[:-1]))
    console = Console(width=max(Console().width, TABLE_WIDTH))
    console.print(table)
    for one in found:
        for line in _details(one):
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    clean = [f"{_name(one)}, {line}" for one in found if one["protocol"] == "clean" for line in leaks(one)]
    if clean:
        raise LeakageError(
            "the clean protocol leaks:\n"
            + "\n".join(f"  - {line}" for line in clean)
            + "\nMend the split manifests, or run the paper protocol alone (protocols: [paper])."
        )


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['benchmark']}/{one['dataset']} ({one['protocol']})"


def _over_folds(one: Mapping[str, Any], check: str) -> str:
    """``pass``, ``leak``, ``leak in 1`` or ``not checked``, of all folds together."""
    verdicts = [checks[check]["verdict"] for checks in one["folds"].values()]
    leaking = verdicts.count(LEAK)
    if leaking:
        return "leak" if leaking == len(verdicts) else f"leak in {leaking}"
    return UNCHECKED if UNCHECKED in verdicts else PASS


def _details(one: Mapping[str, Any]) -> list[str]:
    """A line a verdict that says more than its name, folds that say the same together, then the notes."""
    told: dict[tuple[str, str, str], list[str]] = {}
    for index, checks in one["folds"].items():
        for check, verdict in checks.items():
            if verdict["detail"]:
                told.setdefault((check, verdict["verdict"], verdict["detail"]), []).append(index)
    lines = [
        f"{_name(one)}, fold {', '.join(folds)}: {check}: {verdict}: {detail}"
        for (check, verdict, detail), folds in told.items()
    ]
    return [*lines, *(f"{_name(one)}: note: {note}" for note in one["notes"])]


def _notes(found: Sequence[Mapping[str, Any]]) -> str:
    """Leaks but those that are the paper protocol's by definition, and the notes, each once."""
    lines = [
        f"- {_name(one)}, {line}"
        for one in found
        for line in leaks(one)
        if not line.partition(": ")[0].endswith(("genes", "epoch"))
    ]
    lines += [f"- {one['benchmark']}/{one['dataset']}: {note}" for one in found for note in one["notes"]]
    return "\n".join(dict.fromkeys(lines))
