"""The demo's slides: official formats, the same twice, and a truth that only neighbours tell."""

import csv
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from stflow.config import SPLITS
from stflow.data.demo import make_slide, make_task, recipe
from stflow.data.demo.expression import GENES
from stflow.data.demo.grid import neighbour_matrix
from stflow.data.demo.manifest import manifest_csv
from stflow.data.demo.section import Section, make_section
from stflow.data.demo.write_hest import tissue_share
from stflow.data.splits import PROTOCOLS, Manifest
from stflow.errors import DataError

SMALL_UM = 700.0
HEST, STIMAGE = "demo_hest", "demo_stimage"
HEST_SLIDE = "DEMO2A"
STIMAGE_SLIDE = next(iter(recipe.BENCHMARKS[STIMAGE].slides))


@cache
def section(benchmark: str, slide: str, size_um: float = recipe.SIZE_UM) -> Section:
    return make_section(benchmark, slide, size_um=size_um)


def columns(genes: tuple[str, ...]) -> list[int]:
    return [GENES.index(gene) for gene in genes]


@pytest.fixture(scope="module")
def hest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hest")
    make_slide(HEST, HEST_SLIDE, root, size_um=SMALL_UM)
    make_task(HEST, root, size_um=SMALL_UM)
    return root


@pytest.fixture(scope="module")
def stimage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stimage")
    make_slide(STIMAGE, STIMAGE_SLIDE, root, size_um=SMALL_UM)
    make_task(STIMAGE, root, size_um=SMALL_UM)
    return root


# -- names and folds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("benchmark", recipe.BENCHMARKS.values(), ids=lambda benchmark: benchmark.name)
def test_split_manifests_are_those_of_the_recipe(benchmark: recipe.Benchmark) -> None:
    path = SPLITS / f"{benchmark.name}.csv"
    assert path.read_text() == manifest_csv(benchmark), "run `python -m stflow.data.demo.manifest`"
    manifest = Manifest.read(path, by_slide=benchmark.name == STIMAGE)
    assert set(manifest.slides(benchmark.dataset)) == set(benchmark.slides)
    assert len(benchmark.slides) >= 6
    assert len(set(benchmark.slides.values())) >= 3
    for protocol in PROTOCOLS:
        for fold in manifest.folds(benchmark.dataset, protocol):
            manifest.fold(benchmark.dataset, protocol, fold)


def test_the_paper_fold_by_slide_shares_a_patient_and_the_clean_one_does_not() -> None:
    benchmark = recipe.BENCHMARKS[STIMAGE]
    manifest = Manifest.read(SPLITS / f"{STIMAGE}.csv", by_slide=True)
    shared = {
        protocol: {benchmark.slides[slide] for slide in fold.train} & {benchmark.slides[slide] for slide in fold.test}
        for protocol in PROTOCOLS
        for fold in [manifest.fold(benchmark.dataset, protocol, 0)]
    }
    assert shared["paper"]
    assert not shared["clean"]


def test_gene_groups_do_not_overlap() -> None:
    groups = (recipe.INTERACTION, recipe.MORPHOLOGY, recipe.HOUSEKEEPING, recipe.BATCH, recipe.RARE)
    assert sum(map(len, groups)) == len(GENES) == len(set(GENES))
    assert set(recipe.BIOMARKERS) == {"GATA3", "ERBB2", "UBE2C", "VWF"} <= set(recipe.MORPHOLOGY)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"no demo benchmark 'demo'\. There are demo_hest, demo_stimage"):
        make_section("demo", "DEMO1A")
    with pytest.raises(DataError, match=r"demo_hest has no slide 'DEMO9A'\. Its slides are DEMO1A"):
        make_section(HEST, "DEMO9A")


# -- HEST-1k and hest-bench ------------------------------------------------------------------------------------


def test_openslide_opens_the_pyramid_and_reads_its_scale(hest: Path) -> None:
    import openslide

    patient = recipe.BENCHMARKS[HEST].patient(HEST_SLIDE)
    with openslide.OpenSlide(hest / "wsis" / f"{HEST_SLIDE}.tif") as slide:
        assert slide.level_count > 1
        assert slide.dimensions == (round(SMALL_UM / patient.mpp),) * 2
        for axis in "xy":
            assert float(slide.properties[f"openslide.mpp-{axis}"]) == pytest.approx(patient.mpp, rel=1e-4)
    metadata = json.loads((hest / "metadata" / f"{HEST_SLIDE}.json").read_text())
    assert metadata["pixel_size_um_estimated"] == patient.mpp


