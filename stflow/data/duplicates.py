"""The same slide under two names, told by its content.

**Counts.** Every spot gets one number: the sum over genes of its count times a fixed random 64-bit number of that gene.
Taken over the genes that two slides share, it is the same in both if all counts are, in whatever order spots and genes
stand. The share of one slide's numbers that the other holds is 1 for a copy, also for one with spots left out or other
genes beside the shared ones, and 0 for neighbouring sections, since no two measured spots agree in all genes. Spots
with few genes seen tell nothing and are left out. One pass a slide, then a set intersection a pair.

**Picture.** Two slides of one picture, whose counts were processed otherwise, have tiles at the same places with the
same bytes; a few such places are looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import sparse

from stflow.data.slide import Slide, read_slide
from stflow.io import open_h5, reading

#: Genes that a spot must show for its number to tell it from other spots.
TELLING_GENES = 10
#: Spots so told that a slide must have to be compared.
TELLING_SPOTS = 20
#: Share of the smaller slide's spots that must be in the other. Unrelated slides share none, so this is no fine line.
SAME_SHARE = 0.1
#: Tiles at common places that are compared; all must be the same to the byte.
COMPARED_TILES = 8


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two slides with the same content, and how it was told."""

    one: str
    other: str
    how: str

    def __str__(self) -> str:
        return f"{self.one} and {self.other}: {self.how}"


def duplicates(slides: Mapping[str, Path], tiles: Mapping[str, Path]) -> list[Duplicate]:
    """Every pair of slides with the same counts or the same picture.

    Parameters
    ----------
    slides, tiles
        Slide name -> its slide file and its tiles file. One slide's counts are in memory at a time.
    """
    marks = spot_marks(slides)
    places = {name: tile_places(path) for name, path in tiles.items()}
    found = []
    for one, other in combinations(slides, 2):
        share = shared_spots(marks[one].get(other), marks[other].get(one))
        if share >= SAME_SHARE:
            found.append(Duplicate(one, other, f"{share:.0%} of the spots have the same counts"))
        elif one in tiles and other in tiles and same_picture(tiles[one], places[one], tiles[other], places[other]):
            found.append(Duplicate(one, other, "the same picture"))
    return found


def spot_marks(slides: Mapping[str, Path]) -> dict[str, dict[str, np.ndarray]]:
    """Slide -> other slide -> sorted marks of its telling spots, over the genes that the two share."""
    panels = {name: _genes(path) for name, path in slides.items()}
    marks: dict[str, dict[str, np.ndarray]] = {}
    for name, path in slides.items():
        slide = read_slide(path)
        made: dict[frozenset[str], np.ndarray] = {}
        for other, panel in panels.items():
            if panel not in made and other != name:
                made[panel] = marks_of(slide, panels[name] & panel)
        marks[name] = {other: made[panel] for other, panel in panels.items() if other != name}
    return marks


def marks_of(slide: Slide, genes: frozenset[str]) -> np.ndarray:
    """Sorted uint64 marks, each once, of the spots that show at least `TELLING_GENES` of ``genes``."""
    weight = np.array([_weight(gene) if gene in genes else 0 for gene in slide.genes], dtype=np.uint64)
    counts = slide.counts
    whole = np.rint(counts.data).astype(np.int64).astype(np.uint64)
    layout = (counts.indices, counts.indptr)
    marks = sparse.csc_matrix((whole, *layout), shape=counts.shape) @ weight  # modulo 2^64
    seen = sparse.csc_matrix(((whole > 0).astype(np.int64), *layout), shape=counts.shape) @ (weight > 0).astype(
        np.int64
    )
    return np.unique(marks[seen >= TELLING_GENES])


def shared_spots(one: np.ndarray | None, other: np.ndarray | None) -> float:
    """Share of the smaller set of marks that the other holds; 0 where too few spots can be told."""
    if one is None or other is None or min(len(one), len(other)) < TELLING_SPOTS:
        return 0.0
    return len(np.intersect1d(one, other, assume_unique=True)) / min(len(one), len(other))


def tile_places(path: Path) -> np.ndarray:
    """(N,) places of a tiles file's tiles as one number each."""
    with open_h5(path) as handle, reading(path):
        corners = np.asarray(handle["coords"][:], dtype=np.int64)
    return corners[:, 0] * (1 << 32) + corners[:, 1]


def same_picture(one: Path, places: np.ndarray, other: Path, other_places: np.ndarray) -> bool:
    """Whether tiles at common places have the same bytes."""
    common, here, there = np.intersect1d(places, other_places, return_indices=True)
    if len(common) < max(1, SAME_SHARE * min(len(places), len(other_places))):
        return False
    chosen = np.unique(np.linspace(0, len(common) - 1, COMPARED_TILES).astype(int))
    with open_h5(one) as a, open_h5(other) as b:
        return all(np.array_equal(a["img"][int(here[index])], b["img"][int(there[index])]) for index in chosen)


def _genes(path: Path) -> frozenset[str]:
    with open_h5(path) as handle, reading(path):
        var = handle["var"]
        return frozenset(var[var.attrs["_index"]].asstr()[:])


def _weight(gene: str) -> int:
    return int.from_bytes(hashlib.blake2b(gene.encode(), digest_size=8).digest(), "little") | 1
