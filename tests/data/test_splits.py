"""Folds keep patients apart, and say what chooses the epoch."""

import csv
import json
from pathlib import Path

import pytest

from stflow.config import SPLITS
from stflow.data.splits import PROTOCOLS, Manifest, refuse_leakage_in_csv
from stflow.errors import LeakageError, SplitError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
HEAD = "dataset,slide,patient,protocol,fold,role\n"


def manifest(folder: Path, rows: str, *, by_slide: bool = False) -> Manifest:
    path = folder / "mine.csv"
    path.write_text(HEAD + rows)
    return Manifest.read(path, by_slide=by_slide)


THREE = "D,a,A,*,0,train\nD,b,B,*,0,train\nD,c,C,*,0,test\n"


@pytest.mark.parametrize("path", sorted(SPLITS.glob("*.csv")), ids=lambda path: path.stem)
def test_every_shipped_clean_fold_keeps_patients_apart(path: Path) -> None:
    splits = Manifest.read(path, by_slide=True)
    for dataset in splits.datasets():
        assert bool(splits.folds(dataset, "clean")) != bool(splits.reason(dataset, "clean"))
        for index in splits.folds(dataset, "clean"):
            fold = splits.fold(dataset, "clean", index)
            patients = [{splits.patient(dataset, s) for s in side} for side in (fold.train, fold.select, fold.test)]
            assert not patients[0] & patients[2]
            assert not patients[1] & patients[2]
            if fold.select_by in ("patient", "val"):
                assert not patients[0] & patients[1]
            assert not set(fold.development) & set(fold.test)


def test_the_paper_protocol_chooses_on_the_test_fold_and_clean_does_not(tmp_path: Path) -> None:
    splits = manifest(tmp_path, THREE)
    paper, clean = (splits.fold("D", protocol, 0) for protocol in PROTOCOLS)
    assert (paper.select_by, paper.select) == ("test", ("c",))
    assert paper.development == ("a", "b")
    assert clean.select_by == "patient"
    assert len(clean.train) == len(clean.select) == 1
    assert set(clean.development) == {"a", "b"}


def test_holding_out_does_not_depend_on_row_order(tmp_path: Path) -> None:
    rows = [f"D,s{i},P{i // 2},*,0,{'test' if i > 7 else 'train'}" for i in range(10)]
    one = manifest(tmp_path, "\n".join(rows) + "\n").fold("D", "clean", 0)
    two = manifest(tmp_path, "\n".join(rows[::-1]) + "\n").fold("D", "clean", 0)
    assert set(one.select) == set(two.select)


def test_with_one_training_patient_a_slide_and_with_one_slide_a_region_is_held_out(tmp_path: Path) -> None:
    one_patient = manifest(tmp_path, "D,a,A,*,0,train\nD,b,A,*,0,train\nD,c,C,*,0,test\n").fold("D", "clean", 0)
    assert one_patient.select_by == "slide"
    many = "".join(f"D,s{i},A,*,0,train\n" for i in range(16))
    sixteen = manifest(tmp_path, f"{many}D,c,C,*,0,test\n").fold("D", "clean", 0)
    assert (sixteen.select_by, len(sixteen.train), len(sixteen.select)) == ("slide", 13, 3)
    one_slide = manifest(tmp_path, "D,a,A,*,0,train\nD,c,C,*,0,test\n").fold("D", "clean", 0)
    assert one_slide.select_by == "region"
    assert one_slide.development == ("a",)


def test_a_patient_on_both_sides_is_refused(tmp_path: Path) -> None:
    splits = manifest(tmp_path, "D,a,A,*,0,train\nD,b,A,*,0,test\n")
    for protocol in PROTOCOLS:
        with pytest.raises(LeakageError, match=r"mine/D fold 0 .*patient A is in both train and test.*leak"):
            splits.fold("D", protocol, 0)


def test_split_by_slide_is_allowed_in_the_paper_protocol_only(tmp_path: Path) -> None:
    splits = manifest(tmp_path, "D,a,A,*,0,train\nD,b,A,*,0,test\n", by_slide=True)
    assert splits.fold("D", "paper", 0).test == ("b",)
    with pytest.raises(LeakageError):
        splits.fold("D", "clean", 0)
    with pytest.raises(LeakageError, match=r"line 3: slide a of D fold 0 is in both train \(line 2\) and test"):
        manifest(tmp_path, "D,a,A,paper,0,train\nD,a,A,paper,0,test\n", by_slide=True)


def test_every_problem_of_a_manifest_comes_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(SplitError) as caught:
        manifest(tmp_path, "D,a,A,*,0,trian\nD,b,B,dirty,0,test\nD,c,C,*,one,test\nD,a,B,*,0,test\n")
    message = str(caught.value)
    for part in ("'trian'", "'dirty'", "'one'", "slide a is of patient A and B"):
        assert part in message


