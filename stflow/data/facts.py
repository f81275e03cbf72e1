"""What is known of the published slides before any is downloaded: ``resources/slides/<benchmark>.csv``.

``hest.csv`` is of hest-bench as released (spots and genes of ``adata``, patches, um/px, the patient as published);
``stimage.csv`` of STImage-1K4M's own table. An empty cell means that the source does not say.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "resources" / "slides"


@dataclass(frozen=True, slots=True)
class SlideFacts:
    """One published slide.

    Attributes
    ----------
    dataset, slide, technology
        Names.
    spots, genes
        Rows and columns of its counts.
    patches
        Tiles that hest-bench holds of it; None elsewhere.
    mpp
        um per level-0 px; None where the source does not say.
    organ, study, licence, patient_published
        As published; empty where the source does not say. ``patient_published`` may be wrong.
    """

    dataset: str
    slide: str
    technology: str
    spots: int
    genes: int
    patches: int | None = None
    mpp: float | None = None
    organ: str = ""
    study: str = ""
    licence: str = ""
    patient_published: str = ""


@cache
def slide_facts(benchmark: str) -> Mapping[tuple[str, str], SlideFacts]:
    """(dataset, slide) -> what is known of it; empty for a benchmark without such a file."""
    path = FOLDER / f"{benchmark}.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as handle:
        return {(row["dataset"], row["slide"]): _facts(row) for row in csv.DictReader(handle)}


def _facts(row: dict[str, str]) -> SlideFacts:
    return SlideFacts(
        dataset=row["dataset"],
        slide=row["slide"],
        technology=row["technology"],
        spots=int(row["spots"]),
        genes=int(row["genes"]),
        patches=int(row["patches"]) if row.get("patches") else None,
        mpp=float(row["mpp"]) if row.get("mpp") else None,
        **{name: row.get(name, "") for name in ("organ", "study", "licence", "patient_published")},
    )
