"""What leaks is found fold by fold, and a clean fold that leaks is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from stflow.data.audit import CHECKS, audit, leaks, make_audit
from stflow.data.genes import make_genes
from stflow.data.known_patients import KNOWN, known_patients, misnamed
from stflow.data.slide import write_slide
from stflow.data.splits import Manifest
from stflow.errors import LeakageError
from stflow.layout import Layout

ROOT = Path(__file__).resolve().parents[2]
METADATA = ROOT.parent / "shared" / "data" / "hest_bench" / "HEST_v1_1_0.csv"
GENES = [f"G{index}" for index in range(40)]


def manifest(folder: Path, *rows: str) -> Path:
    """A manifest of dataset D; a row is ``slide,patient,protocol,fold,role``."""
    path = folder / "lab.csv"
    path.write_text("\n".join(["dataset,slide,patient,protocol,fold,role", *(f"D,{row}" for row in rows)]) + "\n")
    return path


def write(layout: Layout, name: str, seed: int) -> None:
    counts = np.random.default_rng(seed).negative_binomial(1, 0.3, (60, len(GENES)))
    write_slide(
        layout.slide("lab", name), name=name, patient=name, barcodes=[f"b{index}" for index in range(60)], mpp=0.5,
        spot_diameter_um=55, centres_px=np.zeros((60, 2)), genes=GENES, counts=counts,
    )  # fmt: skip


def verdicts(path: Path, protocol: str = "clean", results: Path | None = None) -> dict[str, dict[str, str]]:
    """Fold -> check -> verdict."""
    found = audit(Layout(results or path.parent), "lab", "D", protocol, Manifest.read(path))
    return {fold: {check: checks[check]["verdict"] for check in CHECKS} for fold, checks in found["folds"].items()}


def test_without_data_the_manifest_alone_is_checked(tmp_path: Path) -> None:
    path = manifest(tmp_path, "s1,p1,*,0,train", "s2,p2,*,0,train", "s3,p3,*,0,test")
    there = {"slide": "pass", "patient": "pass", "tissue": "pass", "content": "not checked", "genes": "not checked"}
    assert verdicts(path)["0"] == {**there, "epoch": "pass"}
    assert verdicts(path, "paper")["0"] == {**there, "epoch": "leak"}


def test_a_patient_on_both_sides(tmp_path: Path) -> None:
    path = manifest(tmp_path, "s1,p1,*,0,train", "s2,p2,*,0,train", "s3,p1,*,0,test")
    found = verdicts(path, "paper")
    assert (found["0"]["slide"], found["0"]["patient"]) == ("pass", "leak")


def test_a_slide_on_both_sides() -> None:
    """The manifest's reader refuses such rows; a fold made by hand does not pass either."""
    columns = ("dataset", "slide", "patient", "protocol", "fold", "role", "reason")
    rows = [("D", "s1", "p1", "*", "0", "train", ""), ("D", "s1", "p1", "*", "0", "test", "")]
    read = Manifest("lab", tuple(dict(zip(columns, row, strict=True)) for row in rows))
    found = audit(Layout(Path("nowhere")), "lab", "D", "paper", read)
    assert (found["folds"]["0"]["slide"]["verdict"], found["folds"]["0"]["patient"]["verdict"]) == ("leak", "leak")


