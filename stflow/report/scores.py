"""Scores past pooled Pearson: a block a dataset and protocol, a row a method, a column a score.

Every score is averaged as table 1 averages its own: over genes, then folds, then seeds. docs/scores.md has the
definitions; `stflow.evaluation.metrics` computes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stflow.errors import IntegrityError
from stflow.evaluation.aggregate import (
    GROUP,
    average_datasets,
    average_seeds,
    failures,
    over_seeds,
    read_metrics,
    run_scores,
    seed_scores,
    summarise,
)
from stflow.evaluation.metrics import SPOTWISE
from stflow.io import write_text
from stflow.report.columns import Column, encoders_told, labels, method_order
from stflow.report.render import MISSING, format_table, mark, number, ranks, to_csv
from stflow.report.table1 import failed_section, not_run_section, records

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Score:
    """A column of the table.

    Attributes
    ----------
    name
        In the CSV.
    metric
        In the metrics files.
    label
        In the page; empty: the CSV alone has it.
    best
        Which value is best; ``""``: none is.
    by_slide
        Of each slide alone, then the mean over slides; else of a fold's spots pooled.
    """

    name: str
    metric: str
    label: str
    best: Literal["high", "low", "one", ""] = ""
    by_slide: bool = False


SCORES = (
    Score("pearson", "pearson", "Pearson", "high"),
    Score("pearson_by_slide", "pearson", "by slide", "high", by_slide=True),
    Score("spearman", "spearman", "Spearman", "high"),
    Score("mse", "mse", "MSE", "low"),
    Score("mae", "mae", "MAE", "low"),
    Score("r2", "r2", "R²", "high"),
    Score("ssim", "ssim", "SSIM", "high"),
    Score("variance_ratio", "variance_ratio", "variance ratio", "one"),
    Score("moran_difference", "moran_difference", "Moran off by", "low"),
    Score("moran_measured", "moran_measured", ""),
    Score("moran_predicted", "moran_predicted", ""),
    Score("spotwise", SPOTWISE, "spot-wise r", "high"),
)
#: Metrics of pooled spots that the table is made of.
METRIC_NAMES = tuple(dict.fromkeys(score.metric for score in SCORES if not score.by_slide))
#: The column of the share of genes without a Pearson, and its label.
UNDEFINED, UNDEFINED_LABEL = "undefined", "undefined"

COLUMNS = (
    *("benchmark", "dataset", "encoder", "protocol", "method", "variant"),
    *(f"{score.name}_{what}" for score in SCORES for what in ("mean", "std")),
    *(f"{UNDEFINED}_mean", "n_folds", "n_seeds", "n_genes", "n_undefined", "n_failed"),
)

HOW_TO_READ = (
    "Mean over genes, then folds, then seeds. The CSV has the spread of each number too, the population standard "
    "deviation over seeds (ddof = 0), empty where there is one seed. In each column **best** and <u>second</u>: lowest "
    "for MSE, MAE and Moran's I, closest to 1 for the variance ratio, highest elsewhere."
)
MEANINGS = (
    "Pearson, Spearman, MSE, MAE, R² and the variance ratio (predicted to true) are of all test spots of a fold "
    "pooled; `by slide` is Pearson of each slide, then the mean over slides. SSIM and Moran's I are of each slide's "
    "map, then the mean over slides; `Moran off by` is how far the predicted I is from the measured one, without sign. "
    "Spot-wise r is over the genes of a spot, mean over spots: it is high for whoever knows which genes are abundant, "
    "so read it against the row of the mean. Errors are in log1p counts."
)
POLICY = (
    "Undefined: share of genes x folds that were measured constant over a fold's spots. They have errors, but no "
    "correlation, R², ratio, SSIM or Moran's I, and are left out of these means. A constant prediction scores 0 in "
    "each correlation, and its Moran's I counts as 0."
)


def make_scores(
    metrics: Sequence[Path],
    csv_path: Path,
    md_path: Path,
    methods: Sequence[str] = (),
    not_run: Mapping[str, str] | None = None,
) -> None:
    """Write the scores as CSV and markdown.

    Parameters
    ----------
    metrics
        Metrics files.
    csv_path, md_path
        Files to write.
    methods
        Rows in order, see `stflow.report.columns.Column.parse`.
    not_run
        Encoder -> why nothing was run with it.

    Raises
    ------
    IntegrityError
        A metrics file that is missing, cut short, or without one of the scores.
    """
    table = read_metrics(metrics, METRIC_NAMES, [score.metric for score in SCORES if score.by_slide])
    runs = run_scores(table)
    columns = method_order(runs, methods)
    rows = records(summary(table), columns)
    write_text(csv_path, to_csv(COLUMNS, rows))
    write_text(md_path, to_markdown(rows, columns, failures(runs), not_run or {}))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """`COLUMNS` of every group, averages over a benchmark's datasets last."""
    import pandas as pd

    _check(table)
    pearson = run_scores(table)
    facts = pd.concat([part for part in (summarise(pearson), average_datasets(pearson)) if len(part)])
    found = facts[[*GROUP, "n_folds", "n_seeds", "n_genes", "n_undefined", "n_failed"]]
    of_runs = {score.name: run_scores(table, score.metric, by_slide=score.by_slide) for score in SCORES}
    undefined = pearson["n_undefined"] / pearson["n_genes"]
    of_runs[UNDEFINED] = pearson.assign(score=undefined.mask(pearson["status"] != "ok"))
    for name, runs in of_runs.items():
        scores = over_seeds(pd.concat([part for part in (seed_scores(runs), average_seeds(runs)) if len(part)]))
        renamed = {"mean": f"{name}_mean", "std": f"{name}_std"}
        found = found.merge(scores[[*GROUP, *renamed]].rename(columns=renamed), on=GROUP, how="left")
    return found


