"""Reading ``predictions.h5ad`` without anndata: a fold's measured and predicted expression, checked for wholeness."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stflow.errors import IntegrityError
from stflow.io import open_h5
from stflow.layout import Run


@dataclass(frozen=True, eq=False)
class Predictions:
    """One run's test slides.

    Attributes
    ----------
    run
        Which run.
    genes
        (G,) symbols.
    slide
        (N,) the slide of each spot.
    measured, predicted
        (N, G) log1p counts; ``predicted`` means nothing where the run failed.
    centres_px
        (N, 2) spot centres, level-0 px, x then y.
    status, reason
        ``ok``, or ``failed`` and why (out of memory, diverged).
    """

    run: Run
    genes: tuple[str, ...]
    slide: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    centres_px: np.ndarray
    status: str
    reason: str

    @property
    def failed(self) -> bool:
        """Whether the run ended without a prediction."""
        return self.status != "ok"


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file.

    Raises
    ------
    IntegrityError
        Missing, cut short, with another number of spots than was written, or with predictions that are not finite.
    """
    again = "Delete it and run `predict` again."
    with open_h5(path) as handle:
        keys = ("X", "layers/measured", "obsm/spatial", "obs/slide", "uns/stflow/run", "uns/stflow/n_spots")
        missing = [key for key in keys if key not in handle]
        if missing:
            raise IntegrityError(f"{path} lacks {', '.join(missing)}: it is not a predictions file. {again}")
        meta = handle["uns/stflow"]
        try:
            found = Predictions(
                run=Run.parse(_text(meta, "run")),
                genes=tuple(_column(handle["var"], str(handle["var"].attrs["_index"]))),
                slide=_column(handle["obs"], "slide"),
                measured=handle["layers/measured"][:],
                predicted=handle["X"][:],
                centres_px=handle["obsm/spatial"][:],
                status=_text(meta, "status", "ok"),
                reason=_text(meta, "reason", ""),
            )
        except (OSError, KeyError, AttributeError, ValueError) as error:
            raise IntegrityError(f"{path} cannot be read whole ({error}). {again}") from error
        expected = int(meta["n_spots"][()])
    shape = (expected, len(found.genes))
    parts = {"X": found.predicted.shape, "measured": found.measured.shape}
    if len(found.slide) != expected or any(part != shape for part in parts.values()):
        raise IntegrityError(
            f"{path} holds {len(found.slide)} spots, X {parts['X']} and measured {parts['measured']}; "
            f"{shape} was promised. {again}"
        )
    if not found.failed and not np.isfinite(found.predicted).all():
        raise IntegrityError(
            f"{path}: {np.count_nonzero(~np.isfinite(found.predicted))} predicted values are not finite though the "
            f"run is marked ok. Look at the run's training log; {again[0].lower()}{again[1:]}"
        )
    return found


def _text(group: Any, key: str, default: str | None = None) -> str:
    if key not in group and default is not None:
        return default
    return str(group[key].asstr()[()])


def _column(frame: Any, name: str) -> np.ndarray:
    """A column of strings of an AnnData table, stored plain or as categories and codes."""
    node = frame[name]
    if hasattr(node, "keys"):
        categories = np.asarray(node["categories"].asstr()[:], dtype=object)
        return categories[node["codes"][:]]
    return np.asarray(node.asstr()[:], dtype=object)
