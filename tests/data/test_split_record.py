"""The folds of the results are those that were run."""

from __future__ import annotations

import csv
from pathlib import Path

from stflow.config import SPLITS
from stflow.data.split_record import RECORD_COLUMNS, reasons_in, record_splits
from stflow.data.splits import PROTOCOLS, Manifest


def recorded(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_fold_stands_as_it_was_run(tmp_path: Path) -> None:
    splits = Manifest.read(SPLITS / "hest.csv")
    datasets = ["PRAD", "IDC", "LUNG"]
    record_splits(SPLITS / "hest.csv", datasets, PROTOCOLS, tmp_path / "hest.csv")
    rows = recorded(tmp_path / "hest.csv")
    assert tuple(rows[0]) == RECORD_COLUMNS
    assert list(dict.fromkeys(row["dataset"] for row in rows)) == datasets
    for dataset in datasets:
        for protocol in PROTOCOLS:
            for index in splits.folds(dataset, protocol):
                fold = splits.fold(dataset, protocol, index)
                here = [r for r in rows if (r["dataset"], r["protocol"], r["fold"]) == (dataset, protocol, str(index))]
                assert {row["select_by"] for row in here} == {fold.select_by}
                side = {role: tuple(r["slide"] for r in here if r["role"] == role) for role in ("train", "val", "test")}
                assert (side["train"], side["test"]) == (fold.train, fold.test)
                assert side["val"] == (fold.select if fold.select_by not in ("test", "region") else ())
    assert {row["select_by"] for row in rows} == {"test", "patient", "slide", "region"}


def test_a_dataset_without_folds_is_recorded_with_the_reason(tmp_path: Path) -> None:
    record_splits(SPLITS / "stimage.csv", ["Colon", "Brain"], PROTOCOLS, tmp_path / "stimage.csv", by_slide=True)
    (key, reason), *others = reasons_in([tmp_path / "stimage.csv"]).items()
    assert key == ("stimage", "Colon", "clean")
    assert "one study" in reason
    assert not others
