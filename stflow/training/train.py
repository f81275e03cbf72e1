"""Stage `train`: fit one method on one fold with one seed, and write what it learned and how it went.

model.safetensors   everything learned (no tensors if the run failed)
history.csv         a row an epoch; header only for methods without epochs
run.json            what was run on what, and how it ended; wall times are here and nowhere else, so that the
                    other two files are the same bits whenever the run is repeated
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stflow.csv_text import csv_text
from stflow.data.slide import Slide
from stflow.device import is_out_of_memory, resolve, set_threads
from stflow.errors import ConfigError, RunFailed
from stflow.io import SCHEMA_VERSION, atomic_path, sha256_file, write_json, write_text
from stflow.models import METHODS
from stflow.models.base import Fit, Method
from stflow.training.inputs import Inputs, sha256_slide
from stflow.training.stopwatch import Stopwatch

#: File in the run's folder that a killed training resumes from; gone when the run has ended.
CHECKPOINT = "checkpoint.safetensors"

HISTORY_COLUMNS = ("epoch", "loss", "score", "learning_rate")
_PACKAGES = ("stflow", "numpy", "scipy", "torch", "scikit-learn")


def train_run(
    results: Path,
    run: str,
    manifest: Path,
    settings: str,
    *,
    weights: Path | None = None,
    threads: int = 1,
    device: str = "auto",
    by_slide: bool = False,
) -> None:
    """Train one run and write its model, history and run.json.

    A run that fails for reasons of its own (`RunFailed`, out of memory) ends normally: the files are written, with
    status ``failed`` and the reason, and the workflow goes on. Errors of data or code are raised.

    Parameters
    ----------
    results
        Folder of everything that is made.
    run
        Name of the run: ``benchmark/dataset/encoder/method/variant/protocol/foldN/seedN``.
    manifest
        Split manifest of the benchmark.
    settings
        The method's settings as JSON; what it leaves out takes its default.
    weights
        File of published weights that the method starts from (`Method.initial_weights`).
    threads, device
        CPU threads; ``auto``, ``cpu`` or ``cuda`` (methods that gain nothing from a GPU stay on the CPU).
    by_slide
        The paper protocol's folds may share patients.

    Raises
    ------
    ConfigError
        The settings are not those of the method.
    DataError
        Fold, genes, slides or features that cannot be used.
    WeightsError
        The method starts from published weights, and ``weights`` is not their file.
    """
    start, clock = time.monotonic(), Stopwatch()
    clock.seconds["start-up"] = time.process_time()  # of the interpreter, and imports until here
    set_threads(threads)
    inputs = Inputs.of(results, run, manifest, by_slide=by_slide)
    cls: type[Method] = METHODS.get(inputs.run.group.method)
    try:
        method = cls(cls.Settings.model_validate_json(settings), replace(inputs.task, weights=weights))
    except ValidationError as error:
        raise ConfigError(f"settings of {cls.name} cannot be used: {error}") from error
    with clock("imports"):
        where = resolve(device) if cls.needs_gpu else "cpu"
    with clock("reading"):
        train, select = inputs.roles(selects=cls.selects, tiles=cls.reads_tiles(method.settings))
    _log(
        f"{run}: {sum(map(len, train))} spots of {len(train)} slides, {len(inputs.task.genes)} genes, "
        f"{len(select)} slides choose the epoch ({inputs.fold.select_by if cls.selects else 'none needed'}), {where}"
    )

    layout = inputs.layout
    checkpoint = layout.run_dir(run) / CHECKPOINT
    fit, reason = Fit(), ""
    try:
        fit = method.fit(train, select, seed=inputs.run.seed, checkpoint=checkpoint, device=where)
    except (RunFailed, MemoryError, RuntimeError) as error:
        reason = failure(error)
        if not reason:
            raise
        _log(f"{run} failed: {reason}")

    with clock("writing"):
        if reason:
            _write_failed_model(layout.model(run), cls.name, reason)
        else:
            method.save(layout.model(run))
        write_text(layout.history(run), _history_csv(fit))
        hashes = _hashes((*train, *select), inputs)
    seconds = time.monotonic() - start
    write_json(
        layout.run_json(run),
        {
            "schema": SCHEMA_VERSION,
            "run": run,
            "status": "failed" if reason else "ok",
            "reason": reason,
            "method": cls.name,
            "settings": method.settings.model_dump(mode="json"),
            "seed": inputs.run.seed,
            "weights_sha256": weights and sha256_file(weights),
            "select_by": inputs.fold.select_by if cls.selects else None,
            "slides": {
                "train": [slide.name for slide in train],
                "select": [slide.name for slide in select],
                "test": list(inputs.fold.test),
            },
            "spots": {"train": sum(map(len, train)), "select": sum(map(len, select))},
            "genes": len(inputs.task.genes),
            "fit": fit.facts,
            "device": where,
            "threads": threads,
            "seconds": round(seconds, 3),
            "seconds_by_phase": _added(clock.rounded(), fit.seconds),
            "peak_memory": peak_memory(where),
            "versions": _versions(),
            "inputs_sha256": hashes,
        },
    )
    checkpoint.unlink(missing_ok=True)
    _log(f"{run}: {'failed' if reason else 'ok'} after {seconds:.1f} s")


def failure(error: BaseException) -> str:
    """Why a run failed, if ``error`` is an expected way to fail; empty for a bug, which must be raised."""
    if isinstance(error, RunFailed):
        return str(error)
    if is_out_of_memory(error):
        return f"out of memory: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return ""


def peak_memory(device: str) -> dict[str, float]:
    """Most memory this process has held, MB (10^6 bytes): of the host, and on ``cuda`` of the GPU."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB on Linux
    peak = {"host_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)}
    if device == "cuda":
        import torch

        peak["gpu_mb"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    return peak


def _write_failed_model(path: Path, method: str, reason: str) -> None:
    from safetensors.numpy import save

    with atomic_path(path) as partial:
        partial.write_bytes(save({}, metadata={"stflow": json.dumps({"method": method, "failed": reason})}))


def _added(*phases: Mapping[str, float]) -> dict[str, float]:
    """Seconds of phases that may come in several."""
    names = dict.fromkeys(name for part in phases for name in part)
    return {name: round(sum(part.get(name, 0.0) for part in phases), 3) for name in names}


def _history_csv(fit: Fit) -> str:
    extra = sorted({key for row in fit.history for key in row} - set(HISTORY_COLUMNS))
    return csv_text([*HISTORY_COLUMNS, *extra], fit.history)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _hashes(slides: Sequence[Slide], inputs: Inputs) -> dict[str, str]:
    """Slide -> hash of what the method saw; parts of one slide are numbered."""
    found: dict[str, str] = {}
    for slide in slides:
        name = slide.name if slide.name not in found else f"{slide.name} (second part)"
        found[name] = sha256_slide(slide, inputs.task)
    return found


def _log(message: Any) -> None:
    print(f"stflow train: {message}", file=sys.stderr, flush=True)
