"""The variants ``macenko`` and ``reinhard``: tiles are brought to one staining before they are encoded.

What the staining of a slide is, is estimated once, from tiles spread evenly over it, with the library torchstain, and
then applied to every tile: a tile's own estimate breaks down where the tile is mostly glass or holds one stain, and
makes neighbours look different.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np

from stflow.encoders.base import Encoder
from stflow.encoders.wrapped import Wrapped
from stflow.errors import DataError

#: Share of the sampled pixels that must be stained for an estimate.
MIN_STAINED = 0.01
#: Most pixels that an estimate looks at; of more, every second or third row and column.
MOST_PIXELS = 1 << 20
#: Two stains are told apart if the condition number of their matrix is no greater: 5 degrees between them.
MOST_ALIKE = 25.0

_WHITE = 240  # intensity of the light without tissue, torchstain's `Io`
_PALEST = 0.15  # natural optical density below which a pixel is glass, torchstain's `beta`


class StainNormalised(Wrapped):
    """Base of the two: estimates in `fit_slide`, applies in `prepare`."""

    method: str

    def __init__(self, inner: Encoder) -> None:
        super().__init__(inner)
        self.transform = f"{self.method} stain normalisation, one estimate a slide; {inner.transform}"
        self._fitted = False

    def fit_slide(self, tiles: np.ndarray) -> None:
        """Estimate the slide's staining from some of its tiles, (n, px, px, 3) uint8.

        Raises
        ------
        DataError
            Less than a hundredth of the pixels is stained, or the stains cannot be told apart.
        """
        strip = _strip(tiles)
        stained = float((strip.max(axis=2) <= _WHITE * math.exp(-_PALEST) - 1).mean())
        if stained < MIN_STAINED:
            raise DataError(
                f"{self.method}: {stained:.1%} of the {len(tiles)} sampled tiles is stained, too little to estimate a "
                "staining from. Leave the slide out, raise tiling.min_tissue, or use the encoder without it."
            )
        self._estimate(strip)
        self._fitted = True
        self.inner.fit_slide(self.normalise(tiles))

    def prepare(self, tiles: np.ndarray) -> np.ndarray:
        """Tiles in the reference's staining, and then what the encoder inside does."""
        return self.inner.prepare(self.normalise(tiles))

    def normalise(self, tiles: np.ndarray) -> np.ndarray:
        """(B, px, px, 3) uint8 -> the same in the reference's staining; needs `fit_slide`."""
        if not self._fitted:
            raise RuntimeError(f"{self.method}: fit_slide was not called")
        # Tile by tile: what is worked on stays in the cache, and memory does not grow with the batch.
        return np.stack([self._apply(tile) for tile in tiles])

    @abstractmethod
    def _estimate(self, strip: np.ndarray) -> None:
        """Estimate from a picture, (H, W, 3) uint8."""

    @abstractmethod
    def _apply(self, tile: np.ndarray) -> np.ndarray:
        """(px, px, 3) uint8 -> the same, normalised."""


class Macenko(StainNormalised):
    """Two stains by the plane of optical densities (Macenko et al., ISBI 2009).

    The reference is torchstain's default, which came with the method's first public code: its stain vectors and their
    99th percentiles of concentration.
    """

    method = "Macenko"

    def _estimate(self, strip: np.ndarray) -> None:
        from torchstain.numpy.normalizers import NumpyMacenkoNormalizer

        reference, slide = NumpyMacenkoNormalizer(), NumpyMacenkoNormalizer()
        slide.fit(strip, Io=_WHITE, beta=_PALEST)
        stains, most = slide.HERef, slide.maxCRef
        usable = np.isfinite(stains).all() and (most > 0).all()
        if not usable or np.linalg.cond(stains) > MOST_ALIKE:
            raise DataError(
                "Macenko: the sampled tiles' two stains cannot be told apart. Is the slide H&E? Leave it out, or use "
                "+reinhard or the encoder without stain normalisation."
            )
        # Density -> concentrations -> the reference's concentrations -> density: one matrix.
        matrix = reference.HERef @ np.diag(reference.maxCRef / most) @ np.linalg.pinv(stains)
        self._matrix = matrix.astype(np.float32)

    def _apply(self, tile: np.ndarray) -> np.ndarray:
        red, green, blue = (_density()[tile[..., colour]] for colour in range(3))
        # Sums are written out: a product of matrices may add up in another order from one machine to the next.
        density = np.stack([m[0] * red + m[1] * green + m[2] * blue for m in self._matrix], axis=-1)
        return np.minimum(np.float32(_WHITE) * np.exp(-density), 255).astype(np.uint8)


class Reinhard(StainNormalised):
    """Mean and spread of each channel in CIELAB (Reinhard et al., IEEE CG&A 2001).

    The reference is Slideflow's preset ``reinhard_fast`` v3: the average over about 50,000 tiles of about 450 slides of
    TCGA (``slideflow/norm/utils.py``, Slideflow 1.6 and later).
    """

    method = "Reinhard"
    #: L*, a*, b* of the reference.
    TARGET_MEANS = (58.12343, 26.483482, -12.701005)
    TARGET_STDS = (14.675022, 7.5744166, 5.226378)

    def _estimate(self, strip: np.ndarray) -> None:
        from torchstain.numpy.normalizers import NumpyReinhardNormalizer

        slide = NumpyReinhardNormalizer()
        slide.fit(strip)
        if not (slide.target_stds > 0).all():
            raise DataError("Reinhard: the sampled tiles are all of one colour. Leave the slide out.")
        scale = np.array(self.TARGET_STDS) / slide.target_stds
        self._scale = scale.astype(np.float32)
        self._shift = (np.array(self.TARGET_MEANS) - slide.target_means * scale).astype(np.float32)

    def _apply(self, tile: np.ndarray) -> np.ndarray:
        from torchstain.numpy.utils.lab2rgb import lab2rgb
        from torchstain.numpy.utils.rgb2lab import rgb2lab
        from torchstain.numpy.utils.split import lab_merge, lab_split

        channels = lab_split(rgb2lab(tile.astype(np.float32) / 255))
        moved = [value * a + b for value, a, b in zip(channels, self._scale, self._shift, strict=True)]
        return (lab2rgb(lab_merge(*moved)) * 255).astype(np.uint8)


def _density() -> np.ndarray:
    """(256,) float32 natural optical density of an 8-bit value, as torchstain defines it."""
    return (-np.log((np.arange(256) + 1.0) / _WHITE)).astype(np.float32)


def _strip(tiles: np.ndarray) -> np.ndarray:
    """(n, px, px, 3) -> one picture (H, W, 3) of at most `MOST_PIXELS`: the tiles below each other, thinned alike."""
    step = max(1, math.ceil(math.sqrt(tiles[..., 0].size / MOST_PIXELS)))
    thin = tiles[:, ::step, ::step]
    return np.ascontiguousarray(thin).reshape(-1, thin.shape[2], 3)


STAIN_VARIANTS: dict[str, type[StainNormalised]] = {"macenko": Macenko, "reinhard": Reinhard}
