"""What leaks in a fold: one audit a dataset and protocol.

Six checks a fold, each between the slides that are learned from (train, and select unless that is the test fold) and
the test slides:

- ``slide``: a slide on both sides.
- ``patient``: a patient of the manifest on both sides.
- ``tissue``: a patient of `known_patients` on both sides, whatever the manifest calls the slides.
- ``content``: a slide whose counts or picture are those of one on the other side (`duplicates`).
- ``genes``: genes chosen on test slides.
- ``epoch``: the epoch chosen on the test slides.

The paper protocol leaks by genes and epoch as it was published, and the audit says so. ``clean`` must pass them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stflow.data.duplicates import Duplicate, duplicates
from stflow.data.known_patients import known_patients, misnamed
from stflow.data.splits import Fold, Manifest
from stflow.errors import LeakageError
from stflow.io import SCHEMA_VERSION, read_json, write_json
from stflow.layout import Layout

CHECKS = ("slide", "patient", "tissue", "content", "genes", "epoch")
PASS, LEAK, UNCHECKED = "pass", "leak", "not checked"

#: Check -> verdict and detail.
Verdicts = dict[str, dict[str, str]]


def make_audit(results: Path, benchmark: str, dataset: str, protocol: str, manifest: Path, out: Path) -> None:
    """Write ``audit/<benchmark>/<dataset>/<protocol>.json``.

    Parameters
    ----------
    results
        Results folder with the dataset's slide files, tiles files and genes file.
    benchmark, dataset, protocol
        Names; the protocol is ``paper`` or ``clean``.
    manifest
        Split manifest.
    out
        JSON to write.

    Raises
    ------
    LeakageError
        The protocol is ``clean`` and a fold leaks; nothing is written.
    """
    found = audit(Layout(Path(results)), benchmark, dataset, protocol, Manifest.read(manifest))
    if protocol == "clean" and (lines := leaks(found)):
        raise LeakageError(
            f"{benchmark}/{dataset} leaks under the clean protocol:\n"
            + "\n".join(f"  - {line}" for line in lines)
            + f"\nMend {manifest}, or run the paper protocol alone (protocols: [paper])."
        )
    write_json(out, found)


def audit(layout: Layout, benchmark: str, dataset: str, protocol: str, manifest: Manifest) -> dict[str, Any]:
    """Every fold's verdicts, from what is there; what has no data yet is ``not checked``."""
    names = manifest.slides(dataset)
    patients = {name: manifest.patient(dataset, name) for name in names}
    slides = {name: path for name in names if (path := layout.slide(benchmark, name)).is_file()}
    tiles = {name: path for name in names if (path := layout.tiles(benchmark, name)).is_file()}
    genes_file = layout.genes(benchmark, dataset, protocol)
    same = duplicates(slides, {name: path for name, path in tiles.items() if name in slides})
    genes = read_json(genes_file) if genes_file.is_file() else {}
    folds = {
        str(index): _verdicts(
            manifest.fold(dataset, protocol, index, refuse=False),
            patients,
            same,
            [name for name in names if name not in slides],
            genes,
        )
        for index in manifest.folds(dataset, protocol)
    }
    notes = [*misnamed(patients.items()), *(f"the same slide twice: {pair}" for pair in same)]
    return {
        "schema": SCHEMA_VERSION,
        "benchmark": benchmark,
        "dataset": dataset,
        "protocol": protocol,
        "notes": notes,
        "folds": folds,
    }


def leaks(found: Mapping[str, Any]) -> list[str]:
    """A line a leak of an audit: fold, check and detail."""
    return [
        f"fold {index}, {check}: {verdict['detail']}"
        for index, checks in found["folds"].items()
        for check, verdict in checks.items()
        if verdict["verdict"] == LEAK
    ]


def _verdicts(
    fold: Fold,
    patients: Mapping[str, str],
    same: Sequence[Duplicate],
    unread: Sequence[str],
    genes: Mapping[str, Any],
) -> Verdicts:
    learned, tested = fold.development, fold.test
    known = known_patients()
    known_here = {name: known[name] for name in (*learned, *tested) if name in known}
    across = [
        str(pair) for pair in same if {pair.one, pair.other} & set(tested) and {pair.one, pair.other} & set(learned)
    ]
    missing = set(unread) & {*learned, *tested}
    return {
        "slide": _verdict(f"{name} is learned from and tested" for name in learned if name in tested),
        "patient": _verdict(_on_both(patients, learned, tested)),
        "tissue": _verdict(_on_both(known_here, learned, tested)),
        "content": _verdict(across, "slide files are not made yet" if missing else ""),
        "genes": _genes_verdict(fold, genes),
        "epoch": _verdict(["chosen on the test slides"] if fold.select_by == "test" else []),
    }


def _verdict(problems: Any, unchecked: str = "") -> dict[str, str]:
    detail = "; ".join(problems)
    verdict = LEAK if detail else UNCHECKED if unchecked else PASS
    return {"verdict": verdict, "detail": detail or unchecked}


def _on_both(patient_of: Mapping[str, str], learned: Sequence[str], tested: Sequence[str]) -> list[str]:
    """A line a patient on both sides, with the slides of each."""
    sides: tuple[dict[str, list[str]], ...] = ({}, {})
    for side, names in zip(sides, (learned, tested), strict=True):
        for name in names:
            if name in patient_of:
                side.setdefault(patient_of[name], []).append(name)
    return [
        f"{patient}: {_few(names)} learned from, {_few(sides[1][patient])} tested"
        for patient, names in sides[0].items()
        if patient in sides[1]
    ]


def _genes_verdict(fold: Fold, genes: Mapping[str, Any]) -> dict[str, str]:
    if not genes:
        return _verdict([], "genes are not chosen yet")
    looked_at = genes.get("chosen_on", {}).get(str(fold.index))
    if looked_at is None:
        return _verdict([], f"{genes.get('source', 'the genes file')}: on which slides it was chosen is not known")
    tested = [name for name in fold.test if name in looked_at]
    return _verdict([f"chosen on {_few(tested)} ({genes.get('source', '')})"] if tested else [])


def _few(names: Sequence[str]) -> str:
    """The first names and how many more."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
