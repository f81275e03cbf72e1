"""Is a local hest-bench the one that this project knows? Its counts against the published ones, its folds against the
split manifest; every difference is named.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from stflow.data.facts import slide_facts
from stflow.data.splits import Manifest
from stflow.errors import IntegrityError, SplitError

_MPP_TOLERANCE = 1e-3  # share


def require_published(
    dataset: str, slide: str, where: Path, *, spots: int, genes: int, patches: int, mpp: float
) -> None:
    """Check the sizes of a hest-bench slide against what was published; a slide of another name passes.

    Parameters
    ----------
    dataset, slide
        Names; both must be hest-bench's.
    where
        The slide's file, for messages.
    spots, genes
        Rows and columns of its counts.
    patches
        Its tiles.
    mpp
        um per level-0 px.

    Raises
    ------
    IntegrityError
        Anything differs: all of it in one message.
    """
    facts = slide_facts("hest").get((dataset, slide))
    if facts is None:
        return
    pairs = {"spots": (spots, facts.spots), "genes": (genes, facts.genes), "patches": (patches, facts.patches)}
    problems = [f"{found:,} {name}, {known:,} published" for name, (found, known) in pairs.items() if known != found]
    if facts.mpp is not None and not np.isclose(mpp, facts.mpp, rtol=_MPP_TOLERANCE):
        problems.append(f"{mpp:g} um/px, {facts.mpp:g} published")
    if problems:
        raise IntegrityError(
            f"slide {slide} of {dataset} ({where}) is not the published one: {'; '.join(problems)}. Scores on another "
            "release do not compare with the paper's: fetch the slide again from hest-bench, or give the dataset a "
            "name of its own in a split manifest of yours."
        )


def fold_differences(folder: Path, manifest: Manifest, dataset: str) -> list[str]:
    """How the official folds of a dataset differ from the manifest's paper protocol; empty where they are the same.

    Parameters
    ----------
    folder
        ``<dataset>/splits`` with ``train_<i>.csv`` and ``test_<i>.csv``, column ``sample_id``; other files are ignored.
    manifest, dataset
        The split manifest, and the dataset in it.
    """
    official = {
        (int(match[2]), match[1]): _samples(path)
        for path in sorted(folder.glob("*.csv"))
        if (match := re.fullmatch(r"(train|test)_(\d+)\.csv", path.name))
    }
    ours: dict[tuple[int, str], set[str]] = {}
    for row in manifest.rows:
        if row["dataset"] == dataset and row["protocol"] in ("paper", "*"):
            ours.setdefault((int(row["fold"]), row["role"]), set()).add(row["slide"])
    found = []
    for fold, role in sorted(ours.keys() | official.keys()):
        theirs, mine = official.get((fold, role), set()), ours.get((fold, role), set())
        found += [
            f"{dataset} fold {fold}: {slide} is in {role} of {here} and not of {there}"
            for slides, here, there in (
                (theirs - mine, folder, "the manifest"),
                (mine - theirs, "the manifest", folder),
            )
            for slide in sorted(slides)
        ]
    return found


def require_official_folds(root: Path, manifest: Manifest, datasets: list[str]) -> None:
    """Check the folds of every dataset whose official files are below ``root``.

    Raises
    ------
    SplitError
        They differ from the manifest: every difference in one message.
    """
    problems = [
        line
        for dataset in datasets
        if (folder := Path(root) / dataset / "splits").is_dir()
        for line in fold_differences(folder, manifest, dataset)
    ]
    if problems:
        lines = "\n".join(f"  - {line}" for line in problems)
        raise SplitError(
            f"the folds of {root} are not those of {manifest.benchmark}'s split manifest:\n{lines}\n"
            "Fetch hest-bench again, or write its folds into a manifest of your own (benchmarks.<name>.manifest)."
        )


def _samples(path: Path) -> set[str]:
    with path.open(newline="", encoding="utf-8") as handle:
        return {row.get("sample_id", "") for row in csv.DictReader(handle)}
