"""The one interface of every encoder. Light to import: torch loads inside.

`Encoder` turns tiles into features, one at a time in meaning and in batches in fact. `SlideEncoder` turns the features
that another encoder made of a slide's tiles into features that know the whole slide.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stflow.errors import WeightsError
from stflow.io import sha256_file


@dataclass(frozen=True, slots=True)
class Weights:
    """Where an encoder's weights are published: a repository of ``resources/hub.json`` and one of its files.

    Attributes
    ----------
    repository
        Name in ``resources/hub.json``.
    file
        Purpose of the file there: a key of the entry's ``files``.
    """

    repository: str
    file: str = "weights"


class Encoder(ABC):
    """An image encoder.

    Class attributes: ``dim`` (feature size D), ``transform`` (what is done to a tile, in words, recorded in the
    features file), ``licence`` of the weights, ``n_params`` (None: no network), ``input_px`` (side of the network's
    input), ``weights`` (where they are published, or a file; None: none are needed, or a package brings them),
    ``needs_gpu`` (whether a job asks the scheduler for one), ``uses_torch`` (False: NumPy alone, and torch is not
    imported).

    Parameters
    ----------
    device, precision
        cpu or cuda; fp32, bf16 or fp16.
    weights
        The weights file; None where the encoder needs none.
    variants
        Those of `variants` to apply, in order.
    """

    name: ClassVar[str]
    dim: int
    transform: str
    licence: ClassVar[str]
    n_params: ClassVar[int | None] = None
    input_px: ClassVar[int] = 224
    weights: ClassVar[Weights | Path | None] = None
    needs_gpu: ClassVar[bool] = False
    uses_torch: ClassVar[bool] = True
    #: Variant -> the attributes that it sets in place of the class's: ``{"half": {"mean": ..., "transform": ...}}``.
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    #: For a `SlideEncoder`, the encoder of the tiles.
    tile_encoder: ClassVar[str] = ""

    def __init__(
        self,
        device: str = "cpu",
        precision: str = "fp32",
        *,
        weights: Path | None = None,
        variants: Sequence[str] = (),
    ) -> None:
        self.device, self.precision, self.weights_path = device, precision, weights
        for variant in variants:
            for attribute, value in self.variants[variant].items():
                setattr(self, attribute, value)

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights file; for an encoder without weights, of what defines it.

        Raises
        ------
        WeightsError
            It is missing; the message says how to get it.
        """
        if self.weights_path is None or not self.weights_path.is_file():
            where = "no file was given" if self.weights_path is None else f"{self.weights_path} is not there"
            raise WeightsError(f"encoder {self.name}: its weights are missing: {where}. {self._how_to_get_them()}")
        return sha256_file(self.weights_path)

    def checked_weights(self) -> Path:
        """The weights file: it is there, and it is the published one where that is known.

        Raises
        ------
        WeightsError
            It is not.
        """
        found, expected = self.weights_sha256, self._published_sha256()
        assert self.weights_path is not None  # the hash is its
        if expected not in (None, found):
            raise WeightsError(
                f"encoder {self.name}: {self.weights_path} is not the published file (SHA-256 {found[:16]}..., "
                f"published {str(expected)[:16]}...). Delete it. {self._how_to_get_them()}"
            )
        return self.weights_path

    def _published_sha256(self) -> str | None:
        from stflow.data.hub.manifest import repository

        if not isinstance(self.weights, Weights):
            return None
        place = repository(self.weights.repository)
        known = place.known.get(place.files[self.weights.file])
        return known.sha256 if known else None

    def _how_to_get_them(self) -> str:
        from stflow.data.hub.manifest import repository

        if not isinstance(self.weights, Weights):
            return "See `stflow list encoders`."
        place = repository(self.weights.repository)
        return (
            f"They are {place.files[self.weights.file]} of {self.weights.repository}, {place.page}. {place.access} "
            "Then run `snakemake` again, which downloads them."
        )

    def fit_slide(self, tiles: np.ndarray) -> None:  # noqa: B027 (most encoders have no use for it)
        """See some tiles of the slide to come, (n, px, px, 3) uint8, evenly spaced: what depends on a whole slide."""

    def prepare(self, tiles: np.ndarray) -> np.ndarray:
        """What is done on the CPU before the network, often in another thread: (B, px, px, 3) uint8, as it is read."""
        return tiles

    @abstractmethod
    def encode(self, tiles: np.ndarray) -> np.ndarray:
        """(B, px, px, 3) uint8 RGB tiles at 0.5 um/px, as `prepare` leaves them -> (B, D) float32 features."""

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        """(B, 224, 224, 3) uint8 RGB tiles at 0.5 um/px -> (B, D) float32 features."""
        return self.encode(self.prepare(tiles))


class SlideEncoder(Encoder):
    """An encoder of a whole slide's tiles, on the features that `tile_encoder` made of them."""

    def encode(self, tiles: np.ndarray) -> np.ndarray:
        """Not for tiles: see `encode_slide`."""
        raise TypeError(f"{self.name} encodes slides, from features of {self.tile_encoder}: call encode_slide")

    @abstractmethod
    def encode_slide(self, features: np.ndarray, corners_px: np.ndarray, mpp: float) -> np.ndarray:
        """Features of all tiles of a slide, each aware of the others.

        Parameters
        ----------
        features
            (N, D_in) float32, of `tile_encoder`.
        corners_px
            (N, 2) top-left corners of the tiles, x and y, level-0 px.
        mpp
            um per level-0 px.

        Returns
        -------
        (N, D) float32.
        """
