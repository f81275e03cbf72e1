"""Slides whose patient is known whatever a manifest calls it: ``resources/same_patient.csv``.

HEST's metadata call TENX147, TENX148 and TENX149 all "Patient 1", though they are samples P5, P2 and P1; the sections
of one tissue sample are spread over data sets of several titles. The file says, a slide a line, who it is of and by
what line of HEST_v1_1_0.csv (title, subseries, patient) that is known. HEST's slide names are unique, so no benchmark
is named.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

KNOWN = Path(__file__).resolve().parents[2] / "resources" / "same_patient.csv"


@cache
def known_patients() -> Mapping[str, str]:
    """Slide -> the patient that it is known to be of."""
    with KNOWN.open(newline="", encoding="utf-8") as handle:
        return {row["slide"]: row["patient"] for row in csv.DictReader(handle)}


def misnamed(slides: Iterable[tuple[str, str]]) -> list[str]:
    """Patients of a manifest that are known to be several.

    Parameters
    ----------
    slides
        (slide, patient as the manifest has it).

    Returns
    -------
    list
        A sentence a patient; empty where the manifest is right.
    """
    known = known_patients()
    held: dict[str, dict[str, list[str]]] = {}
    for slide, patient in slides:
        if slide in known:
            held.setdefault(patient, {}).setdefault(known[slide], []).append(slide)
    return [
        f"patient {patient!r} of the manifest is several: "
        + "; ".join(f"{', '.join(names)} of {who}" for who, names in groups.items())
        for patient, groups in held.items()
        if len(groups) > 1
    ]
