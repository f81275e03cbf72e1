"""Reading ``predictions.h5ad`` without anndata: a fold's measured and predicted expression, checked for wholeness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stflow.errors import IntegrityError
from stflow.evaluation.ensemble import LAYERS
from stflow.io import numbers, open_h5, reading
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
    interval
        Share that ``lower`` and ``upper`` should hold, where several samples were drawn; else None.
    layers
        What several samples left, `stflow.evaluation.ensemble.LAYERS` -> (N, G); else empty.
    """

    run: Run
    genes: tuple[str, ...]
    slide: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    centres_px: np.ndarray
    status: str
    reason: str
    interval: float | None = None
    layers: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the run ended without a prediction."""
        return self.status != "ok"


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file.

    Raises
    ------
    IntegrityError
        Missing, cut short, with another number of spots than was written, without the layers of the samples that it
        says were drawn, or with predictions that are not finite.
    """
    again = "Delete it and run `predict` again."
    with open_h5(path) as handle, reading(path, again):
        keys = ["X", "layers/measured", "obsm/spatial", "obs/slide", "uns/stflow/run", "uns/stflow/n_spots"]
        sampled = "uns/stflow/samples" in handle and int(handle["uns/stflow/samples"][()]) > 1
        if sampled:
            keys += ["uns/stflow/interval", *(f"layers/{name}" for name in LAYERS)]
        missing = [key for key in keys if key not in handle]
        if missing:
            raise IntegrityError(f"{path} lacks {', '.join(missing)}: it is not a predictions file. {again}")
        meta = handle["uns/stflow"]
        found = Predictions(
            run=Run.parse(_text(meta, "run")),
            genes=tuple(_column(handle["var"], str(handle["var"].attrs["_index"]))),
            slide=_column(handle["obs"], "slide"),
            measured=numbers(handle["layers/measured"], (None, None)),
            predicted=numbers(handle["X"], (None, None)),
            centres_px=numbers(handle["obsm/spatial"], (None, 2)),
            status=_text(meta, "status", "ok"),
            reason=_text(meta, "reason", ""),
            interval=float(meta["interval"][()]) if sampled else None,
            layers={name: numbers(handle[f"layers/{name}"], (None, None)) for name in LAYERS} if sampled else {},
        )
        expected = int(meta["n_spots"][()])
    shape = (expected, len(found.genes))
    predicted = {"X": found.predicted, **found.layers}
    parts = {name: values.shape for name, values in {**predicted, "measured": found.measured}.items()}
    parts["centres"] = found.centres_px.shape
    shapes = {name: (expected, 2) if name == "centres" else shape for name in parts}
    if len(found.slide) != expected or parts != shapes:
        told = ", ".join(f"{name} {part}" for name, part in parts.items())
        raise IntegrityError(f"{path} holds {len(found.slide)} spots, {told}; {shape} was promised. {again}")
    for name, values in predicted.items():
        if not found.failed and not np.isfinite(values).all():
            raise IntegrityError(
                f"{path}: {np.count_nonzero(~np.isfinite(values))} predicted values are not finite ({name}) though the "
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
