"""STImage-1K4M's folds: ``python -m stflow.data.stimage_splits`` writes resources/splits/stimage.csv.

The paper's were never published, only that they are random, 8:1:1 by slide. Here:

- ``paper``: folds 0, 1 and 2 are drawn with the seeds 0, 1 and 2. Validation and test each have a tenth of the slides,
  rounded, and at least one: of 4 slides 2:1:1, of 7 5:1:1, of 12 10:1:1, of 16 12:2:2, of 22 18:2:2, of 81 65:8:8.
- ``clean``: whole studies apart, as the patients of most slides are unknown. Each study is tested once, if at least
  four slides are left to learn from. Of three or more studies, the one whose size is nearest to a tenth of the slides
  chooses the epoch; of two, slides held out of the training study do (`stflow.data.splits`).

A slide's patient is known where its name tells it (Erickson's prostate, Wu's breast); else ``study:<name>`` stands in
its place. An organ with one study has no clean fold: that its slides are of different patients cannot be shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from stflow.csv_text import csv_text
from stflow.data.facts import SlideFacts, slide_facts
from stflow.data.splits import COLUMNS, STUDY
from stflow.io import write_text
from stflow.seeds import numpy_generator

BENCHMARK = "stimage"
#: Seeds of the paper protocol's folds.
SEEDS = (0, 1, 2)
#: Slides that must be left to learn from where a study is tested.
MIN_LEARNING = 4
#: The patient in a slide's name, as in Human_Prostate_Erickson_08102022_Visium_Patient_1_H1_2 or ..._Visium_CID4465.
_NAMED_PATIENT = re.compile(r"_Visium_(Patient_\d+|[^_]+)")


def patient(facts: SlideFacts) -> str:
    """Patient of a slide as its name tells it, with the study in front; else ``study:<name>``."""
    named = _NAMED_PATIENT.search(facts.slide)
    return f"{facts.study}_{named[1]}" if named else f"{STUDY}{facts.study}"


def paper_roles(dataset: str, slides: Iterable[str], seed: int) -> dict[str, str]:
    """slide -> train, val or test: 8:1:1, drawn with a named seed; the order of ``slides`` does not matter."""
    drawn = numpy_generator(seed, BENCHMARK, dataset, "8:1:1").permutation(sorted(slides)).tolist()
    tenth = max(1, round(len(drawn) / 10))
    return {
        slide: "test" if place < tenth else "val" if place < 2 * tenth else "train" for place, slide in enumerate(drawn)
    }


def clean_roles(study_of: Mapping[str, str]) -> list[dict[str, str]]:
    """slide -> train, val or test of every clean fold; ``study_of`` is slide -> study. Empty where there is none.

    With two studies no slide is val: the manifest's reader holds some out of the training study.
    """
    sizes: dict[str, int] = {}
    for study in study_of.values():
        sizes[study] = sizes.get(study, 0) + 1
    folds = []
    for tested in sorted(sizes):
        others = sorted(study for study in sizes if study != tested)
        if len(study_of) - sizes[tested] < MIN_LEARNING:
            continue
        tenth = len(study_of) / 10
        chooses = min(others, key=lambda study: abs(sizes[study] - tenth)) if len(others) > 1 else None
        roles = {tested: "test", chooses: "val"}
        folds.append({slide: roles.get(study, "train") for slide, study in study_of.items()})
    return folds


def no_clean_fold(slides: Iterable[SlideFacts]) -> str:
    """Why a dataset of one study has no clean fold."""
    slides = list(slides)
    patients = {patient(facts) for facts in slides}
    study = slides[0].study
    if len(patients) == 1 and not next(iter(patients)).startswith(STUDY):
        return f"all {len(slides)} slides are of one patient (study {study})"
    return f"all {len(slides)} slides are of one study ({study}) that does not tell its patients"


def manifest_rows() -> list[dict[str, str]]:
    """Rows of the split manifest, see `stflow.data.splits`."""
    datasets: dict[str, dict[str, SlideFacts]] = {}
    for facts in slide_facts(BENCHMARK).values():
        datasets.setdefault(facts.dataset, {})[facts.slide] = facts
    rows = []
    for dataset, slides in datasets.items():
        clean = clean_roles({slide: facts.study for slide, facts in slides.items()})
        folds = [("paper", seed, paper_roles(dataset, slides, seed)) for seed in SEEDS]
        folds += [("clean", index, roles) for index, roles in enumerate(clean)]
        for protocol, index, roles in folds:
            rows += [
                _row(dataset, slide, patient(facts), protocol, str(index), role)
                for role in ("train", "val", "test")
                for slide, facts in slides.items()
                if roles[slide] == role
            ]
        if not clean:
            rows.append(_row(dataset, "", "", "clean", "", "none", no_clean_fold(slides.values())))
    return rows


def _row(*values: str) -> dict[str, str]:
    return dict(zip((*COLUMNS, "reason"), (*values, "")[: len(COLUMNS) + 1], strict=True))


def manifest_csv() -> str:
    """Text of the split manifest."""
    return csv_text((*COLUMNS, "reason"), manifest_rows())


if __name__ == "__main__":
    write_text(Path(__file__).resolve().parents[2] / "resources" / "splits" / f"{BENCHMARK}.csv", manifest_csv())
