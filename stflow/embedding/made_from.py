"""What features are made from and with: the part of a features file that is known before anything is encoded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from stflow.embedding.features import Features
from stflow.encoders.base import Encoder
from stflow.errors import DataError, IntegrityError
from stflow.wsi.tiles import Spots


@dataclass(frozen=True, slots=True)
class Made:
    """What a features file is made with: attributes of `Features`, the same for all slides of a job."""

    encoder: str
    weights_sha256: str
    transform: str
    precision: str
    batch_asked: int
    machine: str
    code: str


@dataclass(frozen=True, slots=True)
class Place:
    """Names and places of a slide's tiles: attributes of `Features`."""

    barcodes: np.ndarray
    coords: np.ndarray
    centres: np.ndarray

    def agrees(self, table: Features) -> bool:
        """Whether a table's rows are these tiles."""
        return (
            np.array_equal(self.barcodes, table.barcodes)
            and np.array_equal(self.coords, table.coords)
            and np.array_equal(self.centres, table.centres)
        )


def table_of(
    features: np.ndarray,
    place: Place,
    made: Made,
    *,
    tiles_sha256: str,
    batch_size: int = 0,
    source_sha256: str = "",
) -> Features:
    """The features file's content, of (N, D) float32 features."""
    return Features(
        features=features,
        barcodes=place.barcodes,
        coords=place.coords,
        centres=place.centres,
        tiles_sha256=tiles_sha256,
        batch_size=batch_size,
        source_sha256=source_sha256,
        **asdict(made),
    )


def on_gpu(model: Encoder) -> bool:
    """Whether an encoder computes on a GPU."""
    return model.device.startswith("cuda")


def machine(model: Encoder, threads: int) -> str:
    """What last bits depend on beside the settings: work of another machine is not taken over."""
    if not model.uses_torch:
        return "cpu"
    import torch

    processor = torch.cuda.get_device_name() if on_gpu(model) else f"cpu, {threads} thread(s)"
    return f"{processor}, torch {torch.__version__}"


@contextlib.contextmanager
def about(what: str) -> Iterator[None]:
    """Errors inside say what they are about."""
    try:
        yield
    except DataError as error:
        raise type(error)(f"{what}: {error}") from error


def require_places(spots: Spots, place: Place, path: Path) -> None:
    """Each tile must hold its spot's centre as the slide file has it.

    Raises
    ------
    IntegrityError
        Tiles that were cut elsewhere, as from another version of the coordinates.
    """
    row = {name: index for index, name in enumerate(spots.barcodes)}
    truth = spots.centres_px[[row[name] for name in place.barcodes]]
    half = np.abs(place.centres - place.coords).max(axis=1, keepdims=True) + 1
    away = (np.abs(place.centres - truth) > half).any(axis=1)
    if away.any():
        raise IntegrityError(
            f"slide {spots.name}: {away.sum()} of {len(place.barcodes)} tiles of {path} do not hold their spot (first: "
            f"{place.barcodes[away][0]}). The tiles were cut for other coordinates: make tiles and counts from one "
            "source."
        )


def require_finite(features: np.ndarray, what: str, path: Path) -> None:
    """Check that every feature is a number.

    Raises
    ------
    IntegrityError
        Some are not, as half precision overflows.
    """
    broken = ~np.isfinite(features).all(axis=1)
    if broken.any():
        raise IntegrityError(
            f"{what}: {broken.sum()} of {len(features)} tiles gave features that are not numbers (first: tile "
            f"{np.flatnonzero(broken)[0]} of {path}). Use precision fp32."
        )


def require_shape(features: np.ndarray, count: int, model: Encoder) -> None:
    """Check that an encoder gave (count, dim) numbers: one row would be spread over all tiles without a word.

    Raises
    ------
    ValueError
        It did not; the encoder's code is wrong.
    """
    if features.shape != (count, model.dim):
        raise ValueError(f"encoder {model.name}: features are {features.shape}, not ({count}, {model.dim})")