@pytest.mark.parametrize("folder", ["st", "bench/DEMO_IDC/adata"])
def test_counts_are_an_anndata_of_raw_counts_and_centres(hest: Path, folder: str) -> None:
    import anndata
    from scipy import sparse

    adata = anndata.read_h5ad(hest / folder / f"{HEST_SLIDE}.h5ad")
    expected = section(HEST, HEST_SLIDE, SMALL_UM)
    assert sparse.issparse(adata.X)
    assert adata.X.dtype == np.float32
    np.testing.assert_array_equal(adata.X.toarray(), expected.counts)
    assert tuple(adata.var_names) == GENES
    assert adata.obs_names.is_unique
    assert all(re.fullmatch("[ACGT]{16}-1", name) for name in adata.obs_names)
    spatial = adata.obsm["spatial"]
    assert spatial.dtype == np.float64
    np.testing.assert_array_equal(spatial, adata.obs[["pxl_col_in_fullres", "pxl_row_in_fullres"]])
    assert {"in_tissue", "array_row", "array_col", "total_counts", "pct_counts_mito"} <= set(adata.obs)
    library = adata.uns["spatial"]["ST"]
    assert max(library["images"]["downscaled_fullres"].shape) == 1000
    assert library["scalefactors"]["spot_diameter_fullres"] == pytest.approx(55 / expected.patient.mpp)


def test_patches_have_hest_benchs_keys_types_and_attributes(hest: Path) -> None:
    import h5py

    expected = section(HEST, HEST_SLIDE, SMALL_UM)
    with h5py.File(hest / "bench" / "DEMO_IDC" / "patches" / f"{HEST_SLIDE}.h5") as handle:
        assert set(handle) == {"img", "coords", "barcode"}
        img, coords = handle["img"], handle["coords"]
        n = len(img)
        assert img.shape == (n, 224, 224, 3)
        assert (img.dtype, img.chunks, img.maxshape) == (np.uint8, (1, 224, 224, 3), (None, 224, 224, 3))
        assert (coords.shape, coords.dtype) == ((n, 2), np.int64)
        assert handle["barcode"].shape == (n, 1)
        side = round(112 / expected.patient.mpp)
        for dataset in (img, coords):
            assert dataset.attrs["patch_size_src"] == side
            assert dataset.attrs["patch_size_target"] == 224
            assert dataset.attrs["downsample"] == pytest.approx(0.5 / expected.patient.mpp)
            assert dataset.attrs["pixel_size"] == expected.patient.mpp
        names = [name.decode() for name in handle["barcode"][:].ravel()]
        row = {barcode: index for index, barcode in enumerate(expected.grid.barcodes)}
        kept = [row[name] for name in names]
        assert kept == np.flatnonzero(tissue_share(expected) >= 0.15).tolist()
        np.testing.assert_allclose(coords[:] + side / 2, expected.centres_px[kept], atol=1.0)
        image = expected.image()
        x, y = coords[0]
        assert abs(img[0].mean() - image[y : y + side, x : x + side].mean()) < 1.0


def test_task_files_are_hest_benchs(hest: Path) -> None:
    bench = hest / "bench" / "DEMO_IDC"
    benchmark = recipe.BENCHMARKS[HEST]
    patients = {patient.name for patient in benchmark.patients}
    for fold in range(2):
        sides = []
        for role in ("train", "test"):
            with (bench / "splits" / f"{role}_{fold}.csv").open() as handle:
                rows = list(csv.DictReader(handle))
            for line in rows:
                slide = line["sample_id"]
                assert line == {
                    "sample_id": slide,
                    "patches_path": f"patches/{slide}.h5",
                    "expr_path": f"adata/{slide}.h5ad",
                }
            sides.append({benchmark.slides[line["sample_id"]] for line in rows})
        assert sides[0] | sides[1] == patients
        assert not sides[0] & sides[1]
    assert len(list((bench / "splits").iterdir())) == 4
    genes = json.loads((bench / "var_50genes.json").read_text())["genes"]
    assert len(genes) == 50
    assert genes == sorted(genes)
    truth = json.loads((bench / "truth.json").read_text())
    assert tuple(truth["interaction"]) == recipe.INTERACTION
    assert set(truth["recipe"]["receiver_effects"]) == set(recipe.INTERACTION)


def test_nothing_unfinished_is_left_beside_the_files(hest: Path, stimage: Path) -> None:
    assert not [path for root in (hest, stimage) for path in root.rglob("*partial*")]


# -- STImage-1K4M ----------------------------------------------------------------------------------------------


