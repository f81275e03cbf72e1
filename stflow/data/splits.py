"""Folds: which slides train, which choose the epoch, which are tested, and that no patient is on both sides.

A split manifest is one CSV a benchmark, ``resources/splits/<benchmark>.csv``::

    dataset,slide,patient,protocol,fold,role       role: train | val | test;  protocol: paper | clean | *

``*`` rows hold for both protocols. What chooses the epoch:

- ``paper``: the ``val`` slides where the manifest has them, else the test slides, as the released code does.
- ``clean``: the ``val`` slides where the manifest has them for ``clean``; else whole patients held out of the
  training slides (a fifth of them, at least one), drawn by name; with one training patient, one of its slides;
  with one training slide, a fifth of its spots on one side of it (``Fold.select_by`` says which).

``clean`` refuses any patient on both sides. ``paper`` refuses it too unless the manifest itself was split by slide
(``by_slide=True``), as the paper did on STImage-1K4M.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stflow.errors import LeakageError, SplitError
from stflow.seeds import numpy_generator

Protocol = Literal["paper", "clean"]
PROTOCOLS: tuple[Protocol, ...] = ("paper", "clean")
COLUMNS = ("dataset", "slide", "patient", "protocol", "fold", "role")


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold of one dataset: slide names by what they are for.

    ``select_by`` tells what chooses the epoch: ``test`` (the test slides themselves), ``val`` (slides the manifest
    names), ``patient``, ``slide`` (held out of training) or ``region`` (part of the one training slide).
    """

    index: int
    train: tuple[str, ...]
    select: tuple[str, ...]
    test: tuple[str, ...]
    select_by: Literal["test", "val", "patient", "slide", "region"]

    @property
    def development(self) -> tuple[str, ...]:
        """Every slide a leak-free method may learn from: train, and select unless that is the test fold."""
        extra = () if self.select_by == "test" else self.select
        return tuple(dict.fromkeys((*self.train, *extra)))


