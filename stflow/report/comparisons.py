"""Tests between methods, dataset by dataset and over datasets: who beats whom, by how much, and how surely.

The CSV has every pair; the markdown, for each dataset, every method against the one with the best score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stflow.evaluation.bootstrap import LEVEL, N_RESAMPLES, interval
from stflow.evaluation.comparisons import ALPHA, MIN_DATASETS, MIN_FRIEDMAN, Paired, friedman, mean_ranks, pairwise
from stflow.evaluation.group_scores import Cohort, GroupScores, read_cohorts, read_groups
from stflow.io import write_text
from stflow.report.columns import Column, labels
from stflow.report.group_tables import Place, Table, arrange, counted, left_out_section, with_interval
from stflow.report.intervals import FEW_PATIENTS, resample_place
from stflow.report.render import MISSING, format_table, number, to_csv
from stflow.report.table1 import not_run_section

_SIDES = tuple(f"{name}_{side}" for side in "ab" for name in ("method", "variant", "encoder"))
COLUMNS = (
    *("benchmark", "dataset", "protocol", *_SIDES, "score_a", "score_b"),
    *("difference", "difference_lower", "difference_upper", "n_patients"),
    *("n_pairs", "median_difference", "share_won", "p", "p_holm"),
)
#: Stands for all datasets of all benchmarks together.
ALL = "all"

HOW_TO_READ = (
    "Each method against the one with the best score of the dataset. Difference: score minus the best one's, with the "
    f"{100 * LEVEL:g} % interval of a bootstrap over patients, slides, genes and seeds in which both methods share "
    "every draw. Then paired over (fold, gene), values averaged over seeds: the median difference of a pair, the share "
    "of pairs that the method wins (a tie counts half), and p of Wilcoxon's two-sided signed-rank test, corrected by "
    "Holm's procedure for all pairs of methods on the dataset. Genes of one fold share spots, patients and a training, "
    "so p is neither about other patients nor about another training: a small p says that the difference is there for "
    "most genes of these slides, and equal methods have one often (docs/statistics.md). For other patients read the "
    f"interval, which is coarse with fewer than {FEW_PATIENTS} of them (marked ~), and the tests over datasets."
)


def make_comparisons(
    metrics: Sequence[Path],
    splits: Sequence[Path],
    csv_path: Path,
    md_path: Path,
    methods: Sequence[str] = (),
    not_run: Mapping[str, str] | None = None,
    n_resamples: int = N_RESAMPLES,
) -> None:
    """Write the tests between methods as CSV and markdown; parameters and errors as of `make_intervals`."""
    table = complete(arrange(read_groups(metrics), methods, not_run or ()))
    cohorts = read_cohorts(splits)
    rows: list[dict[str, Any]] = []
    for place, here in table.places.items():
        rows += _pairs_of_dataset(place, here, cohorts, n_resamples)
    over = {protocol: over_datasets(table, protocol) for protocol in dict.fromkeys(place[2] for place in table.places)}
    for protocol, (columns, values, _) in over.items():
        rows += _pairs_over_datasets(protocol, columns, values)
    # p is told by its leading digits: six decimals would make most of them 0.
    told = [{**row, **{name: f"{row[name]:.3g}" for name in ("p", "p_holm")}} for row in rows]
    write_text(csv_path, to_csv(COLUMNS, told))
    write_text(md_path, to_markdown(rows, table, over, not_run or {}))


def complete(table: Table) -> Table:
    """The same without methods that lack folds which others have on the dataset; they are named."""
    places: dict[Place, dict[Column, GroupScores]] = {}
    left_out = list(table.left_out)
    for place, here in table.places.items():
        folds = {fold.fold for scores in here.values() for fold in scores.folds}
        places[place] = {}
        for column, scores in here.items():
            lacking = sorted(folds - {fold.fold for fold in scores.folds})
            if lacking:
                left_out.append(f"{scores.group}: no fold {', '.join(map(str, lacking))}, which other methods have")
            else:
                places[place][column] = scores
    return Table(places, table.columns, left_out)


def paired_values(here: Mapping[Column, GroupScores]) -> np.ndarray:
    """(fold x gene, K) r averaged over seeds, a column a method; NaN where a gene has none."""
    keys = list(
        dict.fromkeys((fold.fold, gene) for scores in here.values() for fold in scores.folds for gene in fold.genes)
    )
    found = []
    for scores in here.values():
        own = {
            (fold.fold, gene): value
            for fold in scores.folds
            for gene, value in zip(fold.genes, fold.pearson.mean(axis=0).tolist(), strict=True)
        }
        found.append([own.get(key, np.nan) for key in keys])
    return np.array(found).T


def over_datasets(table: Table, protocol: str) -> tuple[list[Column], np.ndarray, list[str]]:
    """Methods that have a score on every dataset of a protocol, their (N datasets, K) scores, and who is left out."""
    places = {place: here for place, here in table.places.items() if place[2] == protocol and here}
    columns = [column for column in table.columns if all(column in here for here in places.values())]
    some = [column for column in table.columns if any(column in here for here in places.values())]
    values = np.array([[here[column].score for column in columns] for here in places.values()])
    name = labels(some)
    return columns, values, [name[column] for column in some if column not in columns]


def _pairs_of_dataset(
    place: Place, here: Mapping[Column, GroupScores], cohorts: Mapping[tuple[str, str], Cohort], n_resamples: int
) -> list[dict[str, Any]]:
    if len(here) < 2:
        return []
    columns, values = list(here), paired_values(here)
    draws = {column: drawn for column, _, drawn in resample_place(place, here, cohorts, n_resamples)}
    known = cohorts[place[:2]].patients
    n_patients = len({known[slide] for scores in here.values() for slide in scores.slides})
    rows = []
    for (i, j), (test, p_holm) in pairwise(values).items():
        a, b = columns[i], columns[j]
        lower, upper = interval(draws[a] - draws[b])
        row = _pair(place, a, b, test, p_holm, here[a].score, here[b].score)
        rows.append(row | {"difference_lower": lower, "difference_upper": upper, "n_patients": n_patients})
    return rows


def _pairs_over_datasets(protocol: str, columns: Sequence[Column], values: np.ndarray) -> list[dict[str, Any]]:
    if len(values) < MIN_DATASETS or len(columns) < 2:
        return []
    scores = values.mean(axis=0)
    return [
        _pair((ALL, ALL, protocol), columns[i], columns[j], test, p_holm, scores[i], scores[j])
        for (i, j), (test, p_holm) in pairwise(values).items()
    ]


def _pair(
    place: Place, a: Column, b: Column, test: Paired, p_holm: float, score_a: float, score_b: float
) -> dict[str, Any]:
    sides = (a.method, a.variant, a.encoder, b.method, b.variant, b.encoder)
    values = {
        "score_a": float(score_a), "score_b": float(score_b), "difference": float(score_a - score_b),
        "difference_lower": None, "difference_upper": None, "n_patients": None, "n_pairs": test.n,
        "median_difference": test.median, "share_won": test.won, "p": test.p, "p_holm": p_holm,
    }  # fmt: skip
    names = dict(zip(("benchmark", "dataset", "protocol", *_SIDES), (*place, *sides), strict=True))
    return names | values


def turned(row: Mapping[str, Any], against: Column) -> dict[str, Any]:
    """A pair's row with ``against`` as its side b."""
    if side(row, "b") == against:
        return dict(row)

    def minus(name: str) -> float | None:
        return None if row[name] is None else -row[name]

    other = {name: row[f"{name[:-1]}{'b' if name[-1] == 'a' else 'a'}"] for name in (*_SIDES, "score_a", "score_b")}
    return {
        **row,
        **other,
        "difference": minus("difference"),
        "difference_lower": minus("difference_upper"),
        "difference_upper": minus("difference_lower"),
        "median_difference": minus("median_difference"),
        "share_won": 1 - row["share_won"],
    }