def test_stimage_files_have_its_columns_and_row_names(stimage: Path) -> None:
    from PIL import Image

    expected = section(STIMAGE, STIMAGE_SLIDE, SMALL_UM)
    names = [f"{STIMAGE_SLIDE}_{barcode}" for barcode in expected.grid.barcodes]
    with (stimage / "Visium" / "gene_exp" / f"{STIMAGE_SLIDE}_count.csv").open() as handle:
        head, *rows = csv.reader(handle)
    assert head == ["", *GENES]
    assert [row[0] for row in rows] == names
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], dtype=int), expected.counts)
    with (stimage / "Visium" / "coord" / f"{STIMAGE_SLIDE}_coord.csv").open() as handle:
        head, *rows = csv.reader(handle)
    assert head == ["", "yaxis", "xaxis", "r"]
    assert [row[0] for row in rows] == names
    values = np.array([row[1:] for row in rows], dtype=float)
    np.testing.assert_array_equal(values[:, 1::-1], expected.centres_px)
    np.testing.assert_allclose(27.5 / values[:, 2], expected.patient.mpp)
    with Image.open(stimage / "Visium" / "image" / f"{STIMAGE_SLIDE}.png") as image:
        np.testing.assert_array_equal(np.asarray(image), expected.image())


def test_stimage_meta_counts_spots_and_genes(stimage: Path) -> None:
    with (stimage / "meta" / "meta_all_gene.csv").open() as handle:
        rows = {row["slide"]: row for row in csv.DictReader(handle)}
    assert set(rows) == set(recipe.BENCHMARKS[STIMAGE].slides)
    assert int(rows[STIMAGE_SLIDE]["spot_num"]) == len(section(STIMAGE, STIMAGE_SLIDE, SMALL_UM).grid)
    assert {(row["species"], row["tech"], row["involve_cancer"]) for row in rows.values()} == {
        ("human", "Visium", "True")
    }
    assert (stimage / "truth.json").is_file()


# -- the same twice --------------------------------------------------------------------------------------------


def test_a_slide_is_the_same_twice_and_its_sister_is_not(hest: Path, tmp_path: Path) -> None:
    make_slide(HEST, HEST_SLIDE, tmp_path, size_um=SMALL_UM)
    for name in (f"wsis/{HEST_SLIDE}.tif", f"metadata/{HEST_SLIDE}.json"):
        assert (tmp_path / name).read_bytes() == (hest / name).read_bytes()
    first, again = section(HEST, HEST_SLIDE), make_section(HEST, HEST_SLIDE)
    sister = section(HEST, HEST_SLIDE[:-1] + "B")
    np.testing.assert_array_equal(first.counts, again.counts)
    np.testing.assert_array_equal(first.grid.barcodes, again.grid.barcodes)
    assert first.patient == sister.patient
    assert not np.array_equal(first.tissue.compartments, sister.tissue.compartments)
    assert set(first.grid.barcodes).isdisjoint(sister.grid.barcodes)


# -- counts ----------------------------------------------------------------------------------------------------


def test_full_slides_have_a_visium_grid_with_a_few_spots_on_glass() -> None:
    for benchmark in recipe.BENCHMARKS.values():
        for slide in benchmark.slides:
            drawn = section(benchmark.name, slide)
            assert 350 <= len(drawn.grid) <= 420
            assert 0 < np.count_nonzero(~drawn.on_tissue) < 0.05 * len(drawn.grid)
            share = tissue_share(drawn)
            assert share[drawn.on_tissue].min() >= 0.15 > share[~drawn.on_tissue].max()
            distance = np.linalg.norm(drawn.grid.centres_um[:, None] - drawn.grid.centres_um[None], axis=2)
            np.fill_diagonal(distance, np.inf)
            assert distance.min() == pytest.approx(100.0)
            inner = np.count_nonzero(distance < 101, axis=1)
            np.testing.assert_array_equal(
                np.count_nonzero(neighbour_matrix(drawn.grid, np.ones(len(inner), bool)), axis=1), inner
            )


def test_counts_are_overdispersed_and_zero_inflated() -> None:
    drawn = section(HEST, "DEMO1A")
    counts = drawn.counts[drawn.on_tissue][:, columns(recipe.HOUSEKEEPING)].astype(float)
    mean, variance, zeros = counts.mean(axis=0), counts.var(axis=0), (counts == 0).mean(axis=0)
    assert np.mean(variance > mean) > 0.95
    high = mean > 8  # where no count would be zero by Poisson's law
    assert high.sum() >= 20
    assert zeros[high].mean() > 0.03
    assert np.exp(-mean[high]).max() < 0.001


