"""The features file: ``features/<encoder>/<benchmark>/<slide>.h5``.

features  (N, D) float32        coords  (N, 2) int64 top-left corners, level-0 px
barcodes  (N, 1) UTF-8          centres (N, 2) float64 spot centres, level-0 px
attrs: schema, encoder (with its variants), weights_sha256, transform, precision, batch_size, batch_asked, machine,
       code, tiles_sha256, source_sha256, n_expected, n_absent, features_sha256

``batch_size`` is the size of the batches that were encoded, ``batch_asked`` what was asked for (0: chosen from the
device's memory); a slide encoder has no batches. ``machine`` is what last bits depend on beside these: processor,
threads of a CPU, torch. ``code`` is a hash of the code, ``source_sha256`` for a slide encoder the hash of what it read:
features, corners and um/px; for the variant ``around`` that of the image and its tissue. ``n_absent`` counts the
patches of that variant that lie off the slide or the tissue: their features, and no others, are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stflow.encoders.around import n_absent
from stflow.errors import IntegrityError
from stflow.h5 import create_h5
from stflow.io import SCHEMA_VERSION, numbers, open_h5, reading, sha256_array


@dataclass(frozen=True, eq=False)
class Features:
    """One slide's features from one encoder; see the module's docstring for shapes and units."""

    features: np.ndarray
    barcodes: np.ndarray
    coords: np.ndarray
    centres: np.ndarray
    encoder: str
    weights_sha256: str
    transform: str
    precision: str
    tiles_sha256: str
    batch_size: int = 0
    batch_asked: int = 0
    machine: str = ""
    code: str = ""
    source_sha256: str = ""


def write_features(path: Path, table: Features) -> None:
    """Write a features file, atomically."""
    import h5py

    with create_h5(path, sealed=True) as handle:
        handle["features"] = np.ascontiguousarray(table.features, dtype=np.float32)
        handle.create_dataset("barcodes", data=[[str(name)] for name in table.barcodes], dtype=h5py.string_dtype())
        handle["coords"] = np.asarray(table.coords, dtype=np.int64)
        handle["centres"] = np.asarray(table.centres, dtype=np.float64)
        handle.attrs.update(
            schema=SCHEMA_VERSION,
            encoder=table.encoder,
            weights_sha256=table.weights_sha256,
            transform=table.transform,
            precision=table.precision,
            batch_size=table.batch_size,
            batch_asked=table.batch_asked,
            machine=table.machine,
            code=table.code,
            tiles_sha256=table.tiles_sha256,
            source_sha256=table.source_sha256,
            n_expected=len(table.barcodes),
            n_absent=n_absent(table.features, table.encoder),
            features_sha256=sha256_array(np.asarray(table.features, dtype=np.float32)),
        )


def read_features(path: Path) -> Features:
    """Read a features file.

    Raises
    ------
    IntegrityError
        Cut short, or its count or hash is not the one promised.
    """
    with open_h5(path) as handle, reading(path, "Delete it and run `embed` again."):
        missing = [key for key in ("features", "barcodes", "coords", "centres") if key not in handle]
        if missing or "n_expected" not in handle.attrs:
            raise IntegrityError(f"{path} lacks {', '.join(missing) or 'n_expected'}: delete it and run `embed` again.")
        attrs = dict(handle.attrs)
        features = numbers(handle["features"], (None, None), "f")
        barcodes = np.asarray(handle["barcodes"].asstr()[:].ravel(), dtype=object)
        coords, centres = numbers(handle["coords"], (None, 2)), numbers(handle["centres"], (None, 2))
        expected = int(attrs["n_expected"])
        if not (len(features) == len(barcodes) == len(coords) == len(centres) == expected):
            raise IntegrityError(
                f"{path} holds {len(features)} features and {len(barcodes)} barcodes, {expected} were promised: "
                "delete it and run `embed` again."
            )
        if sha256_array(features) != str(attrs["features_sha256"]):
            raise IntegrityError(
                f"{path}: the features' hash is not the one recorded: delete it and run `embed` again."
            )
        encoder = str(attrs["encoder"])
        absent, promised = n_absent(features, encoder), int(attrs.get("n_absent", 0))
        if absent != promised:
            raise IntegrityError(
                f"{path}: {absent} patches have no features, {promised} were promised: delete it and run `embed` again."
            )
        return Features(
            features=features,
            barcodes=barcodes,
            coords=coords,
            centres=centres,
            encoder=encoder,
            weights_sha256=str(attrs["weights_sha256"]),
            transform=str(attrs["transform"]),
            precision=str(attrs["precision"]),
            tiles_sha256=str(attrs["tiles_sha256"]),
            # Files of earlier versions do not say these.
            batch_size=int(attrs.get("batch_size", 0)),
            batch_asked=int(attrs.get("batch_asked", 0)),
            machine=str(attrs.get("machine", "")),
            code=str(attrs.get("code", "")),
            source_sha256=str(attrs.get("source_sha256", "")),
        )
