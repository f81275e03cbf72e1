"""Which spots of a slide lie around a spot, for the scores that look at where spots lie.

All follows from the spot centres alone, in any unit, and from the pitch: the median distance from a spot to the
nearest one. Nothing depends on the order of the spots, on the angle of the array, or on what lies off the tissue: there
are no pixels, holes and glass have no value. SciPy loads at the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Spots up to this many pitches apart are neighbours. On a hexagonal array these are the 6 around a spot (the next
#: ring begins at 1.73), on a square one the 8 around it (the corners at 1.41, the next ring at 2). The nearest 6
#: would be, on a square array, the 4 sides and 2 of the 4 corners, by chance.
REACH = 1.6
#: Standard deviation of the window of SSIM, in pitches, as the pixels of Wang et al. (2004).
WINDOW = 1.5
#: Where that window ends, in pitches: they have 11 x 11 pixels, 5 to each side; past a spot that is 5 pitches away.
WINDOW_END = 5.25


def neighbours(centres: np.ndarray) -> csr_array:
    """(N, N) float64 of 1 where two spots are up to `REACH` pitches apart, else 0; a spot is not its own neighbour.

    Parameters
    ----------
    centres
        (N, 2) spot centres. If all lie at one place no spot has a neighbour.
    """
    i, j, _ = _pairs(centres, REACH)
    return _matrix(np.ones(len(i)), i, j, len(centres))


def windows(centres: np.ndarray) -> csr_array:
    """(N, N) float64: row i is a Gaussian window around spot i over the spots that are there; it sums to 1.

    Parameters
    ----------
    centres
        (N, 2) spot centres. If all lie at one place each spot sees itself alone.
    """
    N = len(centres)
    i, j, distance = _pairs(centres, WINDOW_END)
    itself = np.arange(N)
    weight = np.concatenate([np.exp(-(distance**2) / (2 * WINDOW**2)), np.ones(N)])
    i, j = np.concatenate([i, itself]), np.concatenate([j, itself])
    return _matrix(weight / np.bincount(i, weight)[i], i, j, N)


def _pairs(centres: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of two spots up to ``reach`` pitches apart, each pair both ways, and their distance in pitches."""
    from scipy.spatial import cKDTree

    from stflow.models.neighbourhood import pitch_um

    pitch = pitch_um(centres)
    if pitch == 0:
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0)
    places = centres / pitch
    i, j = cKDTree(places).query_pairs(reach, output_type="ndarray").T
    distance = np.hypot(*(places[i] - places[j]).T)
    return np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([distance, distance])


def _matrix(values: np.ndarray, i: np.ndarray, j: np.ndarray, n: int) -> csr_array:
    from scipy.sparse import csr_array

    return csr_array((values, (i, j)), shape=(n, n))
