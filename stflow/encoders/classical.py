"""Features by hand: stain, nuclei, white space and texture, in the tile's middle and around it. No weights.

A tile is halved to about 1 um/px. Colour deconvolution (Ruifrok and Johnston, 2001) gives haematoxylin, eosin and a
brown residual, as optical densities. From these come, in order:

- means in five rings around the centre, of nine maps: a spot is seen apart from what surrounds it;
- percentiles over the tile of the three stains;
- nuclei: number, size and depth of stain, of small round ones (lymphocytes), ordinary ones and clumps, in the middle
  and in all; how unevenly they lie;
- white space: pieces and the largest, which is where fat, vacuoles and lumina show;
- texture: variation within and between blocks of three sizes, autocorrelation at four lags, and how much the
  gradients agree in direction, as in collagen.

Same tiles, same bits: NumPy and SciPy on one thread, in float32, nothing random.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from stflow.encoders.base import Encoder
from stflow.io import sha256_json

#: Optical density of pure haematoxylin, eosin and brown pigment in red, green and blue.
STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))

#: Raised when the code changes the features.
VERSION = 1


@dataclass(frozen=True)
class Parameters:
    """What the features depend on beside the code; densities are optical, lengths are pixels of about 1 um."""

    nuclear_density: float = 0.35  # haematoxylin above it is nucleus
    dark_density: float = 0.75  # and above it a hyperchromatic one
    white_above_palest: float = 0.08  # summed density up to this much above the tile's palest pixels is white
    white_bounds: tuple[float, float] = (0.12, 0.30)  # within these bounds
    ring_shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)  # outer radii, half tiles; the corners are the fifth ring
    small_area: tuple[float, float] = (12.0, 60.0)  # of a small nucleus; anything less is noise
    clump_area: float = 200.0  # from here on it is several nuclei
    percentiles: tuple[float, ...] = (5.0, 25.0, 50.0, 75.0, 95.0)
    blocks: tuple[int, ...] = (4, 8, 16)
    lags: tuple[int, ...] = (1, 2, 4, 8)


PARAMETERS = Parameters()
_BATCH = 16  # tiles at a time: what is worked on stays in the cache


class Classical(Encoder):
    """`dim` numbers a tile."""

    name: ClassVar[str] = "classical"
    dim = 108
    transform = "halved; optical density; colour deconvolution"
    licence: ClassVar[str] = "MIT"
    uses_torch: ClassVar[bool] = False

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the stains, parameters and version: there are no weights."""
        return sha256_json({"version": VERSION, "stains": STAINS, "parameters": asdict(PARAMETERS)})

    def encode(self, tiles: np.ndarray) -> np.ndarray:
        """(B, 224, 224, 3) uint8 RGB tiles -> (B, dim) float32 features; sides need only be multiples of 32."""
        parts = [_encode(tiles[start : start + _BATCH]) for start in range(0, len(tiles), _BATCH)]
        return np.concatenate(parts).astype(np.float32)


def _encode(tiles: np.ndarray) -> np.ndarray:
    stains, white = _deconvolve(tiles)
    haematoxylin, eosin = stains[..., 0], stains[..., 1]
    nuclei = _smooth(haematoxylin) > PARAMETERS.nuclear_density
    return np.concatenate(
        [
            _rings(stains, nuclei, white),
            _percentiles(stains),
            _nuclear(nuclei, haematoxylin),
            _white_space(white),
            _texture(haematoxylin),
            _texture(eosin),
        ],
        axis=1,
    )


