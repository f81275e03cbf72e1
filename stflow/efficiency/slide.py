"""A slide of any number of spots, on a Visium grid, with random features or tiles and random counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stflow.data.slide import Slide
from stflow.data.tile_images import TileImages
from stflow.layout import TILES

#: Distance of neighbouring spots, um.
PITCH_UM = 100.0
#: Side of a random tile: what HisToGene reads.
TILE_PX = 112


def made_slide(n: int, encoder: str, n_features: int, n_genes: int, folder: Path, *, tiles: bool) -> Slide:
    """A slide of ``n`` spots.

    Parameters
    ----------
    n
        Spots.
    encoder
        Name of its features; `stflow.layout.TILES`: it has none.
    n_features, n_genes
        Sizes.
    folder
        Where the tiles file is written, if ``tiles``.
    tiles
        Give every spot a tile.
    """
    import h5py
    from scipy import sparse

    rng = np.random.default_rng(n)
    row, column = np.divmod(np.arange(n), int(np.ceil(np.sqrt(n))))
    centres = np.stack([(column + 0.5 * (row % 2)) * PITCH_UM, row * PITCH_UM * np.sqrt(0.75)], axis=1)
    names = np.array([f"s{index}" for index in range(n)], dtype=object)
    images = None
    if tiles:
        with h5py.File(folder / "tiles.h5", "w") as handle:
            img = handle.create_dataset("img", (n, TILE_PX, TILE_PX, 3), dtype=np.uint8)
            for start in range(0, n, 1000):
                stop = min(n, start + 1000)
                img[start:stop] = rng.integers(0, 255, (stop - start, TILE_PX, TILE_PX, 3), dtype=np.uint8)
            handle["barcode"] = [[name] for name in names]
        images = TileImages.of(folder / "tiles.h5")
    return Slide(
        name="made",
        patient="made",
        barcodes=names,
        centres_px=centres,
        mpp=1.0,
        genes=tuple(f"G{index}" for index in range(n_genes)),
        counts=sparse.csc_matrix(rng.poisson(1.0, (n, n_genes)).astype(np.float32)),
        features={} if encoder == TILES else {encoder: rng.standard_normal((n, n_features), dtype=np.float32)},
        tiles=images,
    )
