"""The published slides' facts are those of the paper's datasets."""

from __future__ import annotations

from collections import Counter

from stflow.config import SPLITS
from stflow.data.facts import slide_facts
from stflow.data.splits import Manifest

PAPER_COUNTS = {"Breast": 81, "Brain": 22, "Skin": 4, "Mouth": 16, "Prostate": 7, "Stomach": 12, "Colon": 4}


def test_stimage_has_the_papers_slide_counts() -> None:
    assert Counter(dataset for dataset, _ in slide_facts("stimage")) == PAPER_COUNTS


def test_every_slide_of_hest_bench_is_known() -> None:
    manifest = Manifest.read(SPLITS / "hest.csv")
    expected = {(dataset, slide) for dataset in manifest.datasets() for slide in manifest.slides(dataset)}
    assert set(slide_facts("hest")) == expected
    for facts in slide_facts("hest").values():
        assert 0.1 < (facts.mpp or 0) < 1
        assert 0 < (facts.patches or 0) <= facts.spots


def test_nothing_is_known_of_other_benchmarks() -> None:
    assert slide_facts("mylab") == {}
