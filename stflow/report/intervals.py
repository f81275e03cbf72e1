"""How sure a score is: its bootstrap interval, and how far it varies over seeds, folds and patients, each by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stflow.evaluation.aggregate import AVERAGE
from stflow.evaluation.bootstrap import LEVEL, N_RESAMPLES, Resamples, draw_resamples, interval, resampled_scores
from stflow.evaluation.group_scores import Cohort, GroupScores, read_cohorts, read_groups
from stflow.io import write_text
from stflow.report.columns import Column, labels
from stflow.report.group_tables import (
    GROUP_COLUMNS,
    Place,
    arrange,
    counted,
    left_out_section,
    names_of,
    patients_of,
    with_interval,
)
from stflow.report.render import format_table, number, to_csv
from stflow.report.table1 import not_run_section

COLUMNS = (
    *GROUP_COLUMNS,
    *("score", "score_lower", "score_upper", "std_seeds", "std_folds", "std_patients"),
    *("n_patients", "n_slides", "n_folds", "n_seeds", "n_genes", "n_failed"),
)
#: With fewer patients than this, an interval is marked.
FEW_PATIENTS = 5

HOW_TO_READ = (
    f"Pearson correlation as in table 1, with a {100 * LEVEL:g} % interval of a hierarchical bootstrap: patients are "
    "drawn with replacement over all folds, then each patient's slides, then genes, then seeds, "
    f"{N_RESAMPLES:,} times; the interval is the percentiles of the score of each draw. The three columns of ± are "
    "population standard deviations (ddof = 0), each of one thing: of the seeds' scores, of the folds' scores, and of "
    "the patients' scores (a patient's own test spots pooled). None of them is the standard error of the score; with "
    f"one seed, fold or patient there is none. With fewer than {FEW_PATIENTS} patients an interval is coarse and "
    "usually too narrow, as it is drawn from a handful of values: it is marked ~, as is an average of such, and "
    "docs/statistics.md says how often they miss. Intervals of two methods may overlap though one is always better; "
    "differences between methods have their own intervals in the table of comparisons."
)


def make_intervals(
    metrics: Sequence[Path],
    splits: Sequence[Path],
    csv_path: Path,
    md_path: Path,
    methods: Sequence[str] = (),
    not_run: Mapping[str, str] | None = None,
    n_resamples: int = N_RESAMPLES,
) -> None:
    """Write the scores' intervals and spreads as CSV and markdown.

    Parameters
    ----------
    metrics
        Metrics files.
    splits
        The benchmarks' `stflow.data.split_record` files: whose slides are whose.
    csv_path, md_path
        Files to write.
    methods
        Rows in order, see `stflow.report.columns.Column.parse`.
    not_run
        Encoder -> why nothing was run with it.
    n_resamples
        Draws of the bootstrap.

    Raises
    ------
    IntegrityError
        A metrics file that is missing, cut short, or without moments.
    SplitError
        A slide whose patient is not recorded.
    """
    table = arrange(read_groups(metrics), methods, not_run or ())
    cohorts = read_cohorts(splits)
    rows: list[dict[str, Any]] = []
    draws: dict[tuple[Place, Column], np.ndarray] = {}
    for place, here in table.places.items():
        for column, scores, drawn in resample_place(place, here, cohorts, n_resamples):
            draws[place, column] = drawn
            rows.append(_row(scores, drawn, patients_of(cohorts, place, scores.slides)))
    rows += _averages(rows, draws)
    write_text(csv_path, to_csv(COLUMNS, rows))
    write_text(md_path, to_markdown(rows, table.columns, table.left_out, not_run or {}))


def resample_place(
    place: Place, here: Mapping[Column, GroupScores], cohorts: Mapping[tuple[str, str], Cohort], n_resamples: int
) -> list[tuple[Column, GroupScores, np.ndarray]]:
    """(column, scores, (B,) resampled scores) of all methods of a dataset and protocol, on the same resamples."""
    resamples: Resamples | None = None
    found = []
    for column, scores in here.items():
        if resamples is None:
            slides = dict.fromkeys(slide for each in here.values() for slide in each.slides)
            genes = dict.fromkeys(gene for each in here.values() for gene in each.genes)
            patients = patients_of(cohorts, place, slides)
            resamples = draw_resamples(patients, list(genes), *place[:2], n_resamples=n_resamples)
        found.append((column, scores, resampled_scores(scores, resamples)))
    return found


def _row(scores: GroupScores, drawn: np.ndarray, patients: Mapping[str, str]) -> dict[str, Any]:
    lower, upper = interval(drawn)
    return {
        **names_of(scores.group),
        "score": scores.score,
        "score_lower": lower,
        "score_upper": upper,
        "std_seeds": _spread(scores.by_seed),
        "std_folds": _spread(scores.by_fold),
        "std_patients": _spread(scores.by_patient(patients)),
        "n_patients": len(set(patients.values())),
        "few": len(set(patients.values())) < FEW_PATIENTS,
        "n_slides": len(scores.slides),
        "n_folds": len(scores.folds),
        "n_seeds": len(scores.seeds),
        "n_genes": float(np.mean([len(fold.genes) for fold in scores.folds])),
        "n_failed": scores.n_failed,
    }


def _spread(values: np.ndarray) -> float | None:
    """Population standard deviation; None of a single value."""
    known = values[~np.isnan(values)]
    return float(known.std()) if len(known) > 1 else None


def _averages(
    rows: Sequence[Mapping[str, Any]], draws: Mapping[tuple[Place, Column], np.ndarray]
) -> list[dict[str, Any]]:
    """The mean over a benchmark's datasets, for methods that have a score on all of several; datasets are not drawn."""
    found = []
    for benchmark, protocol in dict.fromkeys((row["benchmark"], row["protocol"]) for row in rows):
        block = [row for row in rows if (row["benchmark"], row["protocol"]) == (benchmark, protocol)]
        datasets = list(dict.fromkeys(row["dataset"] for row in block))
        for column in dict.fromkeys(map(Column.of, block)):
            own = [row for row in block if Column.of(row) == column]
            if len(datasets) < 2 or len(own) < len(datasets):
                continue
            mean = np.mean([draws[(benchmark, dataset, protocol), column] for dataset in datasets], axis=0)
            lower, upper = interval(mean)
            found.append(
                {
                    **dict.fromkeys(COLUMNS),
                    **{name: own[0][name] for name in GROUP_COLUMNS},
                    "dataset": AVERAGE,
                    "few": any(row["few"] for row in own),
                    "score": float(np.mean([row["score"] for row in own])),
                    "score_lower": lower,
                    "score_upper": upper,
                    "n_genes": float(np.mean([row["n_genes"] for row in own])),
                    **{
                        name: sum(row[name] for row in own)
                        for name in ("n_patients", "n_slides", "n_folds", "n_failed")
                    },
                }
            )
    return found


