"""Stage `refine`: what the network guesses at every sampling step of a prediction, of a few genes on one slide.

``refinement/<run>/<slide>.h5``:

    guesses        (S, N, n_genes) float32 log1p counts; the last is the prediction, the same to the bit on a CPU
    times          (S,) the flow's time at which each was asked
    measured       (N, n_genes) float32 log1p counts
    centres        (N, 2) float64 spot centres, level-0 px
    genes          (n_genes,) symbols
    attributes     schema, run, slide, n_spots, status (ok or failed), reason

Where the prediction is the mean of several samples, these are the guesses of the first.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stflow.device import is_out_of_memory, resolve, set_threads
from stflow.errors import DataError, GeneError, IntegrityError, RunFailed
from stflow.flow.sampler import times as sampling_times
from stflow.h5 import create_h5
from stflow.io import SCHEMA_VERSION, read_json, reading
from stflow.models.base import parse_settings
from stflow.models.stflow import STFlow, STFlowSettings
from stflow.training.inputs import Inputs


def refine_run(
    results: Path,
    run: str,
    manifest: Path,
    slide: str,
    genes: Sequence[str],
    out: Path,
    settings: str = "{}",
    trained_as: str = "",
    *,
    threads: int = 1,
    device: str = "auto",
    by_slide: bool = False,
) -> None:
    """Record the guesses of a trained STFlow on one of its test slides.

    Parameters
    ----------
    results, run, manifest, settings, trained_as, threads, device, by_slide
        As of `stflow.training.predict.predict_run`.
    slide
        One of the fold's test slides.
    genes
        Genes to keep, of those that the run predicts.
    out
        File to write.

    Raises
    ------
    ConfigError
        Settings that a trained model cannot change.
    GeneError
        A gene that the run does not predict.
    DataError
        A run of another method, or a slide that its fold does not test.
    IntegrityError
        The run is not trained, or its model file is broken.
    """
    start = time.monotonic()
    set_threads(threads)
    inputs = Inputs.of(results, run, manifest, by_slide=by_slide)
    if inputs.run.group.method != STFlow.name:
        raise DataError(f"{run} samples in no steps: only {STFlow.name} refines what it predicts.")
    if slide not in inputs.fold.test:
        raise DataError(f"{run} tests {', '.join(inputs.fold.test)}, not {slide}. Name the fold that tests it.")
    if missing := [gene for gene in genes if gene not in inputs.task.genes]:
        raise GeneError(f"{run} does not predict {', '.join(missing)}. Name other genes under figures.figure6.")
    trained = inputs.run.of_variant(trained_as or inputs.run.group.variant)
    path = inputs.layout.run_json(trained)
    if not path.is_file():
        raise IntegrityError(f"{path} does not exist: the run is not trained. Run `stflow train` first.")
    record, sampling = read_json(path), parse_settings(settings)
    with reading(path, "Train the run again."):
        used = STFlow.resampled(record["settings"], sampling)
        reason = str(record["reason"]) if record["status"] == "failed" else ""
    assert isinstance(used, STFlowSettings)
    (section,) = inputs.read([slide])
    columns = [inputs.task.genes.index(gene) for gene in genes]
    at = np.array(sampling_times(used.steps, used.times)[:-1])
    guesses = np.empty((len(at), len(section), len(genes)), dtype=np.float32)
    if not reason:
        try:
            method = inputs.load_model(STFlow, trained, sampling)
            drawn = method.refine(section, seed=inputs.run.seed, device=resolve(device))
            for place, guess in zip(guesses, drawn, strict=True):
                place[:] = guess[:, columns]
        except (RunFailed, MemoryError, RuntimeError) as error:
            if not isinstance(error, RunFailed) and not is_out_of_memory(error):
                raise
            reason = str(error) or type(error).__name__
    with create_h5(out, guesses.nbytes) as handle:
        handle["guesses"] = guesses[:0] if reason else guesses
        handle["times"] = at
        handle["measured"] = section.expression(tuple(genes))
        handle["centres"] = section.centres_px
        handle["genes"] = list(genes)
        handle.attrs.update(
            schema=SCHEMA_VERSION,
            run=str(inputs.run),
            slide=slide,
            n_spots=len(section),
            status="failed" if reason else "ok",
            reason=reason,
        )
    outcome = f"failed: {reason}" if reason else f"{len(at)} steps"
    print(f"stflow refine: {run}: {slide}, {outcome}, {time.monotonic() - start:.1f} s", file=sys.stderr)
