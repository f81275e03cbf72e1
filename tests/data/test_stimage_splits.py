"""STImage-1K4M's folds: 8:1:1 by slide for the paper, whole studies apart where that can be done, else a reason."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from stflow.config import SPLITS
from stflow.data.facts import slide_facts
from stflow.data.splits import STUDY, Manifest
from stflow.data.stimage_splits import clean_roles, manifest_csv, paper_roles, patient

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "stimage" / "meta_all_gene02122025.csv"
#: Slides of train, val and test of every fold.
PAPER = {
    "Breast": (65, 8, 8),
    "Brain": (18, 2, 2),
    "Skin": (2, 1, 1),
    "Mouth": (12, 2, 2),
    "Prostate": (5, 1, 1),
    "Stomach": (10, 1, 1),
    "Colon": (2, 1, 1),
}
CLEAN = {
    "Breast": [(73, 5, 3), (33, 5, 43), (62, 5, 14), (60, 5, 16), (73, 3, 5)],
    "Brain": [(13, 3, 6), (5, 1, 16)],
    "Mouth": [(3, 1, 12), (10, 2, 4)],
    "Stomach": [(8, 2, 2)],
    "Skin": [],
    "Prostate": [],
    "Colon": [],
}


@pytest.fixture(scope="module")
def splits() -> Manifest:
    return Manifest.read(SPLITS / "stimage.csv", by_slide=True)


def test_the_shipped_manifest_is_what_the_module_makes() -> None:
    assert (SPLITS / "stimage.csv").read_text() == manifest_csv(), "run: python -m stflow.data.stimage_splits"


def sizes(splits: Manifest, dataset: str, protocol: str) -> list[tuple[int, int, int]]:
    folds = [splits.fold(dataset, protocol, index) for index in splits.folds(dataset, protocol)]
    return [(len(fold.train), len(fold.select), len(fold.test)) for fold in folds]


def test_sizes_of_every_fold(splits: Manifest) -> None:
    assert {dataset: sizes(splits, dataset, "paper") for dataset in splits.datasets()} == {
        dataset: [size] * 3 for dataset, size in PAPER.items()
    }
    assert {dataset: sizes(splits, dataset, "clean") for dataset in splits.datasets()} == CLEAN


def test_every_paper_fold_holds_every_slide_once_and_seeds_differ(splits: Manifest) -> None:
    for dataset in splits.datasets():
        folds = [splits.fold(dataset, "paper", index) for index in (0, 1, 2)]
        for fold in folds:
            assert sorted((*fold.train, *fold.select, *fold.test)) == sorted(splits.slides(dataset))
            assert fold.select_by == "val"
        assert len({(fold.select, fold.test) for fold in folds}) > 1


def test_the_draw_does_not_depend_on_the_slides_order() -> None:
    slides = [f"s{index}" for index in range(20)]
    assert paper_roles("Breast", slides, 1) == paper_roles("Breast", slides[::-1], 1)
    assert paper_roles("Breast", slides, 1) != paper_roles("Breast", slides, 2)


def test_clean_folds_keep_studies_apart_and_test_each_slide_once(splits: Manifest) -> None:
    study = {(facts.dataset, facts.slide): facts.study for facts in slide_facts("stimage").values()}
    for dataset in ("Breast", "Brain", "Mouth", "Stomach"):
        folds = [splits.fold(dataset, "clean", index) for index in splits.folds(dataset, "clean")]
        for fold in folds:
            studies = [{study[dataset, slide] for slide in side} for side in (fold.train, fold.select, fold.test)]
            assert not studies[2] & (studies[0] | studies[1])
            assert len(studies[2]) == 1
            assert bool(studies[0] & studies[1]) == (dataset != "Breast"), "with two studies slides choose the epoch"
        tested = [slide for fold in folds for slide in fold.test]
        assert len(tested) == len(set(tested))
        assert (set(tested) == set(splits.slides(dataset))) == (dataset != "Stomach")


def test_organs_without_a_clean_fold_say_why(splits: Manifest) -> None:
    reasons = {dataset: splits.reason(dataset, "clean") for dataset in splits.datasets()}
    assert {dataset: reason for dataset, reason in reasons.items() if reason} == {
        "Skin": "all 4 slides are of one study (GSE144239) that does not tell its patients",
        "Prostate": "all 7 slides are of one patient (study Erickson)",
        "Colon": "all 4 slides are of one study (GSE226997) that does not tell its patients",
    }
    assert not any(splits.reason(dataset, "paper") for dataset in splits.datasets())


def test_a_study_is_tested_where_enough_slides_are_left_and_never_passes_for_a_patient() -> None:
    two = {**dict.fromkeys("abc", "S"), **dict.fromkeys("defgh", "T")}
    assert [set(roles.values()) for roles in clean_roles(two)] == [{"test", "train"}]
    assert clean_roles(two)[0]["a"] == "test"
    facts = slide_facts("stimage").values()
    names = {patient(one) for one in facts}
    assert {name for name in names if not name.startswith(STUDY)} == {
        "Erickson_Patient_1",
        *(f"Wu_{name}" for name in ("1142243F", "1160920F", "CID4465", "CID44971", "CID4535")),
    }
    assert {name.removeprefix(STUDY) for name in names} <= {one.study for one in facts} | names


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_file(), reason=f"no table of STImage-1K4M at {REAL}")
def test_the_papers_rule_gives_the_slides_of_the_manifest(splits: Manifest) -> None:
    """Human, Visium, with cancer, the seven tissues: 81, 22, 4, 16, 7, 12 and 4 slides."""
    wanted: dict[str, set[str]] = {dataset: set() for dataset in PAPER}
    with REAL.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            if (row["species"], row["tech"], row["involve_cancer"]) == ("human", "Visium", "True"):
                wanted.get(row["tissue"].capitalize(), set()).add(row["slide"])
    assert {dataset: len(slides) for dataset, slides in wanted.items()} == {
        dataset: sum(size) for dataset, size in PAPER.items()
    }
    assert {dataset: set(splits.slides(dataset)) for dataset in splits.datasets()} == wanted
    assert {(dataset, slide) for dataset, slides in wanted.items() for slide in slides} == set(slide_facts("stimage"))