def test_library_size_varies_between_patients_and_spots() -> None:
    total = {slide: section(HEST, slide).counts.sum(axis=1) for slide in ("DEMO2A", "DEMO3A")}
    assert np.median(total["DEMO3A"]) > 1.2 * np.median(total["DEMO2A"])
    assert all(np.std(np.log(values[values > 200])) > 0.15 for values in total.values())


# -- the planted truth -----------------------------------------------------------------------------------------


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(G,) Pearson of the columns of (N, G) and a vector (N,)."""
    a, b = a - a.mean(axis=0), b - b.mean()
    return (a * b[:, None]).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum())


@pytest.mark.parametrize("benchmark", recipe.BENCHMARKS)
@pytest.mark.parametrize("kind", range(len(recipe.SENDERS)))
def test_receivers_follow_neighbours_senders_and_not_their_own(benchmark: str, kind: int) -> None:
    sender = recipe.SENDERS[kind]
    around, own, log = [], [], []
    for slide in recipe.BENCHMARKS[benchmark].slides:
        drawn = section(benchmark, slide)
        on = drawn.on_tissue
        around.append((neighbour_matrix(drawn.grid, on) @ drawn.strengths)[on, kind])
        own.append(drawn.strengths[on, kind])
        log.append(np.log1p(drawn.counts[on].astype(float)))
    around, own, log = np.concatenate(around), np.concatenate(own), np.concatenate(log)
    receivers, ligands = columns(sender.receivers), columns(sender.ligands)
    assert correlation(log[:, receivers], around).min() > 0.35
    assert abs(correlation(log[:, receivers], own).mean()) < 0.06
    assert correlation(log[own == 0][:, receivers], around[own == 0]).min() > 0.35
    assert correlation(log[:, ligands], own).min() > 0.4
    assert abs(correlation(log[:, ligands], around).mean()) < 0.06
    # A spot's own sender says nothing of its neighbours', so its tile cannot.
    assert abs(correlation(around[:, None], own)[0]) < 0.06


@pytest.mark.parametrize("kind", range(len(recipe.SENDERS)))
@pytest.mark.parametrize(("benchmark", "slide"), [(HEST, "DEMO1A"), (STIMAGE, STIMAGE_SLIDE)])
def test_a_sender_is_seen_in_its_own_tile_and_in_no_other(benchmark: str, slide: str, kind: int) -> None:
    size_um = 480.0
    drawn = section(benchmark, slide, size_um)
    middle = np.argmin(np.linalg.norm(drawn.grid.centres_um - size_um / 2, axis=1))
    without, with_it = drawn.strengths.copy(), drawn.strengths.copy()
    without[middle], with_it[middle] = 0.0, 0.8 * (np.arange(3) == kind)
    image = [replace(drawn, strengths=strengths).image().astype(int) for strengths in (without, with_it)]
    change = np.abs(image[1] - image[0]).max(axis=2)

    mpp = drawn.patient.mpp
    side = round(recipe.TILE_UM / mpp)
    for spot, (x, y) in enumerate((drawn.centres_px - (recipe.TILE_UM / mpp) // 2).astype(int)):
        tile = change[max(y, 0) : y + side, max(x, 0) : x + side]
        if spot == middle:
            assert np.mean(tile > 25) > 0.02
        else:
            assert not tile.any(), f"spot {spot} sees the sender of spot {middle}"


def test_every_planted_gene_that_matters_is_among_the_50_chosen_of_any_fold() -> None:
    from stflow.data.demo.task import as_slide
    from stflow.data.variable_genes import GeneSums, variable_genes

    formats = {"demo_hest": "hest", "demo_stimage": "stimage"}
    for benchmark in recipe.BENCHMARKS.values():
        manifest = Manifest.read(SPLITS / f"{benchmark.name}.csv", by_slide=True)
        choices = {tuple(benchmark.slides)}
        for protocol in PROTOCOLS:
            for index in manifest.folds(benchmark.dataset, protocol):
                fold = manifest.fold(benchmark.dataset, protocol, index)
                choices.add(tuple(sorted(fold.development)))
        for slides in sorted(choices):
            sums = [GeneSums.of(as_slide(section(benchmark.name, slide))) for slide in slides]
            genes = variable_genes(sums, 50, "test", recipe=formats[benchmark.name])
            missing = {*recipe.INTERACTION, *recipe.BIOMARKERS} - set(genes)
            assert not missing, f"{benchmark.name}, chosen on {', '.join(slides)}"
            assert len(set(genes) & set(recipe.MORPHOLOGY)) >= 20
