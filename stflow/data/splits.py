"""Folds: which slides train, which choose the epoch, which are tested, and that no patient is on both sides.

A split manifest is one CSV a benchmark, ``resources/splits/<benchmark>.csv``::

    dataset,slide,patient,protocol,fold,role       role: train | val | test | none;  protocol: paper | clean | *

``*`` rows hold for both protocols. Where only a slide's study is known, ``study:<name>`` stands in place of a patient:
all slides of that study then count as one patient's, as any two of them may be.

A dataset that cannot have folds under a protocol has one row with the role ``none``, no slide, no fold, and the reason
in a seventh column, ``reason``. The workflow then leaves it out and its tables say why; without such a row, a dataset
without folds is a mistake.

What chooses the epoch:

- ``paper``: the ``val`` slides where the manifest has them, else the test slides, as the released code does.
- ``clean``: the ``val`` slides where the manifest has them for ``clean``; else whole patients held out of the
  training slides (a fifth of them, at least one), drawn by name; with one training patient, a fifth of its slides;
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
from stflow.names import label_problem, name_problem
from stflow.seeds import numpy_generator

Protocol = Literal["paper", "clean"]
PROTOCOLS: tuple[Protocol, ...] = ("paper", "clean")
#: Digits of the highest number of a fold.
_FOLD_DIGITS = 9
COLUMNS = ("dataset", "slide", "patient", "protocol", "fold", "role")
ROLES = ("train", "val", "test", "none")
#: What a patient begins with where only the study is known.
STUDY = "study:"


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
            Missing file or columns, names that cannot be paths, an unknown role or protocol, a slide with two patients,
            a row that is there twice, a dataset with folds and a reason to have none: all in one message.
        LeakageError
            The same, and among them a slide with two roles in one fold.
        """
        path = Path(path)
        rows = _read_rows(path)
        problems: list[str] = []
        patient_of: dict[tuple[str, str], str] = {}
        for number, row in rows:
            problems += [f"line {number}: {problem}" for problem in _row_problems(row)]
            if row["role"] != "none":
                known = patient_of.setdefault((row["dataset"], row["slide"]), row["patient"])
                if known != row["patient"]:
                    problems.append(f"line {number}: slide {row['slide']} is of patient {known} and {row['patient']}")
        twice, leaks = _repeated(rows)
        problems += twice
        if problems:
            kind = LeakageError if leaks else SplitError
            raise kind(f"{path}: " + "; ".join(problems) + ".")
        return cls(path.stem, tuple(row for _, row in rows), by_slide)

    def datasets(self) -> list[str]:
        """Dataset names in file order."""
        return list(dict.fromkeys(row["dataset"] for row in self.rows))

    def slides(self, dataset: str) -> list[str]:
        """Slide names of a dataset in file order."""
        return list(dict.fromkeys(row["slide"] for row in self._of(dataset) if row["role"] != "none"))

    def patient(self, dataset: str, slide: str) -> str:
        """Patient of a slide."""
        for row in self._of(dataset):
            if row["slide"] == slide and row["role"] != "none":
                return row["patient"]
        raise SplitError(
            f"{self.benchmark}/{dataset} has no slide {slide!r}. Known: {', '.join(self.slides(dataset))}."
        )

    def dataset_of(self, slide: str) -> str:
        """The (first) dataset that holds ``slide``."""
        for row in self.rows:
            if row["slide"] == slide and row["role"] != "none":
                return row["dataset"]
        raise SplitError(f"benchmark {self.benchmark} has no slide {slide!r}.")

    def folds(self, dataset: str, protocol: str) -> list[int]:
        """Fold numbers of a dataset."""
        rows = [row for row in self._of(dataset) if row["protocol"] in (protocol, "*") and row["role"] != "none"]
        return sorted({int(row["fold"]) for row in rows})

    def reason(self, dataset: str, protocol: str) -> str:
        """Why a dataset has no folds under a protocol; empty where the manifest does not say."""
        rows = [row for row in self._of(dataset) if row["protocol"] in (protocol, "*") and row["role"] == "none"]
        return rows[0]["reason"] if rows else ""

    def fold(self, dataset: str, protocol: str, index: int, *, refuse: bool = True) -> Fold:
        """Train, select and test slides of one fold; ``refuse=False`` gives one that leaks too, to be audited.

        Raises
        ------
        LeakageError
            A patient or slide on both sides.
        SplitError
            No such fold, or one side is empty.
        """
        rows = [r for r in self._of(dataset) if r["protocol"] in (protocol, "*") and r["fold"] == str(index)]
        train, val, test = (
            tuple(row["slide"] for row in rows if row["role"] == role) for role in ("train", "val", "test")
        )
        where = f"{self.benchmark}/{dataset} fold {index} ({protocol})"
        if not train or not test:
            raise SplitError(f"{where} has {len(train)} training and {len(test)} test slides. Mend the split manifest.")
        if refuse:
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
            chosen = set(rng.permutation(sorted(train))[: max(1, len(train) // 5)].tolist())
            select = tuple(slide for slide in train if slide in chosen)
            return Fold(index, tuple(slide for slide in train if slide not in chosen), select, test, "slide")
        return Fold(index, train, train, test, "region")


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of a split manifest; an empty ``reason`` where it has no such column."""
    if not path.is_file():
        raise SplitError(f"no split manifest at {path}. Write one with the columns {', '.join(COLUMNS)}.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:  # spreadsheets put a mark in front
            reader = csv.DictReader(handle)
            absent = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if absent:
                raise SplitError(f"{path} lacks the columns {', '.join(absent)}. Add them to its first line.")
            return [
                (number, {column: row[column] or "" for column in COLUMNS} | {"reason": row.get("reason") or ""})
                for number, row in enumerate(reader, start=2)
            ]
    except UnicodeDecodeError as error:
        raise SplitError(f"{path} is not UTF-8 ({error}). Save it as UTF-8.") from error
    except csv.Error as error:
        raise SplitError(f"{path} is not a CSV file ({error}). Save it as plain CSV.") from error


def _row_problems(row: dict[str, str]) -> list[str]:
    """What is wrong with one row by itself."""
    problems = []
    if row["role"] not in ROLES:
        problems.append(f"role {row['role']!r} is not train, val, test or none")
    if row["protocol"] not in (*PROTOCOLS, "*"):
        problems.append(f"protocol {row['protocol']!r} is not paper, clean or *")
    if not row["dataset"]:
        problems.append("no dataset")
    found = [name_problem(row[column]) for column in ("dataset", "slide") if row[column]]
    found += [label_problem(row[column]) for column in ("patient", "reason")]
    problems += [problem for problem in found if problem]
    if row["role"] == "none":
        if row["slide"] or row["fold"]:
            problems.append("the role none is a dataset's: leave slide and fold empty")
        if not row["reason"]:
            problems.append("the role none needs words in the column reason")
        return problems
    if not row["fold"].isdecimal() or len(row["fold"]) > _FOLD_DIGITS or str(int(row["fold"])) != row["fold"]:
        problems.append(f"fold {row['fold']!r} is not a number from 0")
    if not row["slide"] or not row["patient"]:
        problems.append("no slide or no patient")
    return problems


def _repeated(rows: list[tuple[int, dict[str, str]]]) -> tuple[list[str], bool]:
    """Rows that contradict each other, in words; and whether one of them gives a slide two roles in a fold."""
    problems: list[str] = []
    leaks = False
    seen: dict[tuple[str, ...], tuple[int, str]] = {}
    with_folds: dict[tuple[str, str], int] = {}
    without: dict[tuple[str, str], int] = {}
    for number, row in rows:
        protocols = PROTOCOLS if row["protocol"] == "*" else (row["protocol"],)
        kind = without if row["role"] == "none" else with_folds
        for protocol in protocols:
            kind.setdefault((row["dataset"], protocol), number)
        if row["role"] == "none":
            continue
        keys = [(row["dataset"], row["slide"], row["fold"], protocol) for protocol in protocols]
        earlier = next((seen[key] for key in keys if key in seen), None)
        if earlier is None:
            seen |= dict.fromkeys(keys, (number, row["role"]))
            continue
        where = f"line {number}: slide {row['slide']} of {row['dataset']} fold {row['fold']}"
        if earlier[1] == row["role"]:
            problems.append(f"{where} is in line {earlier[0]} already")
        else:
            leaks = True
            problems.append(f"{where} is in both {earlier[1]} (line {earlier[0]}) and {row['role']}")
    problems += [
        f"line {without[key]}: {key[0]} has folds for {key[1]} (line {with_folds[key]}), so no reason to have none"
        for key in without
        if key in with_folds
    ]
    return problems, leaks


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