def _deconvolve(tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, H, W, 3) uint8 -> (B, H/2, W/2, 3) float32 stain densities, and (B, H/2, W/2) bool white."""
    B, H, W, C = tiles.shape  # batch, height, width, colours
    pixels = tiles.astype(np.uint16)
    summed = pixels[:, ::2, ::2] + pixels[:, 1::2, ::2] + pixels[:, ::2, 1::2] + pixels[:, 1::2, 1::2]
    density = _density_table()[summed]
    stains = (density.reshape(-1, C) @ _unmix()).reshape(B, H // 2, W // 2, C)
    summed_density = density.sum(axis=3)
    # Glass is not equally white on all scanners: the palest fiftieth of the tile says what white is, within bounds.
    rank = summed_density[:, ::2, ::2].reshape(B, -1)
    palest = np.partition(rank, rank.shape[1] // 50, axis=1)[:, rank.shape[1] // 50]
    limit = np.clip(palest + PARAMETERS.white_above_palest, *PARAMETERS.white_bounds)
    return stains, summed_density < limit[:, None, None]


@cache
def _density_table() -> np.ndarray:
    """Optical density of the sum of four 8-bit values, base 10."""
    return -np.log10((np.arange(1021, dtype=np.float64) + 4) / 1024).astype(np.float32)


@cache
def _unmix() -> np.ndarray:
    """(3, 3) colour densities -> stain densities."""
    stains = np.array(STAINS)
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    return np.linalg.inv(stains).astype(np.float32)


def _smooth(image: np.ndarray) -> np.ndarray:
    """Mean of 3 x 3 pixels."""
    from scipy import ndimage

    return ndimage.uniform_filter(image, size=(0, 3, 3), mode="nearest")


@cache
def _ring_weights(height: int, width: int) -> np.ndarray:
    """(height * width, 5) weights whose products are means over four rings and the corners."""
    y, x = np.mgrid[:height, :width]
    radius = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5).ravel() * 2
    ring = np.digitize(radius, PARAMETERS.ring_shares)
    weights = (ring[:, None] == np.arange(5)).astype(np.float32)
    return weights / weights.sum(axis=0)


def _rings(stains: np.ndarray, nuclei: np.ndarray, white: np.ndarray) -> np.ndarray:
    """(B, 45) means in five rings: three stains, their squares' roots, nuclei, dark nuclei, white."""
    B, H, W, _ = stains.shape
    dark = nuclei & (stains[..., 0] > PARAMETERS.dark_density)
    maps = np.stack([nuclei, dark, white], axis=1).astype(np.float32).reshape(B, 3, H * W)
    values = np.moveaxis(stains, 3, 1).reshape(B, 3, H * W)
    weights = _ring_weights(H, W)
    means = values @ weights
    spread = np.sqrt(np.maximum((values**2) @ weights - means**2, 0))
    return np.concatenate([means, spread, maps @ weights], axis=1).reshape(B, -1)


def _percentiles(stains: np.ndarray) -> np.ndarray:
    """(B, 15) percentiles of each stain, of every second pixel."""
    B = len(stains)
    values = np.sort(stains[:, ::2, ::2].reshape(B, -1, 3), axis=1)
    index = [round(share / 100 * (values.shape[1] - 1)) for share in PARAMETERS.percentiles]
    return values[:, index].reshape(B, -1)


