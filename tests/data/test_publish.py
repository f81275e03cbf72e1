"""Gene lists are published once, from the shipped folds and the default choice, and never written over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stflow.config import SPLITS, validate
from stflow.data.genes import make_genes
from stflow.data.publish import publish_genes
from stflow.data.slide import write_slide
from stflow.data.split_record import record_splits
from stflow.data.splits import PROTOCOLS, Manifest
from stflow.errors import DataError, IntegrityError
from stflow.layout import Layout
from stflow.stamps import write_stamps

DATASETS = ("Skin", "Stomach")
GENES = [f"G{index:03d}" for index in range(80)]


def made_results(folder: Path, *, level: float = 2.0, **values: object) -> Path:
    """A results folder whose genes stage has run on made counts under the shipped manifest of stimage."""
    results = folder / "results"
    benchmark = {"format": "stimage", "split_by_slide": True, "datasets": list(DATASETS)}
    config = validate({"results": str(results), "benchmarks": {"stimage": benchmark}, "methods": ["mean"], **values})
    layout, splits = Layout(results), Manifest.read(SPLITS / "stimage.csv", by_slide=True)
    write_stamps(config)
    record_splits(SPLITS / "stimage.csv", DATASETS, config.protocols, layout.splits("stimage"), by_slide=True)
    rng = np.random.default_rng(round(level))
    for dataset in DATASETS:
        for slide in splits.slides(dataset):
            write_slide(
                layout.slide("stimage", slide), name=slide, patient=splits.patient(dataset, slide), mpp=0.5,
                barcodes=[f"b{index}" for index in range(20)], centres_px=rng.random((20, 2)), spot_diameter_um=55,
                genes=GENES, counts=rng.negative_binomial(1, 1 / (1 + level), (20, len(GENES))),
            )  # fmt: skip
        for protocol, choice in (("paper", "official"), ("clean", "train")):
            if protocol in config.protocols and splits.folds(dataset, protocol):
                make_genes(
                    results, "stimage", dataset, protocol, SPLITS / "stimage.csv",
                    layout.genes("stimage", dataset, protocol),
                    choice=choice, n_genes=config.genes.n, recipe="stimage", by_slide=True,
                )  # fmt: skip
    return results


def test_lists_of_both_protocols_are_published_and_then_stay(tmp_path: Path) -> None:
    results, folder = made_results(tmp_path), tmp_path / "genes"
    paths = publish_genes(results, folder)
    assert paths == [folder / "stimage" / f"{dataset}.json" for dataset in DATASETS]
    skin, stomach = (json.loads(path.read_text())["protocols"] for path in paths)
    assert (list(skin), list(stomach)) == (["paper"], list(PROTOCOLS)), "Skin has no clean fold"
    for protocol in PROTOCOLS:
        made = json.loads(Layout(results).genes("stimage", "Stomach", protocol).read_text())
        assert stomach[protocol]["folds"] == made["folds"]
        assert all(len(genes) == 50 for genes in made["folds"].values())
    assert skin["paper"]["source"] == "STImage-1K4M's recipe on all slides, as the dataset has no list of its own"

    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]
    assert publish_genes(results, folder) == paths
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths] == before

    other = made_results(tmp_path / "other", level=5.0)
    with pytest.raises(IntegrityError, match=r"Skin\.json is published and holds other genes.*delete it first"):
        publish_genes(other, folder)
    assert [path.read_bytes() for path in paths] == [content for content, _ in before]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"genes": {"n": 20}}, "stimage: genes are not chosen as by default"),
        ({"protocols": ["paper"]}, "stimage: protocol clean was not run"),
    ],
)
def test_what_is_not_made_by_default_is_not_published(tmp_path: Path, values: dict[str, object], words: str) -> None:
    results = made_results(tmp_path, **values)
    with pytest.raises(DataError, match=f"no gene list to publish .*{words}"):
        publish_genes(results, tmp_path / "genes")
    assert not (tmp_path / "genes").exists()


def test_other_benchmarks_are_not_the_paper_s(tmp_path: Path) -> None:
    write_stamps(validate({"results": str(tmp_path), "benchmarks": {"her2st": {"source": "her2st", "format": "hest"}}}))
    with pytest.raises(DataError, match="her2st: not a benchmark of the paper"):
        publish_genes(tmp_path, tmp_path / "genes")


def test_results_of_other_folds_or_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no configuration record at .*config\.yaml\. Run the workflow"):
        publish_genes(tmp_path, tmp_path / "genes")
    results = made_results(tmp_path)
    record = Layout(results).splits("stimage")
    record.write_text(record.read_text().replace(",test,", ",train,", 1))
    with pytest.raises(IntegrityError, match=r"splits/stimage\.csv is not there, or not of the shipped folds"):
        publish_genes(results, tmp_path / "genes")
