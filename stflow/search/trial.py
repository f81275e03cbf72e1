"""Stage `search trials`: train candidates on one fold of the clean protocol, and keep their selection scores.

The training is `Method.fit` on the slides that the run of the same name would train on, with its seed and the names of
its random draws: a candidate with the run's settings and epochs is that run, and two candidates differ by their
settings alone. Test slides are not read. No model is kept.

A job trains several candidates one after the other. What is done stays in ``<out>.kept`` until the job ends, so that a
killed one goes on with the next candidate.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stflow.data.slide import Slide
from stflow.device import resolve, set_threads
from stflow.errors import ConfigError, RunFailed
from stflow.io import SCHEMA_VERSION, read_json, sha256_json, write_json
from stflow.models import METHODS
from stflow.models.base import Method
from stflow.provenance import code_hash
from stflow.search.space import Grid, Scalar, Space, key
from stflow.training.inputs import Inputs, sha256_slide
from stflow.training.train import failure


def train_trials(
    results: Path,
    run: str,
    manifest: Path,
    settings: str,
    out: Path,
    *,
    grid: str = "",
    ranking: Path | None = None,
    first: int = 0,
    count: int = 0,
    epochs: int | None = None,
    weights: Path | None = None,
    threads: int = 1,
    device: str = "auto",
    by_slide: bool = False,
) -> None:
    """Train some candidates and write what came of each.

    Parameters
    ----------
    results, run, manifest, weights, threads, device, by_slide
        As of `stflow.training.train.train_run`.
    settings
        Settings of the method as JSON, which the candidates' values replace.
    out
        JSON file: ``trials``, each with settings, status, reason, score, best_epoch and seconds, and what they share.
    grid
        First rung: JSON of the grid whose candidates are trained.
    ranking, first, count
        Later rungs: the ranking of the rung before, and the places in it that are trained.
    epochs
        Epochs of the rung; None: those of the settings.

    Raises
    ------
    ConfigError
        The settings are not those of the method.
    DataError
        Fold, genes, slides or features that cannot be used.
    """
    start = time.monotonic()
    set_threads(threads)
    inputs = Inputs.of(results, run, manifest, by_slide=by_slide)
    inputs = replace(inputs, task=replace(inputs.task, weights=weights))
    cls: type[Method] = METHODS.get(inputs.run.group.method)
    candidates = _candidates(grid, ranking, first, count)
    where = resolve(device) if cls.needs_gpu else "cpu"
    base = {**_parsed(settings), **({} if epochs is None else {"epochs": epochs})}
    reads_tiles = any(_reads_tiles(cls, {**base, **candidate}) for candidate, _ in candidates)
    train, select = inputs.roles(selects=cls.selects, tiles=reads_tiles)
    shared = {
        "run": str(inputs.run),
        "select_by": inputs.fold.select_by,
        "slides": {"train": [slide.name for slide in train], "select": [slide.name for slide in select]},
        "spots": {"train": sum(map(len, train)), "select": sum(map(len, select))},
        "device": where,
        "threads": threads,
    }
    print(
        f"stflow search: {run}: {len(candidates)} candidates, {epochs or 'all'} epochs, {len(train)} training slides, "
        f"{len(select)} choose ({inputs.fold.select_by}), {where}",
        file=sys.stderr,
        flush=True,
    )
    fingerprint = sha256_json(
        {
            "shared": shared,
            "settings": settings,
            "epochs": epochs,
            "code": code_hash(__name__, METHODS.module(cls.name)),
            "slides": [sha256_slide(slide, inputs.task) for slide in (*train, *select)],
        }
    )
    kept = out.with_name(f"{out.name}.kept")
    done = _kept(kept, fingerprint)
    for number, (candidate, reason) in enumerate(candidates, start=1):
        if key(candidate) not in done:
            trial = (
                _failed(candidate, reason)
                if reason
                else _train(cls, {**base, **candidate}, candidate, inputs, train, select, where)
            )
            done[key(candidate)] = trial
            write_json(kept, {"fingerprint": fingerprint, "trials": done})
            told = trial["reason"] or f"score {trial['score']:.4f}"
            print(f"stflow search: {number} of {len(candidates)}: {candidate}: {told}", file=sys.stderr, flush=True)
    trials = [done[key(candidate)] for candidate, _ in candidates]
    seconds = round(time.monotonic() - start, 3)
    write_json(out, {"schema": SCHEMA_VERSION, **shared, "epochs": epochs, "seconds": seconds, "trials": trials})
    kept.unlink(missing_ok=True)


def _reads_tiles(cls: type[Method], settings: Mapping[str, object]) -> bool:
    """Whether the method reads tiles with these settings; False for those that it refuses, which fail in their turn."""
    try:
        return cls.reads_tiles(cls.Settings.model_validate(settings))
    except ValidationError:
        return False


def _train(
    cls: type[Method],
    settings: Mapping[str, object],
    candidate: Mapping[str, Scalar],
    inputs: Inputs,
    train: Sequence[Slide],
    select: Sequence[Slide],
    device: str,
) -> dict[str, Any]:
    """What came of one candidate. One that its method refuses, that diverges or finds no memory has failed."""
    start = time.monotonic()
    try:
        method = cls(cls.Settings.model_validate(settings), inputs.task)
        fit = method.fit(train, select, seed=inputs.run.seed, device=device)
    except ValidationError as error:
        return _failed(candidate, "; ".join(str(item["msg"]) for item in error.errors()))
    except (RunFailed, MemoryError, RuntimeError) as error:
        reason = failure(error)
        if not reason:
            raise
        return _failed(candidate, reason, time.monotonic() - start)
    score = fit.facts.get("best_score")
    if not isinstance(score, float) or not math.isfinite(score):
        return _failed(candidate, f"no selection score, but {score}", time.monotonic() - start)
    return {
        "settings": dict(candidate),
        "status": "ok",
        "reason": "",
        "score": score,
        "best_epoch": fit.facts.get("best_epoch"),
        "epochs": fit.facts.get("epochs"),
        "seconds": round(time.monotonic() - start, 3),
    }


def _failed(candidate: Mapping[str, Scalar], reason: str, seconds: float = 0.0) -> dict[str, Any]:
    return {
        "settings": dict(candidate),
        "status": "failed",
        "reason": reason,
        "score": None,
        "best_epoch": None,
        "epochs": None,
        "seconds": round(seconds, 3),
    }


def _candidates(grid: str, ranking: Path | None, first: int, count: int) -> list[tuple[dict[str, Scalar], str]]:
    """Candidates to train, each with the reason why it has failed already."""
    if ranking is None:
        values: Grid = _parsed(grid)
        return [(candidate, "") for candidate in Space(values).candidates()]
    trials = read_json(ranking)["trials"][first : first + count]
    return [(trial["settings"], trial["reason"]) for trial in trials]


def _parsed(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise ConfigError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{text!r} is not a JSON object.")
    return values


def _kept(path: Path, fingerprint: str) -> dict[str, Any]:
    """Trials that a killed job has left, if they are of the same candidates, data and code."""
    if not path.is_file():
        return {}
    values = read_json(path)
    return dict(values["trials"]) if values.get("fingerprint") == fingerprint else {}
