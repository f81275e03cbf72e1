"""Directions without a compass: every neighbourhood is seen along its own two principal axes (frame averaging).

The directions ``c_j - c_i`` of a spot's neighbours are centred and projected on the eigenvectors of their 2 x 2
covariance, which turn with the tissue. Their signs are arbitrary, so all four choices are used and the network
averages over them (section 3.3 of the paper). What comes out does not change when the slide is moved, turned or
mirrored.

Where a neighbourhood has no axes (one neighbour, spots at one place, a perfectly regular ring: equal eigenvalues),
the projections are 0 and the distance alone remains; any axes chosen there would be noise.
"""

from __future__ import annotations

import numpy as np

#: Eigenvalues whose difference is below this share of their sum are taken as equal.
ISOTROPIC = 1e-6

#: The four sign choices of the two axes.
SIGNS = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)], dtype=np.float64)


def principal_projection(directions: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Centred directions along the neighbourhood's principal axes, smaller eigenvalue first.

    Parameters
    ----------
    directions
        (N, k, 2) ``c_j - c_i``, um.
    present
        (N, k) bool; absent neighbours count nowhere.

    Returns
    -------
    (N, k, 2) um; 0 for absent neighbours and where there are no axes.
    """
    weight = present[..., None].astype(np.float64)
    n_present = np.maximum(weight.sum(axis=1, keepdims=True), 1.0)
    centred = (directions - (directions * weight).sum(axis=1, keepdims=True) / n_present) * weight
    xx, yy = (centred**2).sum(axis=1).T
    xy = (centred[..., 0] * centred[..., 1]).sum(axis=1)
    # Eigenvectors of [[xx, xy], [xy, yy]] in closed form: the major axis lies at half the angle of (xx - yy, 2 xy).
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    major = centred[..., 0] * cos + centred[..., 1] * sin
    minor = centred[..., 1] * cos - centred[..., 0] * sin
    gap = np.hypot(xx - yy, 2 * xy)
    has_axes = gap > ISOTROPIC * (xx + yy)
    return np.stack([minor, major], axis=-1) * has_axes[:, None, None]


def edge_inputs(centres_um: np.ndarray, index: np.ndarray, present: np.ndarray, scale_um: float) -> np.ndarray:
    """What the edge network reads: for every edge and frame, the signed projections and the distance.

    Parameters
    ----------
    centres_um
        (N, 2) spot centres, um.
    index, present
        (N, k) from `neighbourhood.nearest`.
    scale_um
        Length that becomes 1.

    Returns
    -------
    (N, k, 4, 3) float32: projection on the minor axis, on the major axis, distance; 0 for absent neighbours.
    """
    directions = (centres_um[index] - centres_um[:, None]) / scale_um
    distance = np.hypot(directions[..., 0], directions[..., 1]) * present
    projected = principal_projection(directions, present)
    signed = projected[:, :, None, :] * SIGNS
    spread = np.broadcast_to(distance[:, :, None, None], (*distance.shape, len(SIGNS), 1))
    return np.concatenate([signed, spread], axis=-1).astype(np.float32)
