"""The recipes choose what a plain reading of their description chooses, and hold one slide at a time."""

from __future__ import annotations

import tracemalloc
from functools import cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

from stflow.data.slide import Slide
from stflow.data.variable_genes import GeneSums, stand_in, variable_genes
from stflow.errors import GeneError

COUNTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "her2st" / "counts"


def slide_of(name: str, genes: list[str], counts: np.ndarray) -> Slide:
    n = len(counts)
    names = np.array([f"b{index}" for index in range(n)], dtype=object)
    return Slide(name, name, names, np.zeros((n, 2)), 0.5, tuple(genes), sparse.csc_matrix(counts), {})


def random_slides(seed: int, n_slides: int = 4, n_genes: int = 400) -> list[Slide]:
    """Slides of different sizes, with gene sets of their own in orders of their own, rare genes and control probes."""
    rng = np.random.default_rng(seed)
    pool = np.array([*(f"G{index:04d}" for index in range(n_genes)), "BLANK_0012", "NegControlProbe_1"])
    level = np.exp(rng.normal(-1.5, 2.0, len(pool)))
    spread = np.exp(rng.normal(0.0, 1.0, len(pool)))
    slides = []
    for index in range(n_slides):
        kept = rng.permutation(len(pool))[: round(0.95 * len(pool))]
        n = int(rng.integers(60, 200))
        rate = rng.gamma(1 / spread[kept], spread[kept] * level[kept], (n, len(kept)))
        slides.append(slide_of(f"S{index}", pool[kept].tolist(), rng.poisson(rate).astype(np.float32)))
    return slides


def plain_reading(slides: list[Slide], k: int, *, dense: bool, min_share: float | None) -> set[str]:
    """HEST's get_k_genes as its description goes, step by step; ``min_share`` None: without the filter."""
    tables = []
    for slide in slides:
        matrix = slide.counts.toarray() if dense else sparse.csr_matrix(slide.counts)
        adata = anndata.AnnData(matrix, var=pd.DataFrame(index=list(slide.genes)))
        adata.obs_names = [f"{slide.name}_{index}" for index in range(adata.n_obs)]
        if min_share is not None:
            sc.pp.filter_genes(adata, min_cells=np.ceil(min_share * adata.n_obs))
        tables.append(adata)
    common = tables[0].var_names
    for adata in tables[1:]:
        common = np.intersect1d(common, adata.var_names)
    common = [gene for gene in common if "BLANK" not in gene and "Control" not in gene]
    stacked = anndata.concat([adata[:, common] for adata in tables])
    sc.pp.log1p(stacked)
    sc.pp.highly_variable_genes(stacked, n_top_genes=k)
    return set(stacked.var_names[stacked.var["highly_variable"]])


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("recipe", "min_share"), [("hest", 0.1), ("stimage", None)])
def test_recipes_are_their_plain_reading(recipe: str, min_share: float | None, seed: int, dense: bool) -> None:
    slides = random_slides(seed)
    sums = [GeneSums.of(slide) for slide in slides]
    for k in (5, 50):
        genes = variable_genes(sums, k, "test", recipe=recipe)
        assert set(genes) == plain_reading(slides, k, dense=dense, min_share=min_share)
        assert genes == sorted(genes)
        assert genes == variable_genes(sums[::-1], k, "test", recipe=recipe)


@cache
def real_sections() -> list[Slide]:
    slides = []
    for path in sorted(COUNTS.glob("*.tsv.gz")):
        table = pd.read_csv(path, sep="\t", index_col=0)
        slides.append(slide_of(path.name[:2], list(table.columns), table.to_numpy(dtype=np.float32)))
    return slides


@pytest.mark.real_data
@pytest.mark.skipif(not COUNTS.is_dir(), reason=f"no her2st counts at {COUNTS}")
@pytest.mark.parametrize(("recipe", "min_share"), [("hest", 0.1), ("stimage", None)])
def test_recipes_are_their_plain_reading_on_real_sections(recipe: str, min_share: float | None) -> None:
    slides = real_sections()
    assert len(slides) == 6
    assert len({slide.genes for slide in slides}) > 1
    genes = variable_genes([GeneSums.of(slide) for slide in slides], 50, "her2st", recipe=recipe)
    assert len(genes) == 50
    assert set(genes) == plain_reading(slides, 50, dense=False, min_share=min_share)


def test_the_recipes_differ_in_rare_genes_alone() -> None:
    sums = [GeneSums.of(slide) for slide in random_slides(0)]
    hest, stimage = (set(variable_genes(sums, 50, "test", recipe=recipe)) for recipe in ("hest", "stimage"))
    share = {
        gene: min(slide.seen[slide.genes.index(gene)] / slide.n_spots for slide in sums) for gene in hest | stimage
    }
    assert min(share[gene] for gene in hest) >= 0.1
    assert min(share[gene] for gene in stimage) < 0.1


def test_sums_are_those_of_the_counts() -> None:
    counts = np.array([[0, 3, 250], [1, 0, 4000], [7, 2, 0]])
    sums = GeneSums.of(slide_of("S", ["A", "B", "C"], counts))
    assert (sums.n_spots, sums.genes) == (3, ("A", "B", "C"))
    assert sums.seen.tolist() == [2, 2, 2]
    assert sums.total.tolist() == [8, 5, 4250]
    assert sums.squares.tolist() == [50, 13, 16_062_500]


def test_the_stand_in_has_the_means_and_variances_and_a_logarithm() -> None:
    rng = np.random.default_rng(0)
    mean = np.concatenate([[0.0], 10 ** rng.uniform(-6, 3, 300)])
    variance = np.concatenate([[0.0], mean[1:] * 10 ** rng.uniform(-1, 2.5, 300)])
    matrix = stand_in(mean, variance)
    np.testing.assert_allclose(matrix.mean(axis=0), mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(matrix.var(axis=0, ddof=1), variance, rtol=1e-9)
    assert matrix.min() > -0.75


def test_a_gene_that_one_spot_alone_has_in_plenty_is_no_trouble() -> None:
    slides = random_slides(1)
    counts = slides[0].counts.toarray()
    counts[:, 3] = 0
    counts[7, 3] = 5000
    slides[0] = slide_of("S0", list(slides[0].genes), counts)
    sums = [GeneSums.of(slide) for slide in slides]
    expected = plain_reading(slides, 20, dense=False, min_share=None)
    assert set(variable_genes(sums, 20, "test", recipe="stimage")) == expected


def test_memory_is_that_of_one_slide() -> None:
    """Twelve slides, one at a time: what is held at the most does not grow with their number."""

    def peak(n_slides: int) -> int:
        tracemalloc.start()
        slides = (random_slides(seed, n_slides=1, n_genes=4000)[0] for seed in range(n_slides))
        variable_genes([GeneSums.of(slide) for slide in slides], 50, "test", recipe="stimage")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)  # what is imported and compiled once
    assert peak(12) < 1.5 * max(peak(2), 1 << 20)


def test_too_few_candidates_are_refused() -> None:
    sums = [GeneSums.of(slide_of("A", ["X", "Y", "BLANK-1"], np.ones((5, 3))))]
    with pytest.raises(
        GeneError, match=r"hest/IDC: only 2 genes are seen in 10% of the spots of every slide \(A\), 5 are"
    ):
        variable_genes(sums, 5, "hest/IDC")
    with pytest.raises(GeneError, match=r"only 2 genes are in the counts of every slide .*Lower genes\.n"):
        variable_genes(sums, 5, "stimage/Skin", recipe="stimage")
