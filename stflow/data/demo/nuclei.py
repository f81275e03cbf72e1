"""Nuclei: where they are, how large and how dark, by compartment."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from stflow.data.demo.recipe import MODIFIERS, REACH_UM
from stflow.data.demo.stamp import Ellipses
from stflow.data.demo.tissue import Tissue

_PITCH_UM = 8.4  # of the jittered lattice of places where a nucleus can be
#: Of each compartment: share of places filled; long and short diameter, um; SD of both, relative; haematoxylin.
_STYLE = np.array(
    [
        [0.58, 9.8, 7.8, 0.16, 0.95],
        [0.17, 13.5, 3.4, 0.18, 1.15],
        [0.93, 6.6, 6.0, 0.07, 1.45],
        [0.03, 9.0, 2.8, 0.15, 1.20],
    ]
)


def scatter_nuclei(rng: np.random.Generator, tissue: Tissue) -> Ellipses:
    """Nuclei of the tissue, on a jittered lattice so that they do not crowd."""
    step = _PITCH_UM * np.sqrt(3) / 2
    row, column = np.meshgrid(
        np.arange(int(tissue.size_um / step)), np.arange(int(tissue.size_um / _PITCH_UM)), indexing="ij"
    )
    centres = np.column_stack([(column + 0.5 * (row % 2) + 0.25).ravel() * _PITCH_UM, row.ravel() * step])
    centres += rng.uniform(-0.34, 0.34, centres.shape) * _PITCH_UM
    share = tissue.at(tissue.compartments, centres)  # (4, M)
    keep = rng.random(len(centres)) < _STYLE[:, 0] @ share
    centres, share = centres[keep], share[:, keep]
    m = len(centres)

    weight = np.cumsum(share * _STYLE[:, :1], axis=0)
    kind = np.minimum((rng.random(m) * weight[-1] > weight).sum(axis=0), len(_STYLE) - 1)
    _, long, short, spread, dark = _STYLE[kind].T
    grade = np.where(kind == 0, tissue.at(tissue.modifiers[MODIFIERS.index("grade")], centres), 0.0)
    scale = np.exp(spread * rng.standard_normal(m) + 0.14 * np.clip(grade, -2, 2))
    along = tissue.fibre_angle(centres) + 0.25 * rng.standard_normal(m)
    return Ellipses(
        centres_um=centres,
        long_um=np.clip(long * scale, 4.0, 20.0),
        short_um=np.clip(short * scale * np.exp(0.1 * rng.standard_normal(m)), 2.4, 16.0),
        angle=np.where(kind == 1, along, rng.uniform(0, np.pi, m)),
        value=dark * np.exp(0.13 * rng.standard_normal(m) + 0.16 * np.clip(grade, -2, 2)),
    )


def clear_of(ellipses: Ellipses, centres_um: np.ndarray, margin_um: float = 0.0) -> np.ndarray:
    """(M,) bool: not wholly within ``REACH_UM`` of one of (S, 2) centres, given a margin around each ellipse."""
    if len(centres_um) == 0:
        return np.ones(len(ellipses.centres_um), dtype=bool)
    distance, _ = cKDTree(centres_um).query(ellipses.centres_um)
    return distance + np.maximum(ellipses.long_um, ellipses.short_um) / 2 + margin_um > REACH_UM
