"""Where a slide is tissue and where it is glass.

Glass is smooth, whatever colour the stain has run over it; tissue has structure, pale fat too. So the mask is the
local standard deviation of the darkest channel above Otsu's threshold, plus what is smooth but deeply stained.
Otsu's threshold is bounded, as a picture full of tissue has no glass to part from, and as a faint piece must not be
lost beside a deeply stained one.

Three things have structure and are no tissue. Ink is of colours that haematoxylin and eosin never make, and is left
out together with its rim; where it lies on tissue, that part is hidden. The rims of air bubbles, dust and coverslip
edges are grey, where tissue takes more of the green than of the red or the blue. Black is neither tissue nor glass:
some published pictures are masked with it.
"""

from __future__ import annotations

import numpy as np

#: um per pixel at which tissue is looked for: a 112 um tile is 14 pixels wide.
MASK_MPP = 8.0

_WINDOW_UM = 48.0  # structure is looked for at this scale: a few nuclei
_STRUCTURE_BOUNDS = (3.0, 8.0)  # grey levels: between them lies the threshold on the standard deviation
_ABOVE_GLASS = 3.0  # times the structure of the quietest part of the picture: no higher is the threshold
_STAINED = 0.2  # share of the absorption: by so much more of the green than of the red or the blue is absorbed
_DEEP_SATURATION = 0.25  # share; a smooth pixel above it is blood, mucus or muscle, not run stain
_BLACK = 40  # a pixel whose brightest channel is below this is a mask, ink or nothing
_HOLE_UM2 = 200_000.0  # holes up to this area are lumina or fat: tissue
_SPECK_UM2 = 10_000.0  # pieces below this area are dust
_STROKE_UM = 32.0  # the finest pen; nuclei of an ink's colour are smaller
_INK_RIM_UM = 24.0  # beside ink, its blurred edge


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
    ink = ink_mask(picture, mpp)
    window = max(3, round(_WINDOW_UM / mpp) | 1)
    seen = ~ink  # what ink covers says nothing of the tissue below it or beside it
    grey = np.where(lit, darkest, 255.0).astype(np.float64)
    mean = _local_mean(grey, seen, window)
    structure = np.sqrt(np.maximum(_local_mean(grey**2, seen, window) - mean**2, 0))
    plain = lit & ~ink
    low, high = _STRUCTURE_BOUNDS
    threshold = low
    if structure[plain].size and np.ptp(structure[plain]) > 0:
        threshold = float(np.clip(threshold_otsu(structure[plain]), low, high))
        threshold = min(threshold, max(low, _ABOVE_GLASS * float(np.percentile(structure[plain], 2))))
    colour = np.stack(
        [_local_mean(picture[..., channel].astype(np.float32), plain, window) for channel in range(3)], axis=2
    )
    stained = _stained(colour, glass=colour[plain & (structure <= threshold)])
    deep = ~ink & ((brightest - darkest) > _DEEP_SATURATION * np.maximum(brightest, 1))
    mask = _pieces(((structure > threshold) & stained) | deep, at_least=_SPECK_UM2 / mpp**2)
    mask |= _holes(mask, below=_HOLE_UM2 / mpp**2)
    # The window sees an edge from half its width away, so the mask is that much too wide.
    return ndimage.binary_erosion(mask, iterations=window // 2, border_value=1) & plain


def _local_mean(values: np.ndarray, weight: np.ndarray, window: int) -> np.ndarray:
    """(h, w) mean over a square window of the pixels that count."""
    from scipy import ndimage

    weight = weight.astype(np.float32)
    near = ndimage.uniform_filter(weight, window)
    return ndimage.uniform_filter(values * weight, window) / np.maximum(near, 1e-6)


def ink_mask(picture: np.ndarray, mpp: float) -> np.ndarray:
    """(h, w) bool, True where a pen has written: green, blue, red, or dark without colour; and its rim.

    Parameters as of `tissue_mask`.
    """
    from scipy import ndimage

    red, green, blue = (picture[..., channel].astype(np.float32) for channel in range(3))
    brightest, darkest = picture.max(axis=2).astype(np.float32), picture.min(axis=2).astype(np.float32)
    vivid = brightest - darkest > 0.2 * brightest
    greenish = vivid & (green > red + 12) & (green > blue + 5)
    bluish = (red < 0.45 * blue) & (blue > 135)  # haematoxylin can be as blue, but is darker then
    reddish = (red > 120) & (green < 0.32 * red) & (blue < 0.38 * red)
    blackish = (brightest < 100) & (brightest - darkest < 0.15 * brightest) & (brightest >= _BLACK)
    stroke = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), max(1, round(_STROKE_UM / 2 / mpp)))
    ink = ndimage.binary_opening(greenish | bluish | reddish | blackish, stroke)
    return ndimage.binary_dilation(ink, iterations=max(1, round(_INK_RIM_UM / mpp)))


def _stained(colour: np.ndarray, glass: np.ndarray) -> np.ndarray:
    """(h, w) bool: what is absorbed there is absorbed as stains do, and not as a shadow.

    Parameters
    ----------
    colour
        (h, w, 3) local mean colour, 0 to 255.
    glass
        (n, 3) colours of what is taken for glass; none where all is tissue.
    """
    white = np.median(glass, axis=0) if len(glass) else np.full(3, 255.0)
    density = -np.log10(np.maximum(colour, 1.0) / np.maximum(white, 1.0))
    surplus = density[..., 1] - np.minimum(density[..., 0], density[..., 2])
    return surplus > _STAINED * np.abs(density.mean(axis=2))


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
