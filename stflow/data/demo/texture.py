"""The tissue between nuclei: eosin and haematoxylin of fibres, cytoplasm and fat, at 1 um per pixel."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

from stflow.data.demo.recipe import COMPARTMENTS, MODIFIERS
from stflow.data.demo.tissue import Tissue

_FIBRE_TILE = 1024  # px of the periodic noise that fibres are sampled from
_ADIPOCYTE_UM = 52.0
_FAT_GRID_UM = 2.0


def resize(field: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w) to (height, width) float32, bilinear."""
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def background(rng: np.random.Generator, tissue: Tissue) -> tuple[np.ndarray, np.ndarray]:
    """Haematoxylin and eosin concentrations (n, n) float32 of everything but nuclei, at 1 um per pixel."""
    n = round(tissue.size_um)
    tumour, stroma, immune, fat = (resize(tissue.compartments[COMPARTMENTS.index(name)], n, n) for name in COMPARTMENTS)
    her2 = resize(tissue.modifiers[MODIFIERS.index("her2")], n, n)
    grain = ndimage.gaussian_filter(rng.standard_normal((n, n), dtype=np.float32), 1.6)
    grain /= grain.std()
    fibre = _fibres(rng, tissue, stroma > 0.02)

    eosin = tumour * (0.42 + 0.10 * np.clip(her2, -1.8, 1.8) + 0.05 * grain)
    eosin += stroma * np.clip(0.56 + 0.19 * fibre + 0.03 * grain, 0.20, 1.2)
    eosin += immune * (0.26 + 0.04 * grain)
    eosin += fat * 0.50 * _fat_walls(rng, tissue, fat)
    haematoxylin = tumour * (0.20 + 0.03 * grain) + stroma * 0.04 + immune * (0.17 + 0.03 * grain)
    return np.clip(haematoxylin, 0, None), np.clip(eosin, 0, None)


def _fibres(rng: np.random.Generator, tissue: Tissue, wanted: np.ndarray) -> np.ndarray:
    """(n, n) float32, mean 0 and SD 1 where ``wanted``: wavy streaks along the tissue's fibre direction."""
    n = wanted.shape[0]
    white = rng.standard_normal((_FIBRE_TILE, _FIBRE_TILE), dtype=np.float32)
    fine = ndimage.gaussian_filter(white, (1.0, 14.0), mode="wrap")
    broad = ndimage.gaussian_filter(white, (3.5, 30.0), mode="wrap")
    streaks = fine / fine.std() + 0.9 * broad / broad.std()
    streaks /= streaks.std()
    wave = ndimage.gaussian_filter(rng.standard_normal((n // 4 + 1, n // 4 + 1), dtype=np.float32), 4.0)
    wave = resize(2.5 * wave / wave.std(), n, n)

    y, x = np.nonzero(wanted)
    cos, sin = np.float32(np.cos(tissue.direction)), np.float32(np.sin(tissue.direction))
    fx, fy = x.astype(np.float32), y.astype(np.float32)
    across = fy * cos - fx * sin + resize(tissue.warp, n, n)[y, x] + wave[y, x]
    along = fx * cos + fy * sin
    out = np.zeros((n, n), dtype=np.float32)
    out[y, x] = ndimage.map_coordinates(streaks, np.stack([across, along]), order=1, mode="grid-wrap")
    return out


def _fat_walls(rng: np.random.Generator, tissue: Tissue, fat: np.ndarray) -> np.ndarray:
    """(n, n) float32 in 0..1: thin walls between round, empty adipocytes."""
    n = fat.shape[0]
    m = int(np.ceil(n / _FAT_GRID_UM))
    row, column = np.meshgrid(
        np.arange(-1, n / (_ADIPOCYTE_UM * 0.87) + 1), np.arange(-1, n / _ADIPOCYTE_UM + 1), indexing="ij"
    )
    seeds = np.column_stack([(column + 0.5 * (row % 2)).ravel() * _ADIPOCYTE_UM, row.ravel() * _ADIPOCYTE_UM * 0.87])
    seeds += rng.uniform(-0.26, 0.26, seeds.shape) * _ADIPOCYTE_UM
    y, x = np.nonzero(resize(fat, m, m) > 0.02)
    walls = np.zeros((m, m), dtype=np.float32)
    if len(x):
        points = (np.column_stack([x, y]) + 0.5) * _FAT_GRID_UM
        distance = np.asarray(cKDTree(seeds).query(points, k=2)[0])
        walls[y, x] = np.exp(-(((distance[:, 1] - distance[:, 0]) / 3.6) ** 2))
    return resize(walls, n, n)
