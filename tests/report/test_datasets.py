"""The datasets' tables beside the paper's tables 7 and 8."""

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from stflow.config import SPLITS
from stflow.data.facts import slide_facts
from stflow.data.slide import write_slide
from stflow.data.splits import Manifest
from stflow.layout import Layout
from stflow.report.datasets import AVERAGES, agrees, facts_of, make_datasets
from stflow.report.published import PUBLISHED

PRINTED = json.loads(PUBLISHED.read_text())
NOWHERE = Layout(Path("nowhere"))


def table7() -> dict[str, dict[str, object]]:
    manifest = Manifest.read(SPLITS / "hest.csv")
    return {name: facts_of(NOWHERE, "hest", name, manifest) for name in manifest.datasets()}


def test_the_printed_average_of_table_7_is_the_tiles_of_fold_0_s_training_slides() -> None:
    rows = table7()
    assert {name.replace("LYMPH_IDC", "LYMPH") for name in rows} == set(PRINTED["table7_hest_stats"])
    for name, row in rows.items():
        assert agrees(row, "tiles_fold0", "printed_avg_spots") is True, name
        assert agrees(row, "spots", "printed_avg_spots") is False, name
        assert agrees(row, "tiles", "printed_avg_spots") is False, name


def test_table_7_disagrees_about_coad_alone() -> None:
    columns = {"technology": "technology", "patients": "patients", "slides": "samples", "folds": "splits"}
    differing = {
        (name, column)
        for name, row in table7().items()
        for column, printed in columns.items()
        if not agrees(row, column, f"printed_{printed}")
    }
    assert differing == {("COAD", "technology"), ("COAD", "patients"), ("COAD", "slides")}


def stimage(folder: Path) -> Path:
    """A manifest of all of STImage's slides, the first of a dataset tested."""
    rows, seen = ["dataset,slide,patient,protocol,fold,role"], set()
    for dataset, slide in slide_facts("stimage"):
        rows.append(f"{dataset},{slide},{slide},paper,0,{'train' if dataset in seen else 'test'}")
        seen.add(dataset)
    path = folder / "stimage.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_printed_average_of_table_8_is_the_spots_of_all_slides(tmp_path: Path) -> None:
    make_datasets(tmp_path, "stimage", stimage(tmp_path), [], tmp_path / "d.csv", tmp_path / "d.md")
    with (tmp_path / "d.csv").open() as handle:
        rows = {row["dataset"]: row for row in csv.DictReader(handle)}
    assert set(rows) == set(PRINTED["table8_stimage_stats"])
    for name, row in rows.items():
        assert int(float(row["spots"])) == PRINTED["table8_stimage_stats"][name]["avg_spots"]
        assert (row["slides"], row["technology"]) == (row["printed_samples"], row["printed_technology"])
        assert row["counted_in"] == "publication"
    page = (tmp_path / "d.md").read_text()
    assert page.startswith("# Table 8: datasets of STImage-1K4M")
    assert "1,762.3 = 1,762" in page
    assert "≠" not in page.split("|", 1)[1].split("\n\n")[0]
    assert "organ" not in page.split("\n\n")[2], "table 8 has no organs"


def test_a_difference_is_marked(tmp_path: Path) -> None:
    make_datasets(tmp_path, "hest", SPLITS / "hest.csv", ["COAD", "IDC"], tmp_path / "d.csv", tmp_path / "d.md")
    lines = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in (tmp_path / "d.md").read_text().splitlines()
        if line.startswith("| ")
    }
    assert lines["COAD"][:5] == ["Bowel (Colon)", "Xenium ≠ Visium", "4 ≠ 3", "4 ≠ 6", "2 = 2"]
    assert lines["IDC"][:5] == ["Breast", "Xenium", "4 = 4", "4 = 4", "4 = 4"]
    assert lines["IDC"][-1] == "4,925.0 = 4,925"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Results with two slides of 30 and 50 spots, of which 20 have a tile."""
    layout = Layout(tmp_path)
    for name, n_spots in (("s1", 30), ("s2", 50)):
        write_slide(
            layout.slide("lab", name), name=name, patient=name, barcodes=[str(spot) for spot in range(n_spots)],
            mpp=0.5, spot_diameter_um=55, centres_px=np.zeros((n_spots, 2)), genes=["A"], counts=np.ones((n_spots, 1)),
        )  # fmt: skip
        layout.tiles("lab", name).parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(layout.tiles("lab", name), "w") as handle:
            handle["img"] = np.zeros((20, 2, 2, 3), dtype=np.uint8)
    (tmp_path / "lab.csv").write_text(
        "dataset,slide,patient,protocol,fold,role\nD,s1,p,paper,0,train\nD,s2,q,paper,0,test\n"
    )
    return tmp_path


def test_a_benchmark_of_ones_own_is_counted_in_its_data(lab: Path) -> None:
    make_datasets(lab, "lab", lab / "lab.csv", [], lab / "d.csv", lab / "d.md")
    page = (lab / "d.md").read_text()
    assert page.startswith("# Datasets of lab\n")
    header, _, row = page.split("\n\n")[2].splitlines()
    assert [cell.strip() for cell in header.split("|")[1:-1]] == [
        "dataset", "patients", "slides", "folds", "spots", "tiles",
    ]  # fmt: skip
    assert [cell.strip() for cell in row.split("|")[1:-1]] == ["D", "2", "2", "1", "40.0", "20.0"]
    assert "paper prints" not in page
    assert "not made yet" not in page


def test_every_benchmark_of_the_paper_has_its_average() -> None:
    assert set(AVERAGES) == {"hest", "stimage"}
