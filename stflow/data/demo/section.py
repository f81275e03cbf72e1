"""One made section: its plan, spots, senders and counts at once, its image when asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stflow.data.demo import recipe
from stflow.data.demo.expression import draw_counts
from stflow.data.demo.grid import Grid, hexagonal_grid
from stflow.data.demo.senders import draw_strengths
from stflow.data.demo.tissue import Tissue, grow_tissue
from stflow.seeds import numpy_generator

_ON_TISSUE = 0.5  # a spot is kept if this share of its surroundings is tissue
_OFF_TISSUE = 0.02  # one below this share is on glass ...
_OFF_SHARE = 0.02  # ... and a few of those are kept, this many for each spot on the tissue


@dataclass(frozen=True, eq=False)
class Section:
    """What there is to know of one slide of N spots, the image aside.

    on_tissue (N,) bool; strengths (N, 3) of the senders; counts (N, G) uint16 of `expression.GENES`.
    """

    benchmark: str
    slide: str
    patient: recipe.Patient
    seed: int
    tissue: Tissue
    grid: Grid
    on_tissue: np.ndarray
    strengths: np.ndarray
    counts: np.ndarray

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 H&E image at the patient's um/px."""
        from stflow.data.demo.render import render

        return render(
            self.seed,
            self.benchmark,
            self.slide,
            self.patient,
            self.tissue,
            self.grid.centres_um,
            self.strengths,
        )

    @property
    def centres_px(self) -> np.ndarray:
        """(N, 2) float64 spot centres, whole level-0 px, x then y, as Space Ranger rounds them."""
        return np.rint(self.grid.centres_um / self.patient.mpp)


def make_section(benchmark: str, slide: str, *, size_um: float = recipe.SIZE_UM, seed: int = recipe.SEED) -> Section:
    """Draw one section.

    Parameters
    ----------
    benchmark, slide
        Names of the recipe.
    size_um
        Side of the slide; smaller ones are for tests.
    seed
        Seed of all that is drawn.

    Raises
    ------
    DataError
        No such benchmark or slide.
    """
    patient = recipe.benchmark(benchmark).patient(slide)
    tissue = grow_tissue(seed, benchmark, slide, size_um)
    grid = hexagonal_grid(seed, benchmark, slide, size_um)
    share = tissue.at(tissue.tissue, grid.centres_um, recipe.SPOT_UM / 4)
    kept = (share >= _ON_TISSUE) | _some_glass(seed, benchmark, slide, tissue, grid, share)
    grid, on_tissue = grid.subset(kept), share[kept] >= _ON_TISSUE
    strengths = draw_strengths(seed, benchmark, slide, on_tissue)
    counts = draw_counts(seed, benchmark, slide, patient, tissue, grid, on_tissue, strengths)
    return Section(benchmark, slide, patient, seed, tissue, grid, on_tissue, strengths, counts)


def _some_glass(seed: int, benchmark: str, slide: str, tissue: Tissue, grid: Grid, share: np.ndarray) -> np.ndarray:
    """(N,) bool: a few spots whose whole tile is on glass, as a spot detector leaves them in."""
    around = tissue.at(tissue.tissue, grid.centres_um, recipe.TILE_UM / 3)
    glass = np.flatnonzero((around < _OFF_TISSUE) & (share < _OFF_TISSUE))
    wanted = min(len(glass), max(1, round(_OFF_SHARE * np.count_nonzero(share >= _ON_TISSUE))))
    rng = numpy_generator(seed, benchmark, slide, "glass")
    chosen = np.zeros(len(grid), dtype=bool)
    chosen[rng.choice(glass, size=wanted, replace=False)] = True
    return chosen
