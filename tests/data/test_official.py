"""A local hest-bench is compared with the published one: sizes a slide, folds a task, every difference named."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from stflow.config import SPLITS, validate
from stflow.data.counts import make_counts
from stflow.data.facts import slide_facts
from stflow.data.official import fold_differences, require_official_folds, require_published
from stflow.data.slide import read_slide
from stflow.data.splits import Manifest, refuse_leakage_in_csv
from stflow.errors import IntegrityError, SplitError
from stflow.workflow import Plan

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "hest_bench"
MANIFEST = Manifest.read(SPLITS / "hest.csv")
FACTS = slide_facts("hest")["READ", "ZEN36"]
real = [pytest.mark.real_data, pytest.mark.skipif(not REAL.is_dir(), reason=f"no hest-bench folds at {REAL}")]

FORMS: list[Callable[[np.ndarray], Any]] = [
    lambda x: x.astype(np.uint16),
    lambda x: x.astype(np.int32),
    lambda x: x.astype(np.int64),
    lambda x: x.astype(np.float32),
    lambda x: sparse.csr_matrix(x.astype(np.uint16)),
    lambda x: sparse.csc_matrix(x.astype(np.int32)),
    lambda x: sparse.csr_matrix(x.astype(np.float32)),
]


def write_slide(
    root: Path, dataset: str, slide: str, counts: Any, patches: int, mpp: float, names: list[str] | None = None
) -> None:
    """One slide as hest-bench has it, with the other folders that its download holds."""
    folder = root / dataset
    for name in ("adata", "patches/vis", "patches_vis", "old", "old/patches"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    n, n_genes = counts.shape
    barcodes = [f"{row:05d}" for row in range(n)]
    adata = anndata.AnnData(
        X=counts, obs=pd.DataFrame(index=barcodes), var=pd.DataFrame(index=[f"G{gene}" for gene in range(n_genes)])
    )
    adata.obsm["spatial"] = np.stack([np.arange(n) * 200.0, np.zeros(n)], axis=1)
    adata.write_h5ad(folder / "adata" / f"{slide}.h5ad")
    (folder / "old" / "patches" / f"{slide}.h5").write_bytes(b"not to be read")
    with h5py.File(folder / "patches" / f"{slide}.h5", "w") as handle:
        handle.create_dataset("img", (patches, 224, 224, 3), np.uint8, chunks=(1, 224, 224, 3))
        handle["coords"] = np.zeros((patches, 2), dtype=np.int64)
        handle["coords"].attrs.update(pixel_size=mpp, patch_size_src=round(112 / mpp))
        names = names or barcodes[:patches]
        handle.create_dataset("barcode", data=[[name] for name in names], dtype=h5py.string_dtype())


@pytest.mark.parametrize("form", FORMS)
def test_counts_of_any_form_and_integer_type_are_joined_by_barcode(
    tmp_path: Path, form: Callable[[np.ndarray], Any]
) -> None:
    from stflow.wsi.tiles import make_tiles

    counts = np.random.default_rng(0).poisson(2.0, (6, 4))
    write_slide(tmp_path, "MINE", "S1", form(counts), 3, 0.5, names=["00004", "00000", "00002"])
    make_counts("hest_bench", tmp_path, "MINE", "S1", "P", tmp_path / "s.h5ad")
    slide = read_slide(tmp_path / "s.h5ad")
    assert (slide.counts.toarray() == counts).all()
    make_tiles("hest_bench", tmp_path, "MINE", "S1", tmp_path / "s.h5ad", tmp_path / "t.h5",
               tile_um=112.0, tile_px=224, min_tissue=0.15)  # fmt: skip
    with h5py.File(tmp_path / "t.h5") as tiles:
        names = tiles["barcode"].asstr()[:].ravel().tolist()
    assert names == ["00004", "00000", "00002"]
    order = [slide.barcodes.tolist().index(name) for name in names]
    assert (slide.subset(np.array(order)).counts.toarray() == counts[[4, 0, 2]]).all()


def test_repeated_barcodes_in_patches_are_refused(tmp_path: Path) -> None:
    from stflow.wsi.tiles import make_tiles

    write_slide(tmp_path, "MINE", "S1", np.ones((4, 3), dtype=np.int32), 3, 0.5, names=["00001", "00001", "00002"])
    make_counts("hest_bench", tmp_path, "MINE", "S1", "P", tmp_path / "s.h5ad")
    with pytest.raises(IntegrityError, match=r"slide S1: barcodes of .*S1\.h5 occur twice.*one release"):
        make_tiles("hest_bench", tmp_path, "MINE", "S1", tmp_path / "s.h5ad", tmp_path / "t.h5",
                   tile_um=112.0, tile_px=224, min_tissue=0.15)  # fmt: skip


def test_a_published_slide_of_another_size_is_refused_with_every_difference(tmp_path: Path) -> None:
    write_slide(tmp_path, "READ", "ZEN36", sparse.csr_matrix(np.ones((20, 3), dtype=np.float32)), 5, 0.7)
    with pytest.raises(IntegrityError) as caught:
        make_counts("hest_bench", tmp_path, "READ", "ZEN36", "P", tmp_path / "s.h5ad")
    for words in (
        "slide ZEN36 of READ",
        f"20 spots, {FACTS.spots:,} published",
        f"3 genes, {FACTS.genes:,} published",
        f"5 patches, {FACTS.patches:,} published",
        "0.7 um/px, ",
        "fetch the slide again from hest-bench",
    ):
        assert words in str(caught.value)


def test_the_published_sizes_and_unknown_slides_pass() -> None:
    sizes = {"spots": FACTS.spots, "genes": FACTS.genes, "patches": FACTS.patches or 0, "mpp": FACTS.mpp or 0}
    require_published("READ", "ZEN36", Path("x"), **sizes)
    require_published("READ", "MINE", Path("x"), spots=1, genes=1, patches=1, mpp=0.5)
    with pytest.raises(IntegrityError, match="is not the published one: 1 spots"):
        require_published("READ", "ZEN36", Path("x"), **{**sizes, "spots": 1})


# -- folds ---------------------------------------------------------------------------------------------------


def write_folds(root: Path, dataset: str) -> Path:
    """The official files of a dataset, as the manifest has them."""
    folder = root / dataset / "splits"
    folder.mkdir(parents=True)
    for index in MANIFEST.folds(dataset, "paper"):
        fold = MANIFEST.fold(dataset, "paper", index)
        for side, slides in (("train", fold.train), ("test", fold.test)):
            lines = [f"{slide},patches/{slide}.h5,adata/{slide}.h5ad" for slide in slides]
            (folder / f"{side}_{index}.csv").write_text("\n".join(["sample_id,patches_path,expr_path", *lines]) + "\n")
    return folder


def test_the_same_folds_have_no_difference(tmp_path: Path) -> None:
    folder = write_folds(tmp_path, "IDC")
    (folder / "notes.csv").write_text("of no interest")
    assert fold_differences(folder, MANIFEST, "IDC") == []
    require_official_folds(tmp_path, MANIFEST, ["IDC", "PRAD"])  # PRAD's are not there


def test_each_difference_is_named_before_anything_runs(tmp_path: Path) -> None:
    folder = write_folds(tmp_path, "IDC")
    (folder / "test_0.csv").write_text("sample_id,patches_path,expr_path\nTENX95,p,e\n")
    (folder / "train_3.csv").unlink()
    with pytest.raises(SplitError) as caught:
        Plan(validate({"benchmarks": {"hest": {"root": str(tmp_path), "datasets": ["IDC"]}}}))
    text = str(caught.value)
    assert "IDC fold 0: TENX95 is in test of" in text
    assert "IDC fold 0: TENX99 is in test of the manifest and not of" in text
    assert text.count("IDC fold 3") == 3
    assert "benchmarks.<name>.manifest" in text


def test_folds_of_ones_own_are_ones_own(tmp_path: Path) -> None:
    folder = write_folds(tmp_path, "IDC")
    (folder / "test_0.csv").write_text("sample_id\nTENX95\n")
    shutil.copyfile(SPLITS / "hest.csv", tmp_path / "mine.csv")
    entry = {"root": str(tmp_path), "datasets": ["IDC"], "manifest": str(tmp_path / "mine.csv")}
    Plan(validate({"benchmarks": {"hest": entry}}))


@pytest.mark.parametrize("dataset", [pytest.param(dataset, marks=real) for dataset in MANIFEST.datasets()])
def test_the_official_folds_of_all_ten_tasks_are_the_manifests(dataset: str) -> None:
    folder = REAL / dataset / "splits"
    assert fold_differences(folder, MANIFEST, dataset) == []
    patients = {slide: MANIFEST.patient(dataset, slide) for slide in MANIFEST.slides(dataset)}
    for index in MANIFEST.folds(dataset, "paper"):
        refuse_leakage_in_csv(folder / f"train_{index}.csv", folder / f"test_{index}.csv", patients)
