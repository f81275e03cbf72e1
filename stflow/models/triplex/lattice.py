"""Row and column of every spot in the array that a section was measured on, found from the places alone.

An array is square (legacy Spatial Transcriptomics, pseudo-spots) or hexagonal (Visium: every other row is shifted by
half a pitch), turned by any angle, and has holes. The angle comes from the directions to the nearest spots. A lattice
is then fitted by least squares in a disc that grows from the middle of the section, so that a small error of pitch or
angle never adds up to half a cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from stflow.models.neighbourhood import pitch_um

#: Spots up to this many pitches apart are next to each other: below the diagonal of a square, 1.41.
_NEXT = 1.25
#: How alike the directions to the nearest spots are, 0 to 1, below which spots lie on no lattice.
_ORDERED = 0.6
#: Deviation from the lattice, root mean square as a share of the pitch, above which spots lie on none; at random: 0.29.
_LOOSE = 0.2
#: Radius of the first disc, in pitches, and how much wider each next one is.
_FIRST_DISC, _WIDER = 3.0, 1.5


def cells(centres_um: np.ndarray) -> np.ndarray:
    """Cell of every spot: on a lattice, each spot has one of its own.

    Parameters
    ----------
    centres_um
        (N, 2) spot centres, um, x then y.

    Returns
    -------
    (N, 2) int64 row and column, the least of each 0; rows along y, columns along x, as far as the array is turned by
    less than 45 degrees. Of a hexagonal array every other row is moved up by half a pitch, so that no cell between
    spots is empty. Spots that lie on no lattice are binned into squares as wide as spots lie apart, where several may
    share a cell.
    """
    pitch = pitch_um(centres_um)
    if pitch == 0:
        return np.zeros((len(centres_um), 2), dtype=np.int64)
    lattice = _first_guess(centres_um, pitch)
    fitted = lattice.fitted(centres_um, pitch) if lattice else None
    if fitted is None:
        found = np.floor((centres_um - centres_um.min(axis=0)) / pitch).astype(np.int64)[:, ::-1]
    else:
        found = fitted.rows_and_columns(centres_um)
    return np.asarray(found - found.min(axis=0))


@dataclass(frozen=True, slots=True)
class _Lattice:
    """Places ``origin + i * basis[0] + j * basis[1]`` for whole i and j.

    ``upright``: the first vector points along y, else along x. ``hexagonal``: the vectors make 60 degrees, else 90.
    """

    origin: np.ndarray
    basis: np.ndarray
    hexagonal: bool
    upright: bool

    def coordinates(self, places: np.ndarray) -> np.ndarray:
        """(N, 2) i and j of (N, 2) places, not yet rounded."""
        return np.asarray(np.linalg.solve(self.basis.T, (places - self.origin).T).T)

    def fitted(self, places: np.ndarray, pitch: float) -> _Lattice | None:
        """The lattice that fits all places best; None if they lie on none."""
        lattice = self
        distance = np.hypot(*(places - self.origin).T)
        radius, last = _FIRST_DISC * pitch, False
        while not last:
            last = bool(radius >= distance.max())
            near = places[distance <= radius]
            index = np.round(lattice.coordinates(near))
            design = np.column_stack([np.ones(len(near)), index])
            amiss = near - lattice.origin - index @ lattice.basis
            # The smallest change that fits: of a single row of spots, the other vector stays as it is.
            change = np.linalg.lstsq(design, amiss, rcond=None)[0]
            lattice = _Lattice(
                lattice.origin + change[0], lattice.basis + change[1:], lattice.hexagonal, lattice.upright
            )
            radius *= _WIDER
        exact = lattice.coordinates(places)
        return lattice if np.sqrt(np.mean((exact - np.round(exact)) ** 2)) < _LOOSE else None

    def rows_and_columns(self, places: np.ndarray) -> np.ndarray:
        """(N, 2) row and column of every place."""
        along, across = np.round(self.coordinates(places)).astype(np.int64).T
        across = across - across.min()
        if self.hexagonal:
            along = along + across // 2
        return np.column_stack([along, across] if self.upright else [across, along])


def _first_guess(places: np.ndarray, pitch: float) -> _Lattice | None:
    """Kind, angle and pitch of the lattice, as the pairs of spots that are next to each other have them."""
    places = np.unique(places, axis=0)
    one, other = cKDTree(places).query_pairs(_NEXT * pitch, output_type="ndarray").T
    angle = np.arctan2(*(places[other] - places[one]).T[::-1])
    square, hexagonal = (np.exp(1j * folds * angle).mean() for folds in (4, 6))
    order = max((square, 4), (hexagonal, 6), key=lambda found: round(abs(found[0]), 9))
    if abs(order[0]) < _ORDERED:
        return None
    first = np.angle(order[0]) / order[1]
    turn = 2 * np.pi / order[1]
    # Of the directions that spots lie in, the one that is nearest to an axis: rows of a hexagonal array are its.
    directions = [first + turn * step for step in range(order[1])]
    along = min(directions, key=lambda a: (round(_from_axis(a), 6), round(abs(a), 6)))
    upright = abs(np.sin(along)) > abs(np.cos(along))
    forward = along if (np.sin(along) if upright else np.cos(along)) > 0 else along + np.pi
    across = forward - turn if upright else forward + turn
    basis = pitch * np.array([[np.cos(a), np.sin(a)] for a in (forward, across)])
    offset = places - places.mean(axis=0)
    middle = places[np.lexsort((*offset.T, np.round(np.hypot(*offset.T), 3)))[0]]
    return _Lattice(middle, basis, order[1] == 6, bool(upright))


def _from_axis(angle: float) -> float:
    """Angle to the nearest axis, 0 to pi / 4."""
    return abs((angle + np.pi / 4) % (np.pi / 2) - np.pi / 4)