def side(row: Mapping[str, Any], which: str) -> Column:
    """Method ``a`` or ``b`` of a pair."""
    return Column(*(row[f"{name}_{which}"] for name in ("method", "variant", "encoder")))


def to_markdown(
    rows: Sequence[Mapping[str, Any]],
    table: Table,
    over: Mapping[str, tuple[Sequence[Column], np.ndarray, Sequence[str]]],
    not_run: Mapping[str, str],
) -> str:
    """The whole page: a block a protocol, over datasets first, then dataset by dataset."""
    parts = ["# Comparisons: tests between methods", HOW_TO_READ]
    for protocol, (columns, values, absent) in over.items():
        own = [row for row in rows if row["benchmark"] == ALL and row["protocol"] == protocol]
        parts += [f"## Protocol {protocol}", *_over_datasets(own, columns, values, absent)]
        for place, here in table.places.items():
            if place[2] == protocol and here:
                pairs = [row for row in rows if (row["benchmark"], row["dataset"], row["protocol"]) == place]
                parts += [f"### {'/'.join(place[:2])}", *_dataset(pairs, here)]
    parts += [not_run_section(not_run), left_out_section(table.left_out)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _dataset(pairs: Sequence[Mapping[str, Any]], here: Mapping[Column, GroupScores]) -> list[str]:
    """The best method, and a row for each other one."""
    name = labels(list(here))
    if len(here) < 2:
        return [f"One method, {', '.join(name.values())}: nothing to compare."]
    best = max(here, key=lambda column: here[column].score)
    few = " ~" if pairs[0]["n_patients"] < FEW_PATIENTS else ""
    against = {side(row, "a"): row for row in (turned(r, best) for r in pairs if best in (side(r, "a"), side(r, "b")))}
    order = sorted(against, key=lambda column: -here[column].score)
    body = [
        [
            name[column], number(here[column].score), with_interval(against[column], "difference") + few,
            number(against[column]["median_difference"]), f"{100 * against[column]['share_won']:.0f} %",
            p_text(against[column]["p_holm"]),
        ]
        for column in order
    ]  # fmt: skip
    header = ["method", "score", f"difference [{100 * LEVEL:g} %]", "median", "pairs won", "p (Holm)"]
    told = (
        f"Best: **{name[best]}**, {number(here[best].score)}; {counted(pairs[0]['n_pairs'], 'pair')} of fold and gene, "
        f"{counted(pairs[0]['n_patients'], 'patient')}, {counted(len(pairs), 'test')}."
    )
    return [told, format_table(header, body)]


def _over_datasets(
    pairs: Sequence[Mapping[str, Any]], columns: Sequence[Column], values: np.ndarray, absent: Sequence[str]
) -> list[str]:
    """Friedman's test, mean ranks, and the tests over datasets against the method of the best mean rank."""
    n = len(values)
    left = f" Left out, as not scored on every dataset: {', '.join(absent)}." if absent else ""
    if n < 2 or len(columns) < 2:
        return [f"Over datasets: {counted(n, 'dataset')} and {counted(len(columns), 'method')}, nothing to test.{left}"]
    ranks, name = mean_ranks(values), labels(list(columns))
    first = int(np.argmin(ranks))
    test = (
        f"Friedman's test that all methods are alike: p {p_text(friedman(values), equals=True)}."
        if min(n, len(columns)) >= MIN_FRIEDMAN
        else f"Friedman's test needs {MIN_FRIEDMAN} datasets and {MIN_FRIEDMAN} methods."
    )
    few = (
        ""
        if n >= MIN_DATASETS
        else f" Wilcoxon's test over datasets needs {MIN_DATASETS}: with fewer no outcome is below p = {ALPHA:g}."
    )
    against = {
        side(row, "a"): row
        for row in (turned(r, columns[first]) for r in pairs if columns[first] in (side(r, "a"), side(r, "b")))
    }
    body = []
    for index in np.argsort(ranks, kind="stable"):
        row = against.get(columns[index])
        cells = [MISSING, MISSING] if row is None else [f"{100 * row['share_won']:.0f} %", p_text(row["p_holm"])]
        body.append([name[columns[index]], f"{ranks[index]:.2f}", number(float(values[:, index].mean())), *cells])
    header = ["method", "mean rank", "mean score", "datasets won", "p (Holm)"]
    told = (
        f"Over {counted(n, 'dataset')}, against {name[columns[first]]}, which has the best mean rank. {test}{few}{left}"
    )
    return [told, format_table(header, body)]


def p_text(p: float, *, equals: bool = False) -> str:
    """``0.012``, ``< 0.001``; with ``equals`` ``= 0.012``."""
    if p < 0.001:
        return "< 0.001"
    return f"{'= ' if equals else ''}{p:.3f}"
