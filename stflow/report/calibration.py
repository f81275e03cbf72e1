"""Calibration of predictions with several samples: CRPS, how much the interval holds, and how wide it is.

One line a group whose predictions are of several samples; others are left out. The numbers are averaged as the table
of correlations does it: over genes, then folds, then seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stflow.errors import DataError
from stflow.evaluation.aggregate import GROUP, average_datasets, failures, read_metrics, run_scores, summarise
from stflow.evaluation.metrics import COVERAGE
from stflow.io import write_text
from stflow.report.columns import method_order
from stflow.report.render import format_table, to_csv, with_spread
from stflow.report.style import method_label
from stflow.report.table1 import failed_section, not_run_section, records

if TYPE_CHECKING:
    import pandas as pd

#: Column -> metric of `sampled`.
METRICS = {"crps": "crps", "coverage": "coverage", "width": "interval_width"}

COLUMNS = (
    *("benchmark", "dataset", "encoder", "protocol", "method", "variant", "nominal"),
    *(f"{column}_{what}" for column in METRICS for what in ("mean", "std")),
    *("n_folds", "n_seeds", "n_failed"),
)

HOW_TO_READ = (
    "Predictions of several samples a slide against the measured log1p counts of its spots. Coverage is the share of "
    "measured values inside the samples' interval: the nominal share if the spread is right, less if the samples are "
    "too sure. CRPS and width are in log1p counts; lower CRPS is better, and of two methods with the right coverage "
    "the narrower interval. Mean over spots, genes, folds, then seeds; ± is the population standard deviation over "
    "seeds (ddof = 0)."
)


def make_calibration(
    metrics: Sequence[Path],
    csv_path: Path,
    md_path: Path,
    methods: Sequence[str] = (),
    not_run: Mapping[str, str] | None = None,
) -> None:
    """Write the calibration as CSV and markdown.

    Parameters
    ----------
    metrics
        Metrics files; those of single samples are left out.
    csv_path, md_path
        Files to write.
    methods
        Rows' order within a dataset, see `stflow.report.columns.Column.parse`.
    not_run
        Encoder -> why nothing was run with it.

    Raises
    ------
    DataError
        No file is of several samples.
    IntegrityError
        A metrics file that is missing or cut short.
    """
    table = sampled(read_metrics(metrics, None, []))
    if table.empty:
        raise DataError(
            "no predictions of several samples. Set settings.stflow.samples, or add stflow/samples_20 to methods."
        )
    runs = run_scores(table, "crps")
    rows = records(summary(table), method_order(runs, methods))
    write_text(csv_path, to_csv(COLUMNS, rows))
    write_text(md_path, to_markdown(rows, failures(runs), not_run or {}))


def sampled(table: pd.DataFrame) -> pd.DataFrame:
    """The long metrics of groups with several samples: their coverage as ``coverage``, its level in ``nominal``."""
    is_coverage = table["metric"].str.startswith(COVERAGE)
    levels = table.loc[is_coverage, [*GROUP, "metric"]].drop_duplicates()
    levels["nominal"] = levels.pop("metric").str.removeprefix(COVERAGE).astype(float) / 100
    return table.assign(metric=table["metric"].mask(is_coverage, "coverage")).merge(levels, on=GROUP)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """`COLUMNS` of every group of `sampled`, averages over a benchmark's datasets last."""
    import pandas as pd

    key = [*GROUP, "n_folds", "n_seeds", "n_failed"]
    parts = []
    for column, metric in METRICS.items():
        runs = run_scores(table, metric)
        scores = pd.concat([summarise(runs), average_datasets(runs)], ignore_index=True)
        parts.append(scores.set_index(key)[["mean", "std"]].add_prefix(f"{column}_"))
    # Datasets and their average have one level: it is a setting of the variant.
    levels = table[["method", "variant", "nominal"]].drop_duplicates()
    return pd.concat(parts, axis=1).reset_index().merge(levels, on=["method", "variant"])


def to_markdown(rows: Sequence[Mapping[str, Any]], failed: Sequence[str], not_run: Mapping[str, str]) -> str:
    """The whole page."""
    parts = ["# Calibration of predictions with several samples", HOW_TO_READ]
    several = len({row["encoder"] for row in rows}) > 1
    names = ["benchmark", "dataset", *(["encoder"] if several else [])]
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        body = [
            [
                *(str(row[name]) for name in names),
                method_label(row["method"], row["variant"]),
                f"{row['nominal']:g}",
                *(with_spread(row[f"{column}_mean"], row[f"{column}_std"]) for column in ("coverage", "width", "crps")),
            ]
            for row in rows
            if row["protocol"] == protocol
        ]
        header = [*names, "method", "nominal", "coverage", "width", "CRPS"]
        parts += [f"## Protocol {protocol}", format_table(header, body, len(names) + 1)]
    parts += [not_run_section(not_run), failed_section(failed)]
    return "\n\n".join(part for part in parts if part) + "\n"