@pytest.mark.parametrize(
    ("rows", "words", "kind"),
    [
        (
            "D,a,A,*,0,train\nD,b,B,*,0,test\nD,a,A,*,0,train\n",
            "line 4: slide a of D fold 0 is in line 2 already",
            SplitError,
        ),
        ("D,a,A,*,0,train\nD,b,B,*,0,test\nD,a,A,clean,0,val\n", r"is in both train \(line 2\) and val", LeakageError),
        ("D,a,A,clean,0,test\nD,a,A,*,0,val\n", r"is in both test \(line 2\) and val", LeakageError),
        ("D,a,A,*,0,train\nD,a,B,*,1,test\n", "line 3: slide a is of patient A and B", SplitError),
        ("D,,A,*,0,train\nD,a,,*,0,test\n", "line 2: no slide or no patient; line 3: no slide", SplitError),
        (",a,A,*,0,train\n", "line 2: no dataset", SplitError),
        ("D,a,A,*,00,train\n", "fold '00' is not a number from 0", SplitError),
    ],
)
def test_rows_that_contradict_each_other_are_refused(
    tmp_path: Path, rows: str, words: str, kind: type[SplitError]
) -> None:
    with pytest.raises(SplitError, match=words) as caught:
        manifest(tmp_path, rows, by_slide=True)
    assert type(caught.value) is kind


def test_a_slide_may_change_its_role_from_fold_to_fold_and_protocol_to_protocol(tmp_path: Path) -> None:
    rows = "D,a,A,*,0,train\nD,b,B,*,0,test\nD,b,B,*,1,train\nD,a,A,*,1,test\n"
    assert manifest(tmp_path, rows).fold("D", "paper", 1).test == ("a",)
    rows = "D,a,A,paper,0,train\nD,b,B,paper,0,test\nD,b,B,clean,0,train\nD,a,A,clean,0,test\n"
    assert manifest(tmp_path, rows).fold("D", "clean", 0).test == ("a",)


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes((HEAD + "D,caf\xe9,A,*,0,train\n").encode("latin-1"))
    with pytest.raises(SplitError, match=r"mine\.csv is not UTF-8 .*Save it as UTF-8"):
        Manifest.read(tmp_path / "mine.csv")


def test_the_mark_that_spreadsheets_put_in_front_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(HEAD + THREE, encoding="utf-8-sig")
    assert Manifest.read(tmp_path / "mine.csv").datasets() == ["D"]


def with_reason(folder: Path, rows: str) -> Manifest:
    path = folder / "mine.csv"
    path.write_text(HEAD.strip() + ",reason\n" + rows)
    return Manifest.read(path)


def test_a_dataset_may_have_no_folds_and_say_why(tmp_path: Path) -> None:
    rows = "D,a,A,paper,0,train,\nD,b,B,paper,0,test,\nD,,,clean,,none,one patient\nE,a,A,*,0,train,\nE,b,B,*,0,test,\n"
    splits = with_reason(tmp_path, rows)
    assert splits.datasets() == ["D", "E"]
    assert splits.slides("D") == ["a", "b"]
    assert (splits.folds("D", "clean"), splits.reason("D", "clean")) == ([], "one patient")
    assert (splits.folds("D", "paper"), splits.reason("D", "paper")) == ([0], "")
    assert splits.reason("E", "clean") == ""


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("D,,,clean,,none,", "line 4: the role none needs words in the column reason"),
        ("D,c,,clean,1,none,why", "leave slide and fold empty"),
        ("D,,,paper,,none,why", r"line 4: D has folds for paper \(line 2\), so no reason to have none"),
    ],
)
def test_a_reason_that_is_missing_or_wrong_is_refused(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(SplitError, match=words):
        with_reason(tmp_path, f"D,a,A,paper,0,train,\nD,b,B,paper,0,test,\n{row}\n")


def test_an_empty_side_or_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="1 training and 0 test slides"):
        manifest(tmp_path, "D,a,A,*,0,train\n").fold("D", "paper", 0)
    with pytest.raises(SplitError, match="no split manifest at"):
        Manifest.read(tmp_path / "none.csv")
    (tmp_path / "bad.csv").write_text("slide,fold\na,0\n")
    with pytest.raises(SplitError, match="lacks the columns dataset, patient, protocol, role"):
        Manifest.read(tmp_path / "bad.csv")


def test_an_official_fold_file_with_a_shared_patient_is_refused(tmp_path: Path) -> None:
    for side, slides in (("train", "abc"), ("test", "cd")):
        with (tmp_path / f"{side}_0.csv").open("w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(["sample_id", "patches_path", "expr_path"])
            writer.writerows([s, f"patches/{s}.h5", f"adata/{s}.h5ad"] for s in slides)
    with pytest.raises(LeakageError, match="patient P3 is in both"):
        refuse_leakage_in_csv(
            tmp_path / "train_0.csv", tmp_path / "test_0.csv", {"a": "P1", "b": "P2", "c": "P3", "d": "P4"}
        )


@pytest.mark.real_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data beside this clone (official hest-bench folds)")
def test_the_shipped_hest_manifest_is_the_official_folds() -> None:
    splits = Manifest.read(SPLITS / "hest.csv")
    folders = sorted((SHARED / "hest_bench").glob("*/splits"))
    assert len(folders) == 10
    assert {folder.parent.name for folder in folders} == set(splits.datasets())
    for folder in folders:
        dataset = folder.parent.name
        indices = splits.folds(dataset, "paper")
        assert len(indices) == len(list(folder.glob("test_*.csv")))
        for index in indices:
            fold = splits.fold(dataset, "paper", index)
            for side, slides in (("train", fold.train), ("test", fold.test)):
                with (folder / f"{side}_{index}.csv").open(newline="") as handle:
                    assert [row["sample_id"] for row in csv.DictReader(handle)] == list(slides)
        genes = json.loads((folder.parent / "var_50genes.json").read_text())["genes"]
        assert len(genes) == 50
