"""Each format is read as it is published, and what cannot be used is refused with the file and the remedy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import pyvips
from scipy import sparse

from stflow.data.counts import make_counts
from stflow.data.formats import FORMATS
from stflow.data.formats.hest import Hest
from stflow.data.formats.hest_bench import HestBench
from stflow.data.formats.stimage import STImage
from stflow.data.slide import read_slide
from stflow.errors import DataError, IntegrityError, SlideError
from stflow.wsi.pyramid import write_pyramid

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "stimage"
NAMES = ["000x002", "000x003", "001x002"]
GENES = ["ACTB", "GATA3"]
COUNTS = np.array([[0, 3], [1, 0], [7, 2]])
CENTRES = np.array([[100.5, 200.0], [300.0, 200.0], [100.5, 400.25]])
PICTURE = np.full((64, 64, 3), 200, dtype=np.uint8)


def write_h5ad(
    path: Path, matrix: Any = COUNTS, names: list[str] = NAMES, genes: list[str] = GENES, **obsm: Any
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    adata = anndata.AnnData(
        X=matrix, obs=pd.DataFrame(index=names), var=pd.DataFrame(index=genes), obsm=obsm or {"spatial": CENTRES}
    )
    adata.uns["spatial"] = {"ST": {"scalefactors": {"spot_diameter_fullres": 200.0}}}
    adata.write_h5ad(path)


def write_hest(root: Path, mpp: float | None = 0.5, tiff_mpp: float = 0.25, **h5ad: Any) -> None:
    write_h5ad(root / "st" / "S1.h5ad", **h5ad)
    write_pyramid(root / "wsis" / "S1.tif", PICTURE, tiff_mpp)
    if mpp is not None:
        (root / "metadata").mkdir(exist_ok=True)
        (root / "metadata" / "S1.json").write_text(json.dumps({"pixel_size_um_estimated": mpp}))


def write_bench(root: Path, **attrs: float) -> None:
    write_h5ad(root / "IDC" / "adata" / "S1.h5ad")
    (root / "IDC" / "patches" / "vis").mkdir(parents=True)
    (root / "IDC" / "old").mkdir()
    with h5py.File(root / "IDC" / "patches" / "S1.h5", "w") as handle:
        handle["img"] = np.zeros((2, 4, 4, 3), dtype=np.uint8)
        handle["coords"] = np.zeros((2, 2), dtype=np.int64)
        handle["coords"].attrs.update(attrs)


def write_stimage(root: Path, technology: str = "Visium", r: Any = 55.0, places: list[str] = NAMES) -> None:
    for folder in ("image", "gene_exp", "coord"):
        (root / technology / folder).mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(COUNTS, index=[f"S1_{name}" for name in NAMES], columns=GENES)
    table.to_csv(root / technology / "gene_exp" / "S1_count.csv")
    centres = CENTRES[: len(places)]
    pd.DataFrame(
        {"yaxis": centres[:, 1], "xaxis": centres[:, 0], "r": r}, index=[f"S1_{name}" for name in places]
    ).to_csv(root / technology / "coord" / "S1_coord.csv")


def check(counts: Any, mpp: float) -> None:
    assert counts.barcodes.tolist() == NAMES
    assert counts.genes == tuple(GENES)
    assert (counts.counts.toarray() == COUNTS).all()
    np.testing.assert_allclose(counts.centres_px, CENTRES)
    assert counts.mpp == pytest.approx(mpp)


# -- hest ----------------------------------------------------------------------------------------------------


def test_hest_takes_the_metadatas_scale_before_the_images(tmp_path: Path) -> None:
    write_hest(tmp_path, mpp=0.5, tiff_mpp=0.25)
    counts = Hest(tmp_path).read_counts("IDC", "S1")
    check(counts, 0.5)
    assert counts.spot_diameter_um == pytest.approx(100.0)


def test_hest_without_metadata_takes_the_images_scale(tmp_path: Path) -> None:
    write_hest(tmp_path, mpp=None, tiff_mpp=0.25)
    check(Hest(tmp_path).read_counts("IDC", "S1"), 0.25)


def test_hest_without_any_scale_is_refused(tmp_path: Path) -> None:
    write_hest(tmp_path, mpp=None)
    pyvips.Image.new_from_array(PICTURE).tiffsave(str(tmp_path / "wsis" / "S1.tif"), tile=True)
    with pytest.raises(SlideError, match=r"slide S1 .*S1\.tif.*um/px.*Set pixel_size_um_estimated in metadata"):
        Hest(tmp_path).read_counts("IDC", "S1")


def test_the_users_scale_counts_where_nothing_else_tells_one(tmp_path: Path) -> None:
    write_hest(tmp_path, mpp=None)
    pyvips.Image.new_from_array(PICTURE).tiffsave(str(tmp_path / "wsis" / "S1.tif"), tile=True)
    make_counts("hest", tmp_path, "IDC", "S1", "P1", tmp_path / "s.h5ad", mpp=0.4)
    assert read_slide(tmp_path / "s.h5ad").mpp == 0.4
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "S1.json").write_text('{"pixel_size_um_embedded": 0.3}')
    make_counts("hest", tmp_path, "IDC", "S1", "P1", tmp_path / "s.h5ad", mpp=0.4)
    assert read_slide(tmp_path / "s.h5ad").mpp == 0.3


def test_gene_lists_are_known_by_name(tmp_path: Path) -> None:
    assert Hest(tmp_path).gene_list_file("IDC") == tmp_path / "bench" / "IDC" / "var_50genes.json"
    assert HestBench(tmp_path).gene_list_file("IDC") == tmp_path / "IDC" / "var_50genes.json"
    assert STImage(tmp_path).gene_list_file("Breast") is None


@pytest.mark.parametrize(
    "form",
    [
        sparse.csr_matrix,
        sparse.csc_matrix,
        lambda x: x.astype(np.float32),
        lambda x: x.astype(np.uint16),
        lambda x: sparse.csr_matrix(x.astype(np.uint16)),
    ],
)
def test_counts_of_any_form_are_the_same(tmp_path: Path, form: Callable[[np.ndarray], Any]) -> None:
    write_hest(tmp_path, matrix=form(COUNTS))
    make_counts("hest", tmp_path, "IDC", "S1", "P1", tmp_path / "s.h5ad")
    slide = read_slide(tmp_path / "s.h5ad")
    assert (slide.counts.toarray() == COUNTS).all()
    assert (slide.name, slide.patient, slide.mpp) == ("S1", "P1", 0.5)
    assert slide.genes == tuple(GENES)
    np.testing.assert_allclose(slide.centres_px, CENTRES)


# -- hest-bench ----------------------------------------------------------------------------------------------


def test_hest_bench_takes_the_patches_scale(tmp_path: Path) -> None:
    write_bench(tmp_path, pixel_size=0.3)
    check(HestBench(tmp_path).read_counts("IDC", "S1"), 0.3)


def test_hest_bench_without_scale_is_refused(tmp_path: Path) -> None:
    write_bench(tmp_path)
    with pytest.raises(SlideError, match=r"attribute pixel_size.*has no um/px"):
        HestBench(tmp_path).read_counts("IDC", "S1")


# -- STImage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("technology", "mpp", "spot"), [("Visium", 0.5, 55.0), ("ST", 100 / 110, 100.0)])
def test_stimage_reads_y_first_and_its_scale_from_the_spots_radius(
    tmp_path: Path, technology: str, mpp: float, spot: float
) -> None:
    write_stimage(tmp_path, technology)
    counts = STImage(tmp_path).read_counts("Breast", "S1")
    check(counts, mpp)
    assert counts.spot_diameter_um == spot
    assert all(path.parent.parent.name == technology for path in STImage(tmp_path).image_files("Breast", "S1"))


def test_stimage_knows_the_technology_of_published_slides_before_they_are_there(tmp_path: Path) -> None:
    layout, name = STImage(tmp_path), "GSE144239_GSM4565823"
    (tmp_path / "ST" / "coord").mkdir(parents=True)
    for slide in (name, "S1"):
        (tmp_path / "ST" / "coord" / f"{slide}_coord.csv").touch()
    assert (layout.technology(name), layout.technology("S1"), layout.technology("S2")) == ("Visium", "ST", "Visium")
    assert layout.counts_files("Skin", name) == [
        tmp_path / "Visium" / "gene_exp" / f"{name}_count.csv",
        tmp_path / "Visium" / "coord" / f"{name}_coord.csv",
    ]
    assert layout.image_files("Skin", name) == [tmp_path / "Visium" / "image" / f"{name}.png"]


@pytest.mark.parametrize("folder", ["gene_exp", "coord"])
def test_stimage_takes_rows_with_and_without_the_slide_s_name(tmp_path: Path, folder: str) -> None:
    write_stimage(tmp_path)
    path = next((tmp_path / "Visium" / folder).iterdir())
    path.write_text(path.read_text().replace("S1_", ""))
    check(STImage(tmp_path).read_counts("Breast", "S1"), 0.5)


def test_stimage_takes_the_coordinates_in_any_order_and_more_of_them(tmp_path: Path) -> None:
    write_stimage(tmp_path)
    path = tmp_path / "Visium" / "coord" / "S1_coord.csv"
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *lines[::-1], "S1_999x999,1,2,55.0"]) + "\n")
    check(STImage(tmp_path).read_counts("Breast", "S1"), 0.5)


@pytest.mark.parametrize("folder", ["gene_exp", "coord"])
def test_stimage_refuses_spots_that_have_two_rows(tmp_path: Path, folder: str) -> None:
    write_stimage(tmp_path)
    path = next((tmp_path / "Visium" / folder).iterdir())
    path.write_text(path.read_text() + path.read_text().splitlines()[2] + "\n")
    with pytest.raises(DataError, match=rf"{path.name}: 1 barcodes are not unique .first: 000x003.*each spot one row"):
        STImage(tmp_path).read_counts("Breast", "S1")


@pytest.mark.parametrize("folder", ["gene_exp", "coord"])
def test_stimage_refuses_names_that_are_not_utf8(tmp_path: Path, folder: str) -> None:
    write_stimage(tmp_path)
    path = next((tmp_path / "Visium" / folder).iterdir())
    path.write_bytes(path.read_bytes().replace(b"S1_000x003", b"S1_caf\xe9"))
    with pytest.raises(IntegrityError, match=rf"{path.name} is not UTF-8 .*Save it as UTF-8"):
        STImage(tmp_path).read_counts("Breast", "S1")


def test_stimage_tables_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stflow.data.formats.stimage._ROWS", 2)
    write_stimage(tmp_path)
    check(STImage(tmp_path).read_counts("Breast", "S1"), 0.5)


def test_stimage_refuses_spots_without_a_place(tmp_path: Path) -> None:
    write_stimage(tmp_path, places=NAMES[:2])
    with pytest.raises(DataError, match=r"1 of 3 spots of .*S1_count\.csv have no coordinates.*first: 001x002"):
        STImage(tmp_path).read_counts("Breast", "S1")


@pytest.mark.parametrize("r", [0.0, [55.0, 60.0, 55.0], float("nan")])
def test_stimage_refuses_radii_that_give_no_scale(tmp_path: Path, r: Any) -> None:
    write_stimage(tmp_path, r=r)
    with pytest.raises(DataError, match="column r must hold one positive radius"):
        STImage(tmp_path).read_counts("Breast", "S1")


def test_stimage_refuses_a_table_that_ends_early(tmp_path: Path) -> None:
    write_stimage(tmp_path)
    path = tmp_path / "Visium" / "gene_exp" / "S1_count.csv"
    path.write_text(path.read_text().replace("7,2", "7,x"))
    with pytest.raises(IntegrityError, match="not a whole table of numbers"):
        STImage(tmp_path).read_counts("Breast", "S1")


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no STImage sample at {REAL}")
def test_stimage_reads_published_coordinates(tmp_path: Path) -> None:
    sample = next(REAL.glob("*_coord.csv"))
    name = sample.name.removesuffix("_coord.csv")
    table = pd.read_csv(sample, index_col=0)
    for folder in ("coord", "gene_exp"):
        (tmp_path / "ST" / folder).mkdir(parents=True)
    (tmp_path / "ST" / "coord" / sample.name).write_bytes(sample.read_bytes())
    pd.DataFrame({"GATA3": 1}, index=table.index).to_csv(tmp_path / "ST" / "gene_exp" / f"{name}_count.csv")
    counts = STImage(tmp_path).read_counts("Breast", name)
    assert counts.barcodes[0] == "10x13"
    np.testing.assert_allclose(counts.centres_px[0], [1923.65, 2622.15])
    assert counts.mpp == pytest.approx(100 / (2 * 54.328144511906295))
    assert counts.spot_diameter_um == 100.0
    # Spots of this technology stand 200 um apart: the scale is right, and x and y are not mixed up with the radius.
    distance = np.linalg.norm(counts.centres_px[:, None] - counts.centres_px[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert np.median(distance.min(axis=1)) * counts.mpp == pytest.approx(200, rel=0.1)
    # A barcode is column x row of the array, from the left and from the top.
    column, row = np.array([name.split("x") for name in counts.barcodes], dtype=float).T
    assert np.corrcoef(column, counts.centres_px[:, 0])[0, 1] > 0.99
    assert np.corrcoef(row, counts.centres_px[:, 1])[0, 1] > 0.99


# -- what no format may hand on ------------------------------------------------------------------------------


def refused(root: Path, words: str, kind: type[DataError] = DataError) -> None:
    with pytest.raises(kind, match=words):
        make_counts("hest", root, "IDC", "S1", "P1", root / "s.h5ad")
    assert not (root / "s.h5ad").exists()


def test_an_empty_slide_is_refused(tmp_path: Path) -> None:
    write_hest(tmp_path, matrix=np.zeros((0, 2)), names=[], spatial=np.zeros((0, 2)))
    refused(tmp_path, r"slide S1 .*st/S1\.h5ad. is empty: 0 spots, 2 genes\. Fetch its counts again")


def write_any(layout: str, root: Path, matrix: np.ndarray, names: list[str] = NAMES) -> None:
    """One slide in a format, with these counts and barcodes."""
    if layout == "hest":
        write_hest(root, matrix=matrix, names=names)
    elif layout == "hest_bench":
        write_bench(root, pixel_size=0.5)
        write_h5ad(root / "IDC" / "adata" / "S1.h5ad", matrix, names)
    else:
        write_stimage(root)
        rows = [f"S1_{name}" for name in names]
        pd.DataFrame(matrix, rows, GENES).to_csv(root / "Visium" / "gene_exp" / "S1_count.csv")


BAD = {
    "negative": (np.where(COUNTS == 7, -2, COUNTS), NAMES, "its counts go down to -2.*Give raw counts"),
    "fractional": (np.where(COUNTS == 7, 0.5, COUNTS), NAMES, "1 of its counts are not whole.*first: 0.5.*Give raw"),
    "missing": (np.where(COUNTS == 7, np.nan, COUNTS), NAMES, "are not numbers .NaN.*Give raw counts"),
    "repeated": (COUNTS, [NAMES[0], NAMES[1], NAMES[0]], "1 barcodes are not unique .first: 000x002"),
}


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
@pytest.mark.parametrize("problem", BAD)
@pytest.mark.parametrize("layout", ["hest", "hest_bench", "stimage"])
def test_every_format_refuses_bad_counts_and_names_the_slide(tmp_path: Path, layout: str, problem: str) -> None:
    matrix, names, words = BAD[problem]
    write_any(layout, tmp_path, matrix, names)
    with pytest.raises(DataError, match=rf"S1.*{words}"):
        make_counts(layout, tmp_path, "IDC", "S1", "P1", tmp_path / "s.h5ad")
    assert not (tmp_path / "s.h5ad").exists()


@pytest.mark.parametrize("layout", ["hest", "hest_bench"])
@pytest.mark.parametrize("key", ["obs", "var"])
def test_h5ad_names_that_are_not_utf8_are_refused(tmp_path: Path, layout: str, key: str) -> None:
    write_any(layout, tmp_path, COUNTS)
    path = FORMATS.get(layout)(tmp_path).counts_files("IDC", "S1")[0]
    with h5py.File(path, "r+") as handle:
        column = handle[key][handle[key].attrs["_index"]]
        column[0] = b"caf\xe9"
    with pytest.raises(IntegrityError, match=r"S1\.h5ad holds names that are not UTF-8 .*Write it again"):
        make_counts(layout, tmp_path, "IDC", "S1", "P1", tmp_path / "s.h5ad")


def test_repeated_barcodes_are_refused(tmp_path: Path) -> None:
    write_hest(tmp_path, names=["a", "b", "a"])
    refused(tmp_path, "1 barcodes are not unique .first: a.*name of its own")


def test_spots_without_a_centre_are_refused(tmp_path: Path) -> None:
    broken = CENTRES.copy()
    broken[1] = np.nan
    write_hest(tmp_path, spatial=broken)
    refused(tmp_path, "1 of 3 spots have no centre .first: 000x003.*drop those spots")


def test_missing_coordinates_are_refused(tmp_path: Path) -> None:
    write_hest(tmp_path, other=CENTRES)
    refused(tmp_path, r"has no spot coordinates.*obsm\['spatial'\]")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "100% of its counts other than zero are not numbers"),
        (-2.0, "go down to -2"),
        (0.7, "not whole numbers"),
    ],
)
def test_counts_that_are_not_raw_are_refused(tmp_path: Path, value: float, words: str) -> None:
    write_hest(tmp_path, matrix=np.full(COUNTS.shape, value))
    refused(tmp_path, f"{words}.*Give raw counts")


def test_truncated_counts_are_refused(tmp_path: Path) -> None:
    write_hest(tmp_path)
    path = tmp_path / "st" / "S1.h5ad"
    path.write_bytes(path.read_bytes()[:3000])
    refused(tmp_path, "not a whole HDF5 file", IntegrityError)


def test_missing_files_are_named(tmp_path: Path) -> None:
    write_hest(tmp_path)
    (tmp_path / "st" / "S1.h5ad").unlink()
    refused(tmp_path, r"no counts at .*st/S1\.h5ad.*correct the benchmark's root")
    with pytest.raises(DataError, match=r"no file at .*S9_count\.csv"):
        STImage(tmp_path).read_counts("Breast", "S9")


def test_repeated_gene_symbols_stay_apart(tmp_path: Path) -> None:
    write_hest(tmp_path, genes=["TBCE", "TBCE"])
    make_counts("hest", tmp_path, "IDC", "S1", "P1", tmp_path / "s.h5ad")
    slide = read_slide(tmp_path / "s.h5ad")
    assert slide.genes == ("TBCE", "TBCE-1")
    np.testing.assert_allclose(slide.expression(["TBCE"])[:, 0], np.log1p(COUNTS[:, 0]), rtol=1e-6)


def test_every_built_in_format_loads() -> None:
    for name in ("hest", "hest_bench", "stimage"):
        assert FORMATS.get(name).name == name
