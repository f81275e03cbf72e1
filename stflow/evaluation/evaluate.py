"""The long metrics file ``metrics/<group>.parquet``: one row a gene x slide x fold x seed x metric.

Every table and every later test derives from these rows; scoring again never trains again. ``slide`` is ``all`` for
the test spots of a fold pooled, as the paper scores, and a slide's name for its own spots. The scores of maps
(`SPATIAL`) exist a slide at a time: their row ``all`` is the mean over the fold's slides that have one. The spot-wise
correlation has no gene: its rows say `ALL_GENES`, and hold the mean over spots that have one.

`MOMENTS` are rows as well: with ``n_spots`` of each slide, the pooled Pearson of any choice of slides follows from
them. Runs whose predictions are of several samples have ``crps``, ``coverage_<percent>`` and ``interval_width`` beside
the others. A failed run has all its rows too: status ``failed``, value NaN, and the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stflow.errors import IntegrityError
from stflow.evaluation.metrics import (
    ALL_GENES,
    METRICS,
    SPATIAL,
    SPOTWISE,
    ensemble_metrics,
    ensemble_names,
    spatial_metrics,
    spotwise,
)
from stflow.evaluation.moments import MOMENTS, moments
from stflow.evaluation.predictions import Predictions, read_predictions
from stflow.io import SCHEMA_VERSION, atomic_path
from stflow.layout import Group, Layout

#: The value of ``slide`` for all test spots of a fold pooled.
POOLED = "all"

#: Written into the file, and raised when its metrics change: files of another version are refused.
METRICS_VERSION = "2"

#: Columns of the metrics file and their types.
COLUMNS: dict[str, str] = {
    "benchmark": "string",
    "dataset": "string",
    "encoder": "string",
    "method": "string",
    "variant": "string",
    "protocol": "string",
    "fold": "int64",
    "seed": "int64",
    "slide": "string",
    "gene": "string",
    "metric": "string",
    "value": "double",
    "n_spots": "int64",
    "status": "string",
    "reason": "string",
}


def evaluate_group(results: Path, group: str, folds: Sequence[int], seeds: Sequence[int], out: Path) -> None:
    """Score every fold and seed of one group and write its metrics file.

    Parameters
    ----------
    results
        Results folder.
    group
        ``benchmark/dataset/encoder/method/variant/protocol``.
    folds, seeds
        The runs to score.
    out
        Parquet file to write.

    Raises
    ------
    IntegrityError
        Predictions that are missing, cut short, or of another run.
    """
    layout, parsed = Layout(Path(results)), Group.parse(group)
    rows: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for fold in sorted(folds):
        for seed in sorted(seeds):
            run = parsed.run(fold, seed)
            path = layout.predictions(run)
            predictions = read_predictions(path)
            if predictions.run != run:
                raise IntegrityError(
                    f"{path} holds the predictions of {predictions.run}. Delete it and run `predict` again."
                )
            for row in score(predictions):
                for name, value in zip(COLUMNS, row, strict=True):
                    rows[name].append(value)
    _write(Path(out), rows)


def score(predictions: Predictions) -> Iterator[tuple[Any, ...]]:
    """Rows of one run, in the order of `COLUMNS`: pooled first, then slide by slide, metric by metric, gene by gene."""
    run = predictions.run
    group = run.group
    names = (group.benchmark, group.dataset, group.encoder, group.method, group.variant, group.protocol)
    slides = {slide: predictions.slide == slide for slide in dict.fromkeys(predictions.slide)}
    found = {slide: _scores(predictions, here) | _of_maps(predictions, here) for slide, here in slides.items()}
    pooled = {name: _mean(np.stack([of_slide[name] for of_slide in found.values()])) for name in SPATIAL}
    found = {POOLED: _scores(predictions, slice(None)) | pooled, **found}
    for slide, scores in found.items():
        n_spots = len(predictions.slide) if slide == POOLED else np.count_nonzero(slides[slide])
        for metric, values in scores.items():
            genes = (ALL_GENES,) if metric == SPOTWISE else predictions.genes
            for gene, value in zip(genes, values.tolist(), strict=True):
                yield (
                    *names,
                    run.fold,
                    run.seed,
                    slide,
                    gene,
                    metric,
                    value,
                    n_spots,
                    predictions.status,
                    predictions.reason,
                )


def _scores(predictions: Predictions, here: slice | np.ndarray) -> dict[str, np.ndarray]:
    """Metric -> (G,) values of the spots ``here``, NaN if the run failed; of `SPOTWISE`, one value.

    Several samples have more metrics.
    """
    interval = predictions.interval
    if predictions.failed:
        names = [*METRICS, *MOMENTS, *(() if interval is None else ensemble_names(interval))]
        return {name: np.full(len(predictions.genes), np.nan) for name in names} | {SPOTWISE: np.array([np.nan])}
    measured, predicted = predictions.measured[here], predictions.predicted[here]
    found = {name: function(measured, predicted) for name, function in METRICS.items()}
    found |= moments(measured, predicted)
    if interval is not None:
        lower, upper, crps = (predictions.layers[name][here] for name in ("lower", "upper", "crps"))
        found |= ensemble_metrics(measured, lower, upper, crps, interval)
    return found | {SPOTWISE: _mean(spotwise(measured, predicted)[:, None])}


def _of_maps(predictions: Predictions, here: np.ndarray) -> dict[str, np.ndarray]:
    """`SPATIAL` -> (G,) values of the slide whose spots are ``here``, NaN if the run failed."""
    if predictions.failed:
        return {name: np.full(len(predictions.genes), np.nan) for name in SPATIAL}
    return spatial_metrics(predictions.measured[here], predictions.predicted[here], predictions.centres_px[here])


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean along the first axis without what is NaN; NaN where all is."""
    there = ~np.isnan(values)
    count = there.sum(axis=0)
    return np.where(count > 0, np.where(there, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _write(path: Path, rows: dict[str, list[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {name: pa.array(rows[name], type=pa.type_for_alias(kind)) for name, kind in COLUMNS.items()},
        metadata={
            "stflow_schema": str(SCHEMA_VERSION),
            "stflow_metrics": METRICS_VERSION,
            "n_rows": str(len(rows["gene"])),
        },
    )
    with atomic_path(path) as partial:
        pq.write_table(table, partial, compression="zstd", write_page_checksum=True)