def _nuclear(nuclei: np.ndarray, haematoxylin: np.ndarray) -> np.ndarray:
    """(B, 21) nuclei by size, in all and in the middle; their depth; how unevenly they lie; their peaks."""
    from scipy import ndimage

    B, H, W = nuclei.shape
    labels, count = ndimage.label(nuclei, structure=_IN_PLANE)
    flat = labels.ravel()
    area = np.bincount(flat, minlength=count + 1)[1:].astype(np.float32)
    depth = np.bincount(flat, weights=haematoxylin.ravel(), minlength=count + 1)[1:] / np.maximum(area, 1)
    middle = _in_middle(flat, H, W, B, count)
    # Labels run through the batch in order, so a component's tile is that of its first pixel.
    tile = _first_pixels(flat, count) // (H * W)
    low, high = PARAMETERS.small_area
    small, clump = (area >= low) & (area < high), area >= PARAMETERS.clump_area
    ordinary = (area >= high) & ~clump
    dark = depth > PARAMETERS.dark_density
    columns: list[np.ndarray] = [
        np.bincount(tile, weights=weights, minlength=B)
        for kind in (small, ordinary, clump, small & dark, ordinary & dark)
        for weights in (kind, kind & middle)
    ]
    real = area >= low
    number = np.maximum(np.bincount(tile, weights=real, minlength=B), 1)
    size = np.bincount(tile, weights=np.sqrt(area) * real, minlength=B) / number
    size_spread = np.bincount(tile, weights=area * real, minlength=B) / number - size**2
    deep = np.bincount(tile, weights=depth * real, minlength=B) / number
    deep_spread = np.bincount(tile, weights=depth**2 * real, minlength=B) / number - deep**2
    blocks = nuclei[:, : H // 8 * 8, : W // 8 * 8].reshape(B, H // 8, 8, W // 8, 8).mean(axis=(2, 4))
    blocks = np.sort(blocks.reshape(B, -1), axis=1)
    columns += [size, np.sqrt(np.maximum(size_spread, 0)), deep, np.sqrt(np.maximum(deep_spread, 0))]
    columns += [blocks.std(axis=1), blocks[:, -1], blocks[:, len(blocks[0]) // 2]]
    return np.concatenate([np.stack(columns, axis=1), _peaks(haematoxylin)], axis=1)


def _peaks(haematoxylin: np.ndarray) -> np.ndarray:
    """(B, 4) local maxima of haematoxylin: nuclei that touch are counted apart. Stained, dark; in all, middle."""
    from scipy import ndimage

    B, H, W = haematoxylin.shape
    soft = _smooth(_smooth(haematoxylin))
    peak = soft == ndimage.maximum_filter(soft, size=(1, 5, 5), mode="nearest")
    middle = (_ring_weights(H, W)[:, :2].sum(axis=1) > 0).astype(np.float32)
    columns = []
    for threshold in (PARAMETERS.nuclear_density, PARAMETERS.dark_density):
        found = (peak & (soft > threshold)).reshape(B, -1).astype(np.float32)
        columns += [found.sum(axis=1), found @ middle]
    return np.stack(columns, axis=1)


#: Neighbours within a tile, none across the batch.
_IN_PLANE = np.zeros((3, 3, 3), dtype=bool)
_IN_PLANE[1] = [[False, True, False], [True, True, True], [False, True, False]]


def _first_pixels(flat: np.ndarray, count: int) -> np.ndarray:
    """(count,) index of the first pixel of each label 1..count."""
    first = np.zeros(count + 1, dtype=np.int64)
    # Written back to front, the first one stays.
    where = np.flatnonzero(flat)[::-1]
    first[flat[where]] = where
    return first[1:]


def _in_middle(flat: np.ndarray, H: int, W: int, B: int, count: int) -> np.ndarray:
    """(count,) whether most of a component lies within half a half-tile of the centre."""
    inside = np.tile(_ring_weights(H, W)[:, :2].sum(axis=1) > 0, B)
    share = np.bincount(flat, weights=inside, minlength=count + 1)[1:]
    return share * 2 > np.bincount(flat, minlength=count + 1)[1:]


def _white_space(white: np.ndarray) -> np.ndarray:
    """(B, 3) pieces of white space of some size, the largest one's share, and the mean share of a piece."""
    from scipy import ndimage

    B, H, W = white.shape
    labels, count = ndimage.label(white, structure=_IN_PLANE)
    flat = labels.ravel()
    area = np.bincount(flat, minlength=count + 1)[1:].astype(np.float64)
    tile = _first_pixels(flat, count) // (H * W)
    real = area >= PARAMETERS.small_area[0]
    pieces = np.bincount(tile, weights=real, minlength=B)
    largest = np.zeros(B)
    np.maximum.at(largest, tile, area)
    total = np.bincount(tile, weights=area * real, minlength=B)
    return np.stack([pieces, largest / (H * W), total / np.maximum(pieces, 1) / (H * W)], axis=1)


def _texture(image: np.ndarray) -> np.ndarray:
    """(B, 12) of one stain: block variation (6), autocorrelation (4), gradient and its coherence (2)."""
    B, H, W = image.shape
    columns = []
    for block in PARAMETERS.blocks:
        pieces = image[:, : H // block * block, : W // block * block].reshape(B, H // block, block, W // block, block)
        mean = pieces.mean(axis=(2, 4))
        within = np.sqrt(np.maximum((pieces**2).mean(axis=(2, 4)) - mean**2, 0)).mean(axis=(1, 2))
        columns += [within, mean.std(axis=(1, 2))]
    centred = image - image.mean(axis=(1, 2), keepdims=True)
    variance = np.maximum((centred**2).mean(axis=(1, 2)), 1e-8)
    for lag in PARAMETERS.lags:
        along = (centred[:, :, lag:] * centred[:, :, :-lag]).mean(axis=(1, 2))
        down = (centred[:, lag:] * centred[:, :-lag]).mean(axis=(1, 2))
        columns.append((along + down) / 2 / variance)
    dx = centred[:, 1:-1, 2:] - centred[:, 1:-1, :-2]
    dy = centred[:, 2:, 1:-1] - centred[:, :-2, 1:-1]
    xx, yy, xy = ((a * b).mean(axis=(1, 2)) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    energy = np.maximum(xx + yy, 1e-8)
    columns += [np.sqrt(energy), np.sqrt((xx - yy) ** 2 + 4 * xy**2) / energy]
    return np.stack(columns, axis=1)
