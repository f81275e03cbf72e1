"""Stage `predict`: the test slides of one run, predicted and measured side by side.

``predictions.h5ad`` is an AnnData over all test spots of the fold, slides one after the other:

    X                   (N, G) float32 predicted log1p counts; NaN if the run failed
    layers["measured"]  (N, G) float32 measured log1p counts
    layers[...]         with several samples: std, lower, upper and crps of `stflow.evaluation.ensemble`, and X the mean
    obsm["spatial"]     (N, 2) float64 spot centres, level-0 px of the spot's slide
    obs                 slide, patient, barcode;  obs_names = slide_barcode;  var_names = genes
    uns["stflow"]       schema, run, trained_as (the variant whose model it is), status (ok or failed), reason, n_spots,
                        samples; with several also interval, the share that lower and upper should hold

A variant that differs from another only in settings of sampling is predicted from that one's trained model, and starts
from the noise that is named after it: step counts are compared from the same draws.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stflow.data.slide import Slide
from stflow.device import is_out_of_memory, resolve, set_threads
from stflow.errors import IntegrityError, RunFailed
from stflow.evaluation.ensemble import LAYERS, summarise
from stflow.h5 import write_anndata
from stflow.io import SCHEMA_VERSION, read_json, reading
from stflow.models import METHODS
from stflow.models.base import Method, parse_settings
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
    sampling = parse_settings(settings)
    cls: type[Method] = METHODS.get(inputs.run.group.method)
    with reading(path, "Train the run again."):
        reason = str(record["reason"]) if record["status"] == "failed" else ""
        used = cls.resampled(record["settings"], sampling)
    slides = inputs.read(inputs.fold.test, tiles=cls.reads_tiles(used))
    samples, interval = int(getattr(used, "samples", 1)), float(getattr(used, "interval", 0.0))
    shape = (sum(map(len, slides)), len(inputs.task.genes))
    arrays = {name: np.full(shape, np.nan, dtype=np.float32) for name in ("mean", *(LAYERS if samples > 1 else ()))}
    if not reason:
        try:
            where = resolve(device) if cls.needs_gpu else "cpu"
            method = inputs.load_model(cls, trained, sampling)
            arrays = _predict(method, slides, inputs.run.seed, samples, interval, where)
        except (RunFailed, MemoryError, RuntimeError) as error:
            if not isinstance(error, RunFailed) and not is_out_of_memory(error):
                raise
            reason = str(error) or type(error).__name__
    facts: dict[str, object] = {
        "schema": SCHEMA_VERSION,
        "run": str(inputs.run),
        "trained_as": trained.group.variant,
        "status": "failed" if reason else "ok",
        "reason": reason,
        "n_spots": shape[0],
        "samples": samples,
    }
    _write(inputs, slides, arrays, facts if samples == 1 else {**facts, "interval": interval})
    outcome = f"failed: {reason}" if reason else "ok"
    print(
        f"stflow predict: {run}: {shape[0]} spots of {len(slides)} slides, {outcome}, {time.monotonic() - start:.1f} s",
        file=sys.stderr,
    )


def _predict(
    method: Method, slides: Sequence[Slide], seed: int, samples: int, interval: float, device: str
) -> dict[str, np.ndarray]:
    """(N, G) float32 predictions of all slides, ``mean``, and with several samples the layers that go with it.

    Raises
    ------
    RunFailed
        The method gave numbers that are not finite.
    """
    parts: list[dict[str, np.ndarray]] = []
    for slide in slides:
        if samples == 1:
            parts.append({"mean": method.predict(slide, seed=seed, device=device)})
        else:
            measured = slide.expression(method.task.genes)
            draws = np.empty((samples, *measured.shape), dtype=np.float32)
            drawn = method.sample(slide, samples=samples, seed=seed, device=device)
            for place, draw in zip(draws, drawn, strict=True):
                place[:] = draw
            parts.append(summarise(draws, measured, interval))
        if not np.isfinite(parts[-1]["mean"]).all():
            raise RunFailed("the predictions are not finite: the model diverged.")
    return {name: np.concatenate([part[name] for part in parts]).astype(np.float32, copy=False) for name in parts[0]}


def _write(
    inputs: Inputs, slides: Sequence[Slide], arrays: Mapping[str, np.ndarray], facts: Mapping[str, object]
) -> None:
    import anndata
    import pandas as pd

    genes = inputs.task.genes
    barcodes = [str(barcode) for slide in slides for barcode in slide.barcodes]
    names = [slide.name for slide in slides for _ in range(len(slide))]
    adata = anndata.AnnData(
        X=arrays["mean"],
        obs=pd.DataFrame(
            {
                "slide": names,
                "patient": [slide.patient for slide in slides for _ in range(len(slide))],
                "barcode": barcodes,
            },
            index=pd.Index([f"{name}_{barcode}" for name, barcode in zip(names, barcodes, strict=True)], dtype=str),
        ),
        var=pd.DataFrame(index=pd.Index(list(genes), dtype=str)),
        layers={
            "measured": np.concatenate([slide.expression(genes) for slide in slides]),
            **{name: values for name, values in arrays.items() if name != "mean"},
        },
        obsm={"spatial": np.concatenate([slide.centres_px for slide in slides])},
        uns={"stflow": dict(facts)},
    )
    write_anndata(inputs.layout.predictions(inputs.run), adata)
