"""Where a slide is tissue and where it is glass.

Glass is smooth, whatever colour the stain has run over it; tissue has structure, pale fat too. So the mask is the
local standard deviation of the darkest channel above Otsu's threshold, plus what is smooth but deeply stained.
Otsu's threshold is bounded, as a picture full of tissue has no glass to part from. Black is neither tissue nor
glass: some published pictures are masked with it.
"""

from __future__ import annotations

import numpy as np

#: um per pixel at which tissue is looked for: a 112 um tile is 14 pixels wide.
MASK_MPP = 8.0

_WINDOW_UM = 48.0  # structure is looked for at this scale: a few nuclei
_STRUCTURE_BOUNDS = (3.0, 8.0)  # grey levels: between them lies the threshold on the standard deviation
_DEEP_SATURATION = 0.25  # share; a smooth pixel above it is blood, mucus or muscle, not run stain
_BLACK = 40  # a pixel whose brightest channel is below this is a mask, ink or nothing
_HOLE_UM2 = 200_000.0  # holes up to this area are lumina or fat: tissue
_SPECK_UM2 = 10_000.0  # pieces below this area are dust


def tissue_mask(picture: np.ndarray, mpp: float) -> np.ndarray:
    """(h, w) bool, True where there is tissue.

    Parameters
    ----------
    picture
        (h, w, 3) uint8 RGB overview.
    mpp
        um per pixel of ``picture``; about `MASK_MPP` is meant.
    """
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    brightest, darkest = picture.max(axis=2).astype(np.float32), picture.min(axis=2).astype(np.float32)
    lit = brightest >= _BLACK
    grey = np.where(lit, darkest, 255.0).astype(np.float64)
    window = max(3, round(_WINDOW_UM / mpp) | 1)
    mean = ndimage.uniform_filter(grey, window)
    structure = np.sqrt(np.maximum(ndimage.uniform_filter(grey**2, window) - mean**2, 0))
    low, high = _STRUCTURE_BOUNDS
    threshold = low
    if structure[lit].size and np.ptp(structure[lit]) > 0:
        threshold = float(np.clip(threshold_otsu(structure[lit]), low, high))
    deep = (brightest - darkest) > _DEEP_SATURATION * np.maximum(brightest, 1)
    mask = _pieces((structure > threshold) | deep, at_least=_SPECK_UM2 / mpp**2)
    mask |= _holes(mask, below=_HOLE_UM2 / mpp**2)
    # The window sees an edge from half its width away, so the mask is that much too wide.
    return ndimage.binary_erosion(mask, iterations=window // 2, border_value=1) & lit


def _pieces(mask: np.ndarray, at_least: float) -> np.ndarray:
    """The connected pieces of ``mask`` of at least so many pixels."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    keep = np.bincount(labels.ravel(), minlength=count + 1) >= at_least
    keep[0] = False
    return keep[labels]


def _holes(mask: np.ndarray, below: float) -> np.ndarray:
    """The holes of ``mask`` of less than so many pixels; what touches the picture's border is no hole."""
    from scipy import ndimage

    labels, count = ndimage.label(~mask)
    fill = np.bincount(labels.ravel(), minlength=count + 1) < below
    fill[0] = False
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        fill[edge] = False
    return fill[labels]


def tissue_share(mask: np.ndarray, corners: np.ndarray, side: float) -> np.ndarray:
    """(N,) share of each square that is tissue.

    Parameters
    ----------
    mask
        (h, w) bool, see `tissue_mask`.
    corners
        (N, 2) top-left corners, x then y, in pixels of ``mask``; parts outside it are not tissue.
    side
        Side of the squares, in pixels of ``mask``.
    """
    height, width = mask.shape
    total = np.zeros((height + 1, width + 1), dtype=np.int64)
    total[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    left, top = np.floor(corners + 0.5).astype(np.int64).T
    size = max(1, round(side))
    x0, x1 = np.clip(left, 0, width), np.clip(left + size, 0, width)
    y0, y1 = np.clip(top, 0, height), np.clip(top + size, 0, height)
    inside = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    return inside / size**2