def _check(table: pd.DataFrame) -> None:
    """IntegrityError if a group lacks a metric."""
    for row in table.groupby(GROUP, sort=False, observed=True)["metric"].agg(set).reset_index().to_dict("records"):
        if missing := {*METRIC_NAMES} - row["metric"]:
            raise IntegrityError(
                f"the metrics of {'/'.join(row[name] for name in GROUP)} lack {', '.join(sorted(missing))}. Delete "
                "their file and run `evaluate`."
            )


def to_markdown(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    failed: Sequence[str],
    not_run: Mapping[str, str],
) -> str:
    """The whole page."""
    parts = ["# Scores past pooled Pearson", HOW_TO_READ, MEANINGS, POLICY]
    for place in dict.fromkeys((row["benchmark"], row["dataset"], row["protocol"]) for row in rows):
        here = [row for row in rows if (row["benchmark"], row["dataset"], row["protocol"]) == place]
        parts += [f"## {place[0]}/{place[1]}, protocol {place[2]}", _block(here, columns)]
    parts += [encoders_told(columns), not_run_section(not_run), failed_section(failed)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> str:
    shown = [score for score in SCORES if score.label]
    marks = {score.name: ranks([_goodness(score, row[f"{score.name}_mean"]) for row in rows]) for score in shown}
    names = labels(columns)
    body = []
    for place, row in enumerate(rows):
        none = "failed" if row["n_seeds"] == 0 and row["n_failed"] else MISSING
        cells = [mark(_cell(row[f"{s.name}_mean"], none), marks[s.name][place]) for s in shown]
        body.append([names[Column.of(row)], *cells, _percent(row[f"{UNDEFINED}_mean"])])
    return format_table(["method", *(score.label for score in shown), UNDEFINED_LABEL], body)


def _goodness(score: Score, value: float) -> float:
    """A number that is the higher the better the score is."""
    return {"high": value, "low": -value, "one": -abs(value - 1), "": math.nan}[score.best]


def _cell(value: float, none: str) -> str:
    return none if math.isnan(value) else number(value)


def _percent(value: float) -> str:
    return MISSING if math.isnan(value) else f"{100 * value:.1f} %"