def to_markdown(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    left_out: Sequence[str],
    not_run: Mapping[str, str],
) -> str:
    """The whole page: a block a protocol and dataset, averages first."""
    parts = ["# Intervals: how sure each score is", HOW_TO_READ]
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        parts.append(f"## Protocol {protocol}")
        block = [row for row in rows if row["protocol"] == protocol]
        places = dict.fromkeys((row["benchmark"], row["dataset"]) for row in block)
        for place in sorted(places, key=lambda place: place[1] != AVERAGE):
            here = [row for row in block if (row["benchmark"], row["dataset"]) == place]
            parts += [f"### {'/'.join(place)}", _told(here), _block(here, columns)]
    parts += [not_run_section(not_run), left_out_section(left_out)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _told(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many patients, slides and folds stand behind a block."""
    first = rows[0]
    kinds = [counted(int(first[f"n_{noun}s"]), noun) for noun in ("patient", "slide", "fold")]
    of = " of all datasets together; the datasets are not drawn" if first["dataset"] == AVERAGE else ""
    return f"Test side: {', '.join(kinds)}, {first['n_genes']:g} genes a fold{of}."


def _block(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> str:
    name = labels(columns)
    average = rows[0]["dataset"] == AVERAGE
    spreads = [] if average else ["± seeds", "± folds", "± patients", "seeds"]
    body = []
    for row in rows:
        few = " ~" if row["few"] else ""
        cells = [name[Column.of(row)], with_interval(row, "score") + few]
        if not average:
            cells += [_or_missing(row[f"std_{of}"]) for of in ("seeds", "folds", "patients")]
            cells.append(str(row["n_seeds"]))
        body.append(cells)
    return format_table(["method", f"score [{100 * LEVEL:g} % interval]", *spreads], body)


def _or_missing(value: float | None) -> str:
    return number(float("nan") if value is None else value)
