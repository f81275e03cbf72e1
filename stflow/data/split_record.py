"""The folds as they were run: ``splits/<benchmark>.csv`` of the results, beside what came of them.

The manifest says who trains and who is tested; what chooses the epoch may follow from it by the protocol's rule. Here
every slide of every fold stands with what it was for::

    dataset,slide,patient,protocol,fold,role,select_by,reason

``role`` is ``train``, ``val`` or ``test``; ``select_by`` as in `stflow.data.splits.Fold`. Where the test slides choose
the epoch (``test``), or a part of the one training slide (``region``), no slide is ``val``. A dataset without folds has
one row with the role ``none`` and the reason.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stflow.csv_text import csv_text
from stflow.data.splits import COLUMNS, Fold, Manifest
from stflow.io import reading, write_text

RECORD_COLUMNS = (*COLUMNS, "select_by", "reason")


def record_splits(
    manifest: Path, datasets: Sequence[str], protocols: Sequence[str], out: Path, *, by_slide: bool = False
) -> None:
    """Write the folds of some datasets and protocols of a split manifest.

    Raises
    ------
    SplitError, LeakageError
        See `stflow.data.splits.Manifest`.
    """
    write_text(out, splits_csv(Manifest.read(manifest, by_slide=by_slide), datasets, protocols))


def splits_csv(splits: Manifest, datasets: Sequence[str], protocols: Sequence[str]) -> str:
    """Text of the record of some datasets and protocols of a split manifest."""
    rows: list[Mapping[str, object]] = []
    for dataset in datasets:
        for protocol in protocols:
            of_all = {"dataset": dataset, "protocol": protocol}
            for index in splits.folds(dataset, protocol):
                fold = splits.fold(dataset, protocol, index)
                for role, slide in _roles(fold):
                    row = {"slide": slide, "patient": splits.patient(dataset, slide), "role": role}
                    rows.append(of_all | row | {"fold": index, "select_by": fold.select_by})
            if reason := splits.reason(dataset, protocol):
                rows.append(of_all | {"role": "none", "reason": reason})
    return csv_text(RECORD_COLUMNS, rows)


def _roles(fold: Fold) -> list[tuple[str, str]]:
    """(role, slide) of a fold, each slide once."""
    chooses = fold.select if fold.select_by in ("val", "patient", "slide") else ()
    sides = {"train": fold.train, "val": chooses, "test": fold.test}
    return [(role, slide) for role, slides in sides.items() for slide in slides]


def reasons_in(records: Iterable[Path]) -> dict[tuple[str, str, str], str]:
    """(benchmark, dataset, protocol) -> why it has no folds, of some records; the benchmark is the file's name."""
    found = {}
    for path in map(Path, records):
        with path.open(newline="", encoding="utf-8") as handle, reading(path, "Run `splits` again."):
            for row in csv.DictReader(handle):
                if row["role"] == "none":
                    found[path.stem, row["dataset"], row["protocol"]] = row["reason"]
    return found
