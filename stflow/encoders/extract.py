"""From the tiles file to the features file, block by block: the tiles of a slide need not fit in memory."""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stflow.encoders.features import Features, write_features
from stflow.errors import IntegrityError
from stflow.io import open_h5
from stflow.wsi.ready import barcodes, require_known, require_tiles, tile_centres
from stflow.wsi.tile_store import tiles_digest
from stflow.wsi.tiles import Spots

if TYPE_CHECKING:
    from stflow.encoders.base import Encoder

#: Seconds between two lines of progress.
_REPORT_S = 10.0


def make_features(
    tiles: Path,
    slide_file: Path,
    encoder: str,
    out: Path,
    *,
    batch_size: int,
    precision: str,
    threads: int,
    device: str,
) -> None:
    """Encode a slide's tiles and write ``features/<encoder>/<benchmark>/<slide>.h5``.

    Parameters
    ----------
    tiles
        Tiles file, cut by `stflow.wsi.tiles` or one of hest-bench's.
    slide_file
        The slide file: tiles whose barcodes or places it does not hold are refused.
    encoder
        Name of a registered encoder.
    out
        Features file to write; whatever stands there is replaced, never added to.
    batch_size
        Tiles a batch.
    precision
        fp32, bf16 or fp16.
    threads
        CPU threads.
    device
        auto, cpu or cuda.

    Raises
    ------
    IntegrityError
        The tiles file is cut short, changed, or of other counts.
    WeightsError
        The encoder's weights are missing or of another model.
    """
    from stflow.device import resolve, set_threads
    from stflow.encoders import ENCODERS

    set_threads(threads)
    spots = Spots.read(slide_file)
    kind: type[Encoder] = ENCODERS.get(encoder)
    model = kind(resolve(device) if kind.uses_torch else "cpu", precision)
    with open_h5(tiles) as handle:
        require_tiles(handle, tiles)
        names, coords = barcodes(handle), handle["coords"][:].astype(np.int64)
        centres = tile_centres(handle)
        assert centres is not None  # require_tiles has seen it
        require_known(names, spots, tiles)
        _require_places(spots, names, coords, centres, tiles)
        features, digest = _encode_blocks(model, handle["img"], batch_size, f"{encoder} {spots.name}", tiles)
        recorded = handle.attrs.get("img_sha256")
    if recorded is not None and str(recorded) != digest:
        raise IntegrityError(f"{tiles}: the tiles' hash is not the one recorded. Delete it and run `tile` again.")
    write_features(
        out,
        Features(
            features=features,
            barcodes=names,
            coords=coords,
            centres=centres,
            encoder=encoder,
            weights_sha256=model.weights_sha256,
            transform=model.transform,
            precision=precision,
            tiles_sha256=digest,
        ),
    )


def _require_places(spots: Spots, names: np.ndarray, coords: np.ndarray, centres: np.ndarray, path: Path) -> None:
    """Each tile must hold its spot's centre as the slide file has it.

    Raises
    ------
    IntegrityError
        Tiles that were cut elsewhere, as from another version of the coordinates.
    """
    row = {name: index for index, name in enumerate(spots.barcodes)}
    truth = spots.centres_px[[row[name] for name in names]]
    half = np.abs(centres - coords).max(axis=1, keepdims=True) + 1
    away = (np.abs(centres - truth) > half).any(axis=1)
    if away.any():
        raise IntegrityError(
            f"slide {spots.name}: {away.sum()} of {len(names)} tiles of {path} do not hold their spot (first: "
            f"{names[away][0]}). The tiles were cut for other coordinates: make tiles and counts from one source."
        )


def _encode_blocks(model: Encoder, images: Any, batch_size: int, what: str, path: Path) -> tuple[np.ndarray, str]:
    """(N, D) float32 features of (N, px, px, 3) tiles, and the tiles' hash; progress to stderr.

    Raises
    ------
    IntegrityError
        A block cannot be read, or its features are not numbers.
    """
    n = len(images)
    features = np.empty((n, model.dim), dtype=np.float32)
    digest = hashlib.sha256()
    begin = told = time.monotonic()
    for start in range(0, n, batch_size):
        try:
            block = images[start : start + batch_size]
        except OSError as error:
            raise IntegrityError(f"{path} is cut short ({error}): delete it and run `tile` again.") from error
        tiles_digest(digest, block)
        features[start : start + len(block)] = model.encode(block)
        now = time.monotonic()
        if now - told > _REPORT_S:
            told = now
            _tell(what, start + len(block), n, now - begin)
    _tell(what, n, n, time.monotonic() - begin)
    broken = ~np.isfinite(features).all(axis=1)
    if broken.any():
        raise IntegrityError(
            f"{what}: {broken.sum()} of {n} tiles gave features that are not numbers (first: tile "
            f"{np.flatnonzero(broken)[0]} of {path}). Use precision fp32."
        )
    return features, digest.hexdigest()


def _tell(what: str, done: int, total: int, seconds: float) -> None:
    rate = done / max(seconds, 1e-9)
    print(f"embed {what}: {done} of {total} tiles, {rate:.0f} tiles/s", file=sys.stderr, flush=True)
