"""Stage `predict`: the test slides of one run, predicted and measured side by side.

``predictions.h5ad`` is an AnnData over all test spots of the fold, slides one after the other:

    X                   (N, G) float32 predicted log1p counts; NaN if the run failed
    layers["measured"]  (N, G) float32 measured log1p counts
    obsm["spatial"]     (N, 2) float64 spot centres, level-0 px of the spot's slide
    obs                 slide, patient, barcode;  obs_names = slide_barcode;  var_names = genes
    uns["stflow"]       schema, run, status (ok or failed), reason, n_spots
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stflow.data.slide import Slide
from stflow.device import is_out_of_memory, resolve, set_threads
from stflow.errors import IntegrityError, RunFailed
from stflow.h5 import write_anndata
from stflow.io import SCHEMA_VERSION, read_json
from stflow.models import METHODS
from stflow.models.base import Method
from stflow.training.inputs import Inputs


def predict_run(
    results: Path,
    run: str,
    manifest: Path,
    *,
    threads: int = 1,
    device: str = "auto",
    by_slide: bool = False,
) -> None:
    """Predict every test slide of a trained run and write predictions.h5ad.

    A run whose training failed, or that runs out of memory here, gets a file of status ``failed``.

    Raises
    ------
    IntegrityError
        The run is not trained, or its model file is broken.
    DataError
        Slides or features that cannot be used.
    """
    start = time.monotonic()
    set_threads(threads)
    inputs = Inputs.of(results, run, manifest, by_slide=by_slide)
    path = inputs.layout.run_json(run)
    if not path.is_file():
        raise IntegrityError(f"{path} does not exist: the run is not trained. Run `stflow train` first.")
    record = read_json(path)
    slides = inputs.read(inputs.fold.test)
    reason = str(record["reason"]) if record["status"] == "failed" else ""
    shape = (sum(map(len, slides)), len(inputs.task.genes))
    predicted = np.full(shape, np.nan, dtype=np.float32)
    if not reason:
        try:
            predicted = _predict(inputs, slides, device)
        except (RunFailed, MemoryError, RuntimeError) as error:
            if not isinstance(error, RunFailed) and not is_out_of_memory(error):
                raise
            reason = str(error) or type(error).__name__
    _write(inputs, slides, predicted, reason)
    outcome = f"failed: {reason}" if reason else "ok"
    print(
        f"stflow predict: {run}: {shape[0]} spots of {len(slides)} slides, {outcome}, {time.monotonic() - start:.1f} s",
        file=sys.stderr,
    )


def _predict(inputs: Inputs, slides: Sequence[Slide], device: str) -> np.ndarray:
    """(N, G) float32 predictions of all slides.

    Raises
    ------
    RunFailed
        The method gave numbers that are not finite.
    """
    cls: type[Method] = METHODS.get(inputs.run.group.method)
    where = resolve(device) if cls.needs_gpu else "cpu"
    method = cls.load(inputs.layout.model(inputs.run))
    parts = [method.predict(slide, seed=inputs.run.seed, device=where) for slide in slides]
    predicted = np.concatenate(parts).astype(np.float32, copy=False)
    if not np.isfinite(predicted).all():
        raise RunFailed("the predictions are not finite: the model diverged.")
    return predicted


def _write(inputs: Inputs, slides: Sequence[Slide], predicted: np.ndarray, reason: str) -> None:
    import anndata
    import pandas as pd

    genes = inputs.task.genes
    barcodes = [str(barcode) for slide in slides for barcode in slide.barcodes]
    names = [slide.name for slide in slides for _ in range(len(slide))]
    adata = anndata.AnnData(
        X=predicted,
        obs=pd.DataFrame(
            {
                "slide": names,
                "patient": [slide.patient for slide in slides for _ in range(len(slide))],
                "barcode": barcodes,
            },
            index=pd.Index([f"{name}_{barcode}" for name, barcode in zip(names, barcodes, strict=True)], dtype=str),
        ),
        var=pd.DataFrame(index=pd.Index(list(genes), dtype=str)),
        layers={"measured": np.concatenate([slide.expression(genes) for slide in slides])},
        obsm={"spatial": np.concatenate([slide.centres_px for slide in slides])},
        uns={
            "stflow": {
                "schema": SCHEMA_VERSION,
                "run": str(inputs.run),
                "status": "failed" if reason else "ok",
                "reason": reason,
                "n_spots": len(names),
            }
        },
    )
    write_anndata(inputs.layout.predictions(inputs.run), adata)
