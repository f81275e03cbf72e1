"""Counts: zero-inflated negative binomials whose means follow compartments, own senders or neighbours' senders.

The mean of gene g at spot i on the tissue is

    mu_ig = depth_i * batch_g * base_g * level_ig * exp(own_g . s_i + answer_g . mean_{j in N(i)} s_j)

with ``s`` the sender strengths (N, 3) and N(i) the up to six lattice neighbours of i, i itself excluded. ``own`` is
nonzero for ligands only, ``answer`` for interaction genes only, ``level`` differs from 1 for morphology genes only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stflow.data.demo import recipe
from stflow.data.demo.grid import Grid, neighbour_matrix
from stflow.data.demo.tissue import Tissue
from stflow.seeds import numpy_generator

_NEIGHBOURS = 6  # of a spot inside the tissue

#: All genes, in the order of the counts' columns.
GENES = tuple(sorted((*recipe.MORPHOLOGY, *recipe.INTERACTION, *recipe.HOUSEKEEPING, *recipe.BATCH, *recipe.RARE)))


@dataclass(frozen=True, eq=False)
class GeneTable:
    """What the recipe says of each of the G genes, in the order of GENES.

    base (G,) mean counts; size (G,) of the negative binomial; dropout (G,) share; levels (G, 4) by compartment;
    modifiers (G, 3) log fold change a unit; own (G, 3) and answer (G, 3) log fold change a unit of sender strength.
    """

    base: np.ndarray
    size: np.ndarray
    dropout: np.ndarray
    levels: np.ndarray
    modifiers: np.ndarray
    own: np.ndarray
    answer: np.ndarray


def gene_table(seed: int = recipe.SEED) -> GeneTable:
    """The planted effects of every gene; the same for all slides of both benchmarks."""
    rng = numpy_generator(seed, "demo", "genes")
    n = len(GENES)
    column = {gene: index for index, gene in enumerate(GENES)}
    base = np.empty(n)
    for genes, (low, high) in (
        (recipe.INTERACTION, recipe.INTERACTION_MEAN),
        (recipe.LIGANDS, recipe.LIGAND_MEAN),
        (recipe.HOUSEKEEPING, recipe.HOUSEKEEPING_MEAN),
        (recipe.BATCH, recipe.BATCH_MEAN),
        (recipe.RARE, recipe.RARE_MEAN),
    ):
        means = np.expm1(np.linspace(np.log1p(low), np.log1p(high), len(genes)))
        base[[column[gene] for gene in genes]] = rng.permutation(means)

    levels = np.ones((n, len(recipe.COMPARTMENTS)))
    modifiers = np.zeros((n, len(recipe.MODIFIERS)))
    for gene, (mean, level, change) in recipe.MORPHOLOGY_LEVELS.items():
        levels[column[gene]] = level
        modifiers[column[gene]] = change
        # On a slide of usual make-up the gene's mean is then the one that the recipe states.
        usual = np.dot(recipe.COMPARTMENT_SHARES, level) * np.exp(np.square(change).sum() / 2)
        base[column[gene]] = mean / usual

    own = np.zeros((n, len(recipe.SENDERS)))
    answer = np.zeros((n, len(recipe.SENDERS)))
    kinds = [sender.name for sender in recipe.SENDERS]
    for kind, sender in enumerate(recipe.SENDERS):
        own[[column[gene] for gene in sender.ligands], kind] = recipe.LIGAND_EFFECT
        answer[[column[gene] for gene in sender.receivers], kind] = recipe.RECEIVER_EFFECT
    for gene, (name, share) in recipe.CROSS_EFFECTS.items():
        answer[column[gene], kinds.index(name)] = share * recipe.RECEIVER_EFFECT
    # With no sender anywhere a planted gene is below its mean by what senders add to it on average.
    base /= _mean_effect(own, 1) * _mean_effect(answer, _NEIGHBOURS)
    return GeneTable(
        base=base,
        size=rng.uniform(*recipe.DISPERSION, n),
        dropout=rng.uniform(*recipe.DROPOUT, n),
        levels=levels,
        modifiers=modifiers,
        own=own,
        answer=answer,
    )


def _mean_effect(effects: np.ndarray, sources: int) -> np.ndarray:
    """(G,) mean of exp(effects . mean strength) over the chance of ``sources`` independent spots; effects (G, 3)."""
    low, high = recipe.SENDER_STRENGTH
    strength = low + (high - low) * (np.arange(100) + 0.5) / 100
    present = np.exp(effects[:, :, None] * strength / sources).mean(axis=2).sum(axis=1)
    none = 1 - recipe.SENDER_RATE * effects.shape[1]
    return (none + recipe.SENDER_RATE * present) ** sources


def draw_counts(
    seed: int,
    benchmark: str,
    slide: str,
    patient: recipe.Patient,
    tissue: Tissue,
    grid: Grid,
    on_tissue: np.ndarray,
    strengths: np.ndarray,
) -> np.ndarray:
    """(N, G) uint16 raw counts of one slide; ``on_tissue`` (N,) bool, ``strengths`` (N, 3) of the senders."""
    table = gene_table(seed)
    rng = numpy_generator(seed, benchmark, slide, "counts")
    share = tissue.at(tissue.compartments, grid.centres_um, recipe.CATCHMENT_UM)  # (4, N)
    share = share / np.maximum(share.sum(axis=0), 1e-6)
    field = tissue.at(tissue.modifiers, grid.centres_um)  # (3, N)
    level = (table.levels @ share) * np.exp(table.modifiers @ field)  # (G, N)
    effect = strengths @ table.own.T + (neighbour_matrix(grid, on_tissue) @ strengths) @ table.answer.T  # (N, G)

    depth = patient.depth * rng.lognormal(0.0, recipe.DEPTH_SD, (len(grid), 1))
    batch = _batch(seed, benchmark, patient.name, recipe.PATIENT_GENE_SD)
    batch = batch * _batch(seed, benchmark, slide, recipe.SLIDE_GENE_SD)
    mean = depth * batch * table.base * np.where(on_tissue[:, None], level.T * np.exp(effect), recipe.AMBIENT)
    counts = rng.poisson(rng.gamma(table.size, mean / table.size))
    kept = rng.random(counts.shape) >= table.dropout
    return np.minimum(counts * kept, np.iinfo(np.uint16).max).astype(np.uint16)


def _batch(seed: int, benchmark: str, source: str, spread: float) -> np.ndarray:
    """(G,) factors of one patient or slide."""
    rng = numpy_generator(seed, benchmark, source, "batch")
    by_gene = np.where(np.isin(GENES, recipe.BATCH), recipe.BATCH_GENE_SD, spread)
    return rng.lognormal(0.0, by_gene)
