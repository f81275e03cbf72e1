"""Who learns, who selects, who is tested; and which part of a single slide selects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stflow.errors import GeneError, SplitError
from stflow.layout import Layout
from stflow.training.inputs import Inputs, sha256_slide, split_by_side


def inputs(results: Path, manifest: Path, run: str) -> Inputs:
    return Inputs.of(results, run, manifest, by_slide=False)


def names(slides: list) -> list[str]:
    return [slide.name for slide in slides]


def test_clean_holds_a_patient_out_and_never_reads_the_test_slides(
    results: Path, manifest: Path, run_name: Callable[..., str]
) -> None:
    found = inputs(results, manifest, run_name(protocol="clean"))
    train, select = found.roles(selects=True)
    assert found.fold.select_by == "patient"
    assert sorted(names(train) + names(select)) == ["A1", "A2", "B1"]
    assert {slide.patient for slide in train}.isdisjoint(slide.patient for slide in select)
    assert sorted(names(found.roles(selects=False)[0])) == ["A1", "A2", "B1"]


def test_paper_selects_on_the_test_slides_but_only_methods_that_select_see_them(
    results: Path, manifest: Path, run_name: Callable[..., str]
) -> None:
    found = inputs(results, manifest, run_name(protocol="paper"))
    train, select = found.roles(selects=True)
    assert (names(train), names(select)) == (["A1", "A2", "B1"], ["C1"])
    train, select = found.roles(selects=False)
    assert (names(train), names(select)) == (["A1", "A2", "B1"], [])


def test_a_single_slide_is_split_by_side(results: Path, manifest: Path, run_name: Callable[..., str]) -> None:
    found = inputs(results, manifest, run_name(fold=1))
    assert found.fold.select_by == "region"
    (rest,), (side,) = found.roles(selects=True)
    assert len(rest) + len(side) == 64
    assert len(side) == 13
    assert set(rest.barcodes).isdisjoint(side.barcodes)
    (whole,), none = found.roles(selects=False)
    assert len(whole) == 64
    assert none == []


def test_the_side_is_the_end_of_the_longer_axis() -> None:
    rng = np.random.default_rng(0)
    for centres in (rng.uniform(0, [300, 100], (50, 2)), rng.uniform(0, [100, 300], (50, 2))):
        rest, side = split_by_side(centres)
        axis = int(np.argmax(np.ptp(centres, axis=0)))
        assert len(side) == 10
        assert centres[rest, axis].max() <= centres[side, axis].min()
        assert sorted([*rest, *side]) == list(range(50))


def test_hash_sees_everything_a_method_sees(results: Path, manifest: Path, run_name: Callable[..., str]) -> None:
    found = inputs(results, manifest, run_name())
    first, second = found.read(["A1", "A2"])
    assert sha256_slide(first, found.task) == sha256_slide(found.read(["A1"])[0], found.task)
    hashes = {sha256_slide(slide, found.task) for slide in (first, second, first.subset(np.arange(10)))}
    assert len(hashes) == 3


def test_a_fold_without_genes_is_named(results: Path, manifest: Path, run_name: Callable[..., str]) -> None:
    path = Layout(results).genes("made", "T", "clean")
    (results / "genes").unlink()
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"schema": 1, "source": "made", "folds": {"1": ["G0"]}}), encoding="utf-8")
    with pytest.raises(GeneError, match=r"lists no genes for fold 0\. Run the genes stage again"):
        inputs(results, manifest, run_name())


def test_a_name_that_is_no_run_is_refused(results: Path, manifest: Path) -> None:
    with pytest.raises(SplitError, match="A run is benchmark/dataset"):
        inputs(results, manifest, "made/T/enc/stflow/fold0")
