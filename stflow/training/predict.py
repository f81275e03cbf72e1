"""Stage `predict`: the test slides of one run, predicted and measured side by side.

``predictions.h5ad`` is an AnnData over all test spots of the fold, slides one after the other:

    X                   (N, G) float32 predicted log1p counts; NaN if the run failed
    layers["measured"]  (N, G) float32 measured log1p counts
    obsm["spatial"]     (N, 2) float64 spot centres, level-0 px of the spot's slide
    obs                 slide, patient, barcode;  obs_names = slide_barcode;  var_names = genes
    uns["stflow"]       schema, run, trained_as (the variant whose model it is), status (ok or failed), reason, n_spots

A variant that differs from another only in settings of sampling is predicted from that one's trained model, and starts
from the noise that is named after it: step counts are compared from the same draws.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stflow.data.slide import Slide
from stflow.device import is_out_of_memory, resolve, set_threads
from stflow.errors import ConfigError, IntegrityError, RunFailed
from stflow.h5 import write_anndata
from stflow.io import SCHEMA_VERSION, read_json
from stflow.layout import Run
from stflow.models import METHODS
from stflow.models.base import Method
from stflow.training.inputs import Inputs


def predict_run(
    results: Path,
    run: str,
    manifest: Path,
    settings: str = "{}",
    trained_as: str = "",
    *,
    threads: int = 1,
    device: str = "auto",
    by_slide: bool = False,
) -> None:
    """Predict every test slide of a trained run and write predictions.h5ad.

    A run whose training failed, or that runs out of memory here, gets a file of status ``failed``.

    Parameters
    ----------
    results, run, manifest, threads, device, by_slide
        As of `stflow.training.train.train_run`.
    settings
        JSON of the settings of sampling that differ from those of the training.
    trained_as
        The variant whose model predicts; default: the run's own.

    Raises
    ------
    ConfigError
        Settings that a trained model cannot change.
    IntegrityError
        The run is not trained, or its model file is broken.
    DataError
        Slides or features that cannot be used.
    """
    start = time.monotonic()
    set_threads(threads)
    inputs = Inputs.of(results, run, manifest, by_slide=by_slide)
    trained = inputs.run.of_variant(trained_as or inputs.run.group.variant)
    path = inputs.layout.run_json(trained)
    if not path.is_file():
        raise IntegrityError(f"{path} does not exist: the run is not trained. Run `stflow train` first.")
    record = read_json(path)
    sampling = _parse(settings)
    slides = inputs.read(inputs.fold.test)
    reason = str(record["reason"]) if record["status"] == "failed" else ""
    shape = (sum(map(len, slides)), len(inputs.task.genes))
    predicted = np.full(shape, np.nan, dtype=np.float32)
    if not reason:
        try:
            predicted = _predict(inputs, trained, sampling, slides, device)
        except (RunFailed, MemoryError, RuntimeError) as error:
            if not isinstance(error, RunFailed) and not is_out_of_memory(error):
                raise
            reason = str(error) or type(error).__name__
    _write(inputs, trained, slides, predicted, reason)
    outcome = f"failed: {reason}" if reason else "ok"
    print(
        f"stflow predict: {run}: {shape[0]} spots of {len(slides)} slides, {outcome}, {time.monotonic() - start:.1f} s",
        file=sys.stderr,
    )


def _parse(settings: str) -> dict[str, object]:
    """Settings as the command line gives them.

    Raises
    ------
    ConfigError
        They are not a JSON object.
    """
    try:
        values = json.loads(settings)
    except json.JSONDecodeError as error:
        raise ConfigError(f"settings {settings!r} are not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f'settings {settings!r} are not a JSON object; write e.g. {{"steps": 2}}')
    return values


def _predict(
    inputs: Inputs, trained: Run, sampling: Mapping[str, object], slides: Sequence[Slide], device: str
) -> np.ndarray:
    """(N, G) float32 predictions of all slides.

    Raises
    ------
    RunFailed
        The method gave numbers that are not finite.
    """
    cls: type[Method] = METHODS.get(inputs.run.group.method)
    where = resolve(device) if cls.needs_gpu else "cpu"
    method = cls.load(inputs.layout.model(trained), sampling)
    parts = [method.predict(slide, seed=inputs.run.seed, device=where) for slide in slides]
    predicted = np.concatenate(parts).astype(np.float32, copy=False)
    if not np.isfinite(predicted).all():
        raise RunFailed("the predictions are not finite: the model diverged.")
    return predicted


def _write(inputs: Inputs, trained: Run, slides: Sequence[Slide], predicted: np.ndarray, reason: str) -> None:
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
                "trained_as": trained.group.variant,
                "status": "failed" if reason else "ok",
                "reason": reason,
                "n_spots": len(names),
            }
        },
    )
    write_anndata(inputs.layout.predictions(inputs.run), adata)
