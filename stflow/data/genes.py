"""Which genes are predicted: the dataset's own list, or the most variable ones by HEST's recipe.

HEST's recipe (its ``get_k_genes``, criterion ``var``): of each slide keep the genes seen in at least a tenth of its
spots; keep those that all slides have; drop control probes; stack the raw counts, log1p; take the most variable genes
(scanpy's ``seurat`` flavour), in alphabetical order.

- ``paper``: the dataset's list, or the recipe on all of its slides, those of the test fold too, as was published.
- ``clean``: the recipe on each fold's development slides alone. Of the other slides only the symbols are looked at,
  as a gene that was not measured there cannot be scored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import sparse

from stflow.data.slide import Slide, read_slide
from stflow.data.splits import Manifest
from stflow.errors import GeneError
from stflow.io import SCHEMA_VERSION, read_json, write_json
from stflow.layout import Layout

#: A gene must be seen in this share of a slide's spots to be a candidate.
MIN_SPOT_SHARE = 0.10
_CONTROL_WORDS = ("BLANK", "Control")


def make_genes(
    results: Path,
    benchmark: str,
    dataset: str,
    protocol: str,
    manifest: Path,
    out: Path,
    n_genes: int,
    gene_list: Path | None,
    by_slide: bool,
) -> None:
    """Write ``genes/<benchmark>/<dataset>/<protocol>.json``: the genes of every fold.

    Parameters
    ----------
    results
        Results folder; the slide files of all of the dataset's slides must be there.
    benchmark, dataset, protocol
        Names; the protocol is ``paper`` or ``clean``.
    manifest
        Split manifest.
    out
        JSON to write.
    n_genes
        Genes to choose.
    gene_list
        ``{"genes": [...]}``, used by ``paper`` alone.
    by_slide
        The paper protocol's folds may share patients.

    Raises
    ------
    GeneError
        A listed gene that some slide lacks, or fewer candidates than ``n_genes``.
    """
    folds = Manifest.read(manifest, by_slide=by_slide)
    layout = Layout(Path(results))
    slides = {name: read_slide(layout.slide(benchmark, name)) for name in folds.slides(dataset)}
    where = f"{benchmark}/{dataset} ({protocol})"
    indices = folds.folds(dataset, protocol)
    if protocol == "paper" and gene_list is not None:
        genes, source = listed_genes(gene_list, list(slides.values())), gene_list.name
        chosen = dict.fromkeys(indices, genes)
    elif protocol == "paper":
        genes, source = variable_genes(list(slides.values()), n_genes, where), "HEST's recipe on all slides"
        chosen = dict.fromkeys(indices, genes)
    else:
        source = "HEST's recipe on each fold's development slides"
        shared = set.intersection(*(set(slide.genes) for slide in slides.values()))
        chosen = {
            index: variable_genes(
                [slides[name] for name in folds.fold(dataset, protocol, index).development],
                n_genes,
                f"{where} fold {index}",
                among=shared,
            )
            for index in indices
        }
    write_json(
        out,
        {"schema": SCHEMA_VERSION, "source": source, "folds": {str(index): list(chosen[index]) for index in indices}},
    )


def listed_genes(path: Path, slides: Sequence[Slide]) -> list[str]:
    """The genes of a list file, after a check that every slide has them.

    Raises
    ------
    GeneError
        The file is missing or not a list, or some slides lack some of its genes: all of them named.
    """
    if not path.is_file():
        raise GeneError(f"no gene list at {path}. Fetch it, or leave it out to have the genes chosen.")
    genes = read_json(path).get("genes")
    if not isinstance(genes, list) or not genes or not all(isinstance(gene, str) for gene in genes):
        raise GeneError(f'{path} is not a gene list. Its form is {{"genes": ["GATA3", "ERBB2"]}}.')
    problems = []
    for slide in slides:
        known = set(slide.genes)
        missing = [gene for gene in genes if gene not in known]
        if missing:
            problems.append(f"slide {slide.name} lacks {', '.join(missing)}")
    if problems:
        raise GeneError(
            f"{path}: {'; '.join(problems)}. Remove those genes from the list, or take slides that measured them."
        )
    return genes


def variable_genes(slides: Sequence[Slide], n_genes: int, where: str, among: set[str] | None = None) -> list[str]:
    """The ``n_genes`` most variable genes of some slides by HEST's recipe, in alphabetical order.

    Parameters
    ----------
    slides
        Slides whose counts are looked at, and no others.
    n_genes
        Genes to choose.
    where
        What to call this choice in a message.
    among
        Symbols to choose from; default all.

    Raises
    ------
    GeneError
        Fewer candidates than ``n_genes``.
    """
    candidates = among
    for slide in slides:
        seen = np.asarray((slide.counts > 0).sum(axis=0)).ravel()
        common = {slide.genes[index] for index in np.flatnonzero(seen >= math.ceil(MIN_SPOT_SHARE * len(slide)))}
        candidates = common if candidates is None else candidates & common
    names = sorted(gene for gene in candidates or () if not any(word in gene for word in _CONTROL_WORDS))
    if len(names) < n_genes:
        raise GeneError(
            f"{where}: only {len(names)} genes are seen in {MIN_SPOT_SHARE:.0%} of the spots of every slide "
            f"({', '.join(slide.name for slide in slides)}), {n_genes} are asked for. Lower training.n_genes, or give "
            "the dataset a gene list."
        )
    return _most_variable([_columns(slide, names) for slide in slides], names, n_genes)


def _columns(slide: Slide, names: Sequence[str]) -> sparse.csr_matrix:
    position = {gene: index for index, gene in enumerate(slide.genes)}
    return sparse.csr_matrix(slide.counts[:, [position[gene] for gene in names]])


def _most_variable(counts: Sequence[sparse.csr_matrix], names: Sequence[str], n_genes: int) -> list[str]:
    import anndata
    import pandas as pd
    import scanpy as sc

    stacked = anndata.AnnData(sparse.csr_matrix(sparse.vstack(counts)), var=pd.DataFrame(index=pd.Index(names)))
    stacked.obs_names = [str(index) for index in range(stacked.n_obs)]
    sc.pp.log1p(stacked)
    table = sc.pp.highly_variable_genes(stacked, n_top_genes=n_genes, inplace=False)
    return [name for name, chosen in zip(names, table["highly_variable"], strict=True) if chosen]
