"""The most variable genes of some slides, read one at a time.

Two recipes, by the benchmark's format. Both take the symbols that all slides have, drop control probes, stack the raw
counts, log1p, take the most variable genes (scanpy's ``seurat`` flavour) and name them in alphabetical order:

- ``hest``: HEST's ``get_k_genes``, criterion ``var``. First, of each slide only the genes seen in at least a tenth of
  its spots.
- ``stimage``: the paper's on STImage-1K4M, where no gene is left out for being rare.

An organ of STImage-1K4M has up to 143,000 spots of 36,601 genes, too many to hold. But the flavour looks at nothing
except a gene's mean and variance over the spots. So each slide is read for its sums (`GeneSums`), and scanpy chooses on
a small matrix whose genes have those means and variances (`stand_in`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from stflow.data.slide import Slide
from stflow.errors import GeneError

_CONTROL_WORDS = ("BLANK", "Control")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How genes are chosen: what to call it, and in what share of a slide's spots a gene must be seen."""

    words: str
    min_spot_share: float

    @property
    def candidates(self) -> str:
        """What a gene must be to be chosen from, in words."""
        seen = f"are seen in {self.min_spot_share:.0%} of the spots" if self.min_spot_share else "are in the counts"
        return f"{seen} of every slide"


RECIPES: Mapping[str, Recipe] = {
    "hest": Recipe("HEST's recipe", 0.10),
    "stimage": Recipe("STImage-1K4M's recipe", 0.0),
}


@dataclass(frozen=True, eq=False)
class GeneSums:
    """What the recipes need of one slide's counts.

    Attributes
    ----------
    name, n_spots
        Slide name; N.
    genes
        The n_genes symbols.
    seen, total, squares
        (n_genes,) float64: spots where a gene is seen, sum of its counts, sum of their squares.
    """

    name: str
    n_spots: int
    genes: tuple[str, ...]
    seen: np.ndarray
    total: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, slide: Slide) -> GeneSums:
        """The sums of a slide."""
        counts = sparse.csc_matrix(slide.counts, dtype=np.float64)
        matrices: list[Any] = [counts.astype(bool), counts, counts.multiply(counts)]
        seen, total, squares = (np.asarray(matrix.sum(axis=0), dtype=np.float64).ravel() for matrix in matrices)
        return cls(slide.name, len(slide), slide.genes, seen, total, squares)


def variable_genes(
    slides: Sequence[GeneSums], n_genes: int, where: str, *, recipe: str = "hest", among: set[str] | None = None
) -> list[str]:
    """The ``n_genes`` most variable genes of some slides by a recipe, in alphabetical order.

    Parameters
    ----------
    slides
        Sums of the slides whose counts are looked at, and of no others.
    n_genes
        Genes to choose.
    where
        What to call this choice in a message.
    recipe
        A name of `RECIPES`.
    among
        Symbols to choose from; default all.

    Raises
    ------
    GeneError
        Fewer candidates than ``n_genes``.
    """
    rule = RECIPES[recipe]
    candidates = among
    for slide in slides:
        often = slide.seen >= math.ceil(rule.min_spot_share * slide.n_spots)
        common = {slide.genes[index] for index in np.flatnonzero(often)}
        candidates = common if candidates is None else candidates & common
    names = sorted(gene for gene in candidates or () if not any(word in gene for word in _CONTROL_WORDS))
    if len(names) < n_genes:
        raise GeneError(
            f"{where}: only {len(names)} genes {rule.candidates} ({', '.join(slide.name for slide in slides)}), "
            f"{n_genes} are asked for. Lower genes.n, or give a gene list of your own."
        )
    return _most_variable(stand_in(*_moments(slides, names)), names, n_genes)


def _moments(slides: Sequence[GeneSums], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(G,) mean and variance (ddof = 1) of the genes' counts over all spots of some slides."""
    total, squares = np.zeros(len(names)), np.zeros(len(names))
    n_spots = sum(slide.n_spots for slide in slides)
    for slide in slides:
        position = {gene: index for index, gene in enumerate(slide.genes)}
        columns = [position[gene] for gene in names]
        total += slide.total[columns]
        squares += slide.squares[columns]
    mean = total / n_spots
    return mean, (squares - total * mean).clip(min=0) / max(1, n_spots - 1)


def stand_in(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """(R, G) values above -1 whose columns have the given means and variances (ddof = 1).

    One row is m + (R - 1) d and the others m - d, where d = sqrt(v / R): that has mean m and variance v. R is twice
    the largest v / (1 + m)^2, so that m - d stays above -0.71 and has a log1p.
    """
    rows = max(2, math.ceil(2 * float((variance / (1 + mean) ** 2).max())))
    step = np.sqrt(variance / rows)
    matrix = np.tile(mean - step, (rows, 1))
    matrix[0] = mean + (rows - 1) * step
    return matrix


def _most_variable(counts: np.ndarray, names: Sequence[str], n_genes: int) -> list[str]:
    import anndata
    import pandas as pd
    import scanpy as sc

    stacked = anndata.AnnData(counts, var=pd.DataFrame(index=pd.Index(names)))
    stacked.obs_names = [str(index) for index in range(stacked.n_obs)]
    sc.pp.log1p(stacked)
    table = sc.pp.highly_variable_genes(stacked, n_top_genes=n_genes, inplace=False)
    return [name for name, chosen in zip(names, table["highly_variable"], strict=True) if chosen]