@dataclass(frozen=True, slots=True)
class Manifest:
    """The folds of one benchmark; rows as in the CSV, ``patient`` of every slide."""

    benchmark: str
    rows: tuple[dict[str, str], ...]
    by_slide: bool = False

    @classmethod
    def read(cls, path: Path, *, by_slide: bool = False) -> Manifest:
        """Read a split manifest.

        Raises
        ------
        SplitError
            Missing file or columns, an unknown role or protocol, a slide with two patients: all in one message.
        """
        path = Path(path)
        if not path.is_file():
            raise SplitError(f"no split manifest at {path}. Write one with the columns {', '.join(COLUMNS)}.")
        with path.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            absent = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if absent:
                raise SplitError(f"{path} lacks the columns {', '.join(absent)}. Add them to its first line.")
            rows = tuple(reader)
        problems: list[str] = []
        patient_of: dict[tuple[str, str], str] = {}
        for number, row in enumerate(rows, start=2):
            if row["role"] not in ("train", "val", "test"):
                problems.append(f"line {number}: role {row['role']!r} is not train, val or test")
            if row["protocol"] not in (*PROTOCOLS, "*"):
                problems.append(f"line {number}: protocol {row['protocol']!r} is not paper, clean or *")
            if not row["fold"].isdigit():
                problems.append(f"line {number}: fold {row['fold']!r} is not a number from 0")
            known = patient_of.setdefault((row["dataset"], row["slide"]), row["patient"])
            if known != row["patient"]:
                problems.append(f"line {number}: slide {row['slide']} is of patient {known} and {row['patient']}")
        if problems:
            raise SplitError(f"{path}: " + "; ".join(problems) + ".")
        return cls(path.stem, rows, by_slide)

    def datasets(self) -> list[str]:
        """Dataset names in file order."""
        return list(dict.fromkeys(row["dataset"] for row in self.rows))

    def slides(self, dataset: str) -> list[str]:
        """Slide names of a dataset in file order."""
        return list(dict.fromkeys(row["slide"] for row in self._of(dataset)))

    def patient(self, dataset: str, slide: str) -> str:
        """Patient of a slide."""
        for row in self._of(dataset):
            if row["slide"] == slide:
                return row["patient"]
        raise SplitError(
            f"{self.benchmark}/{dataset} has no slide {slide!r}. Known: {', '.join(self.slides(dataset))}."
        )

    def dataset_of(self, slide: str) -> str:
        """The (first) dataset that holds ``slide``."""
        for row in self.rows:
            if row["slide"] == slide:
                return row["dataset"]
        raise SplitError(f"benchmark {self.benchmark} has no slide {slide!r}.")

    def folds(self, dataset: str, protocol: str) -> list[int]:
        """Fold numbers of a dataset."""
        return sorted({int(row["fold"]) for row in self._of(dataset) if row["protocol"] in (protocol, "*")})

    def fold(self, dataset: str, protocol: str, index: int) -> Fold:
        """Train, select and test slides of one fold.

        Raises
        ------
        LeakageError
            A patient or slide on both sides.
        SplitError
            No such fold, or one side is empty.
        """
        rows = [r for r in self._of(dataset) if r["protocol"] in (protocol, "*") and int(r["fold"]) == index]
        train, val, test = (
            tuple(row["slide"] for row in rows if row["role"] == role) for role in ("train", "val", "test")
        )
        where = f"{self.benchmark}/{dataset} fold {index} ({protocol})"
        if not train or not test:
            raise SplitError(f"{where} has {len(train)} training and {len(test)} test slides. Mend the split manifest.")
        self._refuse_leakage(where, dataset, protocol, {"train": train, "val": val, "test": test})
        if val:
            return Fold(index, train, val, test, "val")
        if protocol == "paper":
            return Fold(index, train, test, test, "test")
        return self._hold_out(dataset, index, train, test)

    def _of(self, dataset: str) -> list[dict[str, str]]:
        rows = [row for row in self.rows if row["dataset"] == dataset]
        if not rows:
            raise SplitError(
                f"benchmark {self.benchmark} has no dataset {dataset!r}. Known: {', '.join(self.datasets())}."
            )
        return rows

    def _refuse_leakage(self, where: str, dataset: str, protocol: str, sides: dict[str, tuple[str, ...]]) -> None:
        by_slide = self.by_slide and protocol == "paper"
        what = "slide" if by_slide else "patient"
        identity = {
            side: {slide if by_slide else self.patient(dataset, slide) for slide in slides}
            for side, slides in sides.items()
        }
        for one, other in (("train", "test"), ("val", "test"), ("train", "val")):
            shared = sorted(identity[one] & identity[other])
            if shared:
                raise LeakageError(
                    f"{where}: {what} {', '.join(shared)} is in both {one} and {other}, so scores would leak. "
                    "Put all slides of a patient on one side."
                )

    def _hold_out(self, dataset: str, index: int, train: tuple[str, ...], test: tuple[str, ...]) -> Fold:
        patients = sorted({self.patient(dataset, slide) for slide in train})
        rng = numpy_generator(0, self.benchmark, dataset, index, "hold-out")
        if len(patients) > 1:
            held = set(rng.permutation(patients)[: max(1, len(patients) // 5)].tolist())
            select = tuple(slide for slide in train if self.patient(dataset, slide) in held)
            rest = tuple(slide for slide in train if slide not in select)
            return Fold(index, rest, select, test, "patient")
        if len(train) > 1:
            chosen = str(rng.permutation(sorted(train))[0])
            return Fold(index, tuple(s for s in train if s != chosen), (chosen,), test, "slide")
        return Fold(index, train, train, test, "region")


def refuse_leakage_in_csv(train_csv: Path, test_csv: Path, patient_of: dict[str, str]) -> None:
    """Check an official pair ``splits/train_<i>.csv``, ``test_<i>.csv`` (column ``sample_id``) for shared patients.

    Raises
    ------
    LeakageError
        A patient (or slide) is on both sides.
    """
    sides = []
    for path in (train_csv, test_csv):
        with Path(path).open(newline="", encoding="utf-8") as handle:
            slides = [row["sample_id"] for row in csv.DictReader(handle)]
        sides.append({patient_of.get(slide, slide) for slide in slides})
    shared = sorted(sides[0] & sides[1])
    if shared:
        raise LeakageError(
            f"{train_csv} and {test_csv}: patient {', '.join(shared)} is in both, so scores would leak. "
            "Put all slides of a patient on one side."
        )
