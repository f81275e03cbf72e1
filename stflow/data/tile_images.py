"""The tiles of a slide's spots, read from their file when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stflow.errors import IntegrityError
from stflow.io import open_h5, reading


@dataclass(frozen=True, eq=False)
class TileImages:
    """The tiles of N spots.

    Attributes
    ----------
    path
        Tiles file (`stflow.wsi.tiles`).
    rows
        (N,) int64 row in the file of every spot's tile.
    barcodes
        (N,) spot names.
    sha256
        What identifies the pixels: the hash that the file records, else its size and place.
    """

    path: Path
    rows: np.ndarray
    barcodes: np.ndarray
    sha256: str

    @classmethod
    def of(cls, path: Path) -> TileImages:
        """All tiles of a file, in its order.

        Raises
        ------
        IntegrityError
            The file is cut short, or is not a tiles file.
        """
        with open_h5(path) as handle, reading(path, "Make it again."):
            missing = [key for key in ("img", "barcode") if key not in handle]
            if missing:
                raise IntegrityError(f"{path} lacks {', '.join(missing)}: it is not a tiles file. Make it again.")
            names = np.asarray(handle["barcode"].asstr()[:].ravel(), dtype=object)
            recorded = str(handle.attrs.get("img_sha256", ""))
            shape = handle["img"].shape
            if len(shape) != 4 or handle["img"].dtype != np.uint8:
                raise IntegrityError(f"{path}: img is {shape} {handle['img'].dtype}, not tiles. Make it again.")
        if len(names) != shape[0]:
            raise IntegrityError(f"{path} holds {shape[0]} tiles and {len(names)} barcodes. Make it again.")
        return cls(Path(path), np.arange(len(names)), names, recorded or f"{Path(path).stat().st_size} {shape}")

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, index: np.ndarray) -> TileImages:
        """The tiles of only the spots of ``index`` ((M,) integers or (N,) booleans), in that order."""
        return replace(self, rows=self.rows[index], barcodes=self.barcodes[index])

    def read(self, index: np.ndarray | None = None) -> np.ndarray:
        """(M, px, px, 3) uint8 tiles of the spots ``index`` ((M,) integers, in any order), or of all."""
        rows = self.rows if index is None else self.rows[index]
        wanted, back = np.unique(rows, return_inverse=True)
        with open_h5(self.path) as handle, reading(self.path, "Make it again."):
            img = handle["img"]
            if len(wanted) and wanted[-1] - wanted[0] + 1 == len(wanted):
                tiles = img[wanted[0] : wanted[-1] + 1]
            else:
                # A list of rows costs HDF5 some 17 ms a row; one row after the other, a fifth of a millisecond each.
                tiles = np.empty((len(wanted), *img.shape[1:]), dtype=img.dtype)
                for place, row in zip(tiles, wanted, strict=True):
                    place[:] = img[row]
        return np.asarray(tiles)[back]