@pytest.mark.parametrize(("one", "other"), [("TENX95", "TENX97"), ("TENX98", "TENX99")])
def test_known_tissue_on_both_sides_leaks_whatever_the_manifest_says(tmp_path: Path, one: str, other: str) -> None:
    path = manifest(tmp_path, f"{one},IDC 1,*,0,train", "s2,IDC 2,*,0,train", f"{other},IDC 3,*,0,test")
    assert verdicts(path)["0"]["tissue"] == "leak"
    with pytest.raises(LeakageError, match=rf"fold 0, tissue: 10x breast .*{other} tested"):
        make_audit(tmp_path, "lab", "D", "clean", path, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
    make_audit(tmp_path, "lab", "D", "paper", path, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["folds"]["0"]["tissue"]["verdict"] == "leak"


def test_three_patients_under_one_name_are_told_and_no_leak(tmp_path: Path) -> None:
    path = manifest(tmp_path, "TENX147,1,*,0,train", "TENX148,1,*,0,train", "TENX149,1,*,0,train", "s,2,*,0,test")
    found = audit(Layout(tmp_path), "lab", "D", "clean", Manifest.read(path))
    assert leaks(found) == []
    [note] = found["notes"]
    assert note == (
        "patient '1' of the manifest is several: TENX147 of 10x colorectal P5; TENX148 of 10x colorectal P2; "
        "TENX149 of 10x colorectal P1"
    )


def test_content_and_genes_are_checked_where_the_data_are(tmp_path: Path) -> None:
    rows = [
        f"{slide},{slide},*,{fold},{'test' if slide == tested else 'train'}"
        for fold, tested in enumerate(("s3", "s4"))
        for slide in ("s1", "s2", "s3", "s4")
    ]
    path, layout = manifest(tmp_path, *rows), Layout(tmp_path)
    for name, seed in (("s1", 1), ("s2", 2), ("s3", 3), ("s4", 1)):  # s4 is s1 under another name
        write(layout, name, seed)
    for protocol, choice in (("clean", "train"), ("paper", "all")):
        out = layout.genes("lab", "D", protocol)
        make_genes(tmp_path, "lab", "D", protocol, path, out, n_genes=5, choice=choice, recipe="hest")
    clean, paper = verdicts(path), verdicts(path, "paper")
    assert [clean[fold]["content"] for fold in "01"] == ["pass", "leak"]
    assert [clean[fold]["genes"] for fold in "01"] == ["pass", "pass"]
    assert [paper[fold]["genes"] for fold in "01"] == ["leak", "leak"]
    found = audit(layout, "lab", "D", "clean", Manifest.read(path))
    assert found["notes"] == ["the same slide twice: s1 and s4: 100% of the spots have the same counts"]
    assert audit(layout, "lab", "D", "clean", Manifest.read(path)) == found, "made again, the file has the same bytes"


def test_a_genes_file_that_does_not_say_is_not_checked(tmp_path: Path) -> None:
    path = manifest(tmp_path, "s1,p1,*,0,train", "s2,p2,*,0,train", "s3,p3,*,0,test")
    genes = Layout(tmp_path).genes("lab", "D", "clean")
    genes.parent.mkdir(parents=True)
    genes.write_text('{"schema": 1, "source": "made", "folds": {"0": ["A"]}}')
    assert verdicts(path)["0"]["genes"] == "not checked"


def test_no_published_fold_leaks_under_clean() -> None:
    for path in (ROOT / "resources" / "splits").glob("*.csv"):
        read = Manifest.read(path)
        for dataset in read.datasets():
            assert leaks(audit(Layout(Path("nowhere")), path.stem, dataset, "clean", read)) == []
            assert misnamed((slide, read.patient(dataset, slide)) for slide in read.slides(dataset)) == []


@pytest.mark.real_data
@pytest.mark.skipif(not METADATA.is_file(), reason=f"no HEST metadata at {METADATA}")
def test_what_is_known_of_slides_is_what_the_metadata_say() -> None:
    with METADATA.open(newline="", encoding="utf-8-sig") as handle:
        metadata = {row["id"]: row for row in csv.DictReader(handle)}
    with KNOWN.open(newline="", encoding="utf-8") as handle:
        known = {row["slide"]: row["evidence"] for row in csv.DictReader(handle)}
    assert set(known) == set(known_patients())
    for slide, evidence in known.items():
        told, published = evidence.split("; published as ")
        row = metadata[slide]
        assert told in (f"subseries: {row['subseries']}", f"{row['dataset_title']}, {row['subseries']}")
        assert published == row["patient"]
