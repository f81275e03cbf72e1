"""What the paper's protocol gains over the clean one, method by method: the price of looking at the test fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stflow.data.split_record import reasons_in
from stflow.errors import RegistryError
from stflow.evaluation.aggregate import AVERAGE
from stflow.evaluation.bootstrap import LEVEL, N_RESAMPLES, draw_resamples
from stflow.evaluation.group_scores import Cohort, GroupScores, read_cohorts, read_groups
from stflow.evaluation.matched import Gap, Matched, gap, match
from stflow.io import write_text
from stflow.models import METHODS
from stflow.report.columns import Column, labels
from stflow.report.group_tables import Table, arrange, counted, left_out_section, patients_of, with_interval
from stflow.report.intervals import FEW_PATIENTS
from stflow.report.render import MISSING, format_table, number, to_csv
from stflow.report.table1 import not_run_section

#: The two protocols, the one that is thought to gain first.
PAPER, CLEAN = "paper", "clean"
#: Gaps of a row, each with its interval: of the scores, on the genes of both lists, and what remains.
GAPS = ("gap", "gap_shared", "gap_genes")
COLUMNS = (
    *("benchmark", "dataset", "encoder", "method", "variant", "selects", "paper", "clean"),
    *(f"{name}{end}" for name in GAPS for end in ("", "_lower", "_upper")),
    *("n_genes_shared", "n_parts", "n_slides", "n_patients", "paper_table1", "clean_table1"),
)

HOW_TO_READ = (
    "Pearson correlation of table 1 under both protocols, and the gap, paper minus clean, with a "
    f"{100 * LEVEL:g} % interval of a bootstrap over the patients that both protocols test, their slides, genes and "
    "seeds; both protocols share every draw. Folds are matched by their test slides, and where one protocol tests more "
    "slides than the other, both are scored on those in common. The gap has two parts. On shared genes: of the genes "
    "that both lists have in a fold alone, which leaves out what choosing genes with the test slides does. By genes: "
    "the rest. On shared genes, a method that chooses an epoch differs in two ways: under paper it chooses on the test "
    "slides, unless the dataset has validation slides, and under clean it trains on fewer patients (or on fewer slides "
    "or spots of the only one), as those which choose the epoch are held out. The table cannot tell these two apart. A "
    "method that chooses no epoch trains on the same slides under both protocols where the folds are the same: its gap "
    "on shared genes is only that of training beside other genes, which makes it the control. Fewer than "
    f"{FEW_PATIENTS} patients, also in one dataset of an average, make an interval coarse (marked ~)."
)


@dataclass(frozen=True, eq=False)
class Row:
    """One method on one dataset, or the average of several."""

    values: Mapping[str, Any]
    gaps: Mapping[str, Gap]

    @property
    def column(self) -> Column:
        """The method of the row."""
        return Column.of(self.values)

    @property
    def place(self) -> tuple[str, str]:
        """Benchmark and dataset."""
        return self.values["benchmark"], self.values["dataset"]

    def record(self) -> dict[str, Any]:
        """As a line of the CSV."""
        told: dict[str, float] = {}
        for name, value in self.gaps.items():
            told |= {name: value.value, f"{name}_lower": value.lower, f"{name}_upper": value.upper}
        return {**self.values, **told}


def make_protocol_gap(
    metrics: Sequence[Path],
    splits: Sequence[Path],
    csv_path: Path,
    md_path: Path,
    methods: Sequence[str] = (),
    not_run: Mapping[str, str] | None = None,
    n_resamples: int = N_RESAMPLES,
) -> None:
    """Write the gaps between protocols as CSV and markdown; parameters and errors as of `make_intervals`."""
    table = arrange(read_groups(metrics), methods, not_run or ())
    cohorts = read_cohorts(splits)
    rows: list[Row] = []
    apart: list[str] = []
    for benchmark, dataset in dict.fromkeys(place[:2] for place in table.places):
        here = [table.places.get((benchmark, dataset, protocol), {}) for protocol in (PAPER, CLEAN)]
        both = {column: match(here[0][column], here[1][column]) for column in here[0] if column in here[1]}
        matched = {column: pair for column, pair in both.items() if pair is not None}
        if both and not matched:
            apart.append(f"{benchmark}/{dataset}: the protocols test no slide in common")
        rows += _rows_of_dataset((benchmark, dataset), matched, here, cohorts, n_resamples)
    rows += _averages(rows)
    write_text(csv_path, to_csv(COLUMNS, [row.record() for row in rows]))
    reasons = {f"{'/'.join(key[:2])}: no fold under {key[2]}, as {why}" for key, why in reasons_in(splits).items()}
    write_text(md_path, to_markdown(rows, table, cohorts, [*apart, *sorted(reasons)], not_run or {}))


def _rows_of_dataset(
    place: tuple[str, str],
    matched: Mapping[Column, Matched],
    here: Sequence[Mapping[Column, GroupScores]],
    cohorts: Mapping[tuple[str, str], Cohort],
    n_resamples: int,
) -> list[Row]:
    if not matched:
        return []
    both = [scores for pair in matched.values() for scores in (pair.paper, pair.clean)]
    slides = dict.fromkeys(slide for scores in both for slide in scores.slides)
    genes = dict.fromkeys(gene for scores in both for gene in scores.genes)
    patients = patients_of(cohorts, (*place, ""), slides)
    resamples = draw_resamples(patients, list(genes), *place, n_resamples=n_resamples)
    rows = []
    for column, pair in matched.items():
        whole = gap(pair.paper, pair.clean, resamples)
        shared = gap(pair.shared_paper, pair.shared_clean, resamples)
        values = {
            "benchmark": place[0], "dataset": place[1], "encoder": column.encoder, "method": column.method,
            "variant": column.variant, "selects": selects(column.method),
            "paper": pair.paper.score, "clean": pair.clean.score,
            "n_genes_shared": float(np.mean([len(fold.genes) for fold in pair.shared_paper.folds] or [0])),
            "n_parts": len(pair.paper.folds), "n_slides": len(pair.paper.slides),
            "n_patients": len({patients[slide] for slide in pair.paper.slides}),
            "few": len({patients[slide] for slide in pair.paper.slides}) < FEW_PATIENTS,
            "paper_table1": here[0][column].score, "clean_table1": here[1][column].score,
        }  # fmt: skip
        rows.append(Row(values, {"gap": whole, "gap_shared": shared, "gap_genes": whole.minus(shared)}))
    return sorted(rows, key=lambda row: -row.gaps["gap"].value)


def selects(method: str) -> str:
    """``yes`` if a method chooses an epoch, else ``no``; empty for one that is not known here."""
    try:
        return "yes" if METHODS.get(method).selects else "no"
    except RegistryError:
        return ""


def _averages(rows: Sequence[Row]) -> list[Row]:
    """The mean over a benchmark's datasets of methods that have a gap on all of several; datasets are not drawn."""
    found = []
    for benchmark in dict.fromkeys(row.values["benchmark"] for row in rows):
        block = [row for row in rows if row.values["benchmark"] == benchmark]
        n_datasets = len({row.place for row in block})
        for column in dict.fromkeys(row.column for row in block):
            own = [row for row in block if row.column == column]
            if n_datasets < 2 or len(own) < n_datasets:
                continue
            numbers = ("paper", "clean", "n_genes_shared", "paper_table1", "clean_table1")
            values = {
                **own[0].values,
                "dataset": AVERAGE,
                "few": any(row.values["few"] for row in own),
                **{name: float(np.mean([row.values[name] for row in own])) for name in numbers},
                **{name: sum(row.values[name] for row in own) for name in ("n_parts", "n_slides", "n_patients")},
            }
            found.append(Row(values, {name: Gap.mean([row.gaps[name] for row in own]) for name in GAPS}))
    return sorted(found, key=lambda row: (row.values["benchmark"], -row.gaps["gap"].value))


def to_markdown(
    rows: Sequence[Row],
    table: Table,
    cohorts: Mapping[tuple[str, str], Cohort],
    without: Sequence[str],
    not_run: Mapping[str, str],
) -> str:
    """The whole page: averages of benchmarks first, then dataset by dataset, each by size of the gap."""
    parts = ["# Protocols: what choosing on the test fold gains", HOW_TO_READ]
    protocols = list(dict.fromkeys(place[2] for place in table.places))
    if not rows and len(protocols) < 2:
        told = f"the {protocols[0]} protocol alone" if protocols else "no protocol"
        parts.append(f"These results have {told}, so there is no gap to tell. Run both: `protocols: [paper, clean]`.")
    places = dict.fromkeys(row.place for row in rows)
    for place in sorted(places, key=lambda place: place[1] != AVERAGE):
        here = [row for row in rows if row.place == place]
        parts += [f"## {'/'.join(place)}", _told(here, cohorts.get(place)), _block(here, table.columns), _control(here)]
    if without:
        parts.append("\n".join(["Without a gap:", "", *(f"- {line}." for line in without)]))
    parts += [not_run_section(not_run), left_out_section(table.left_out)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _told(rows: Sequence[Row], cohort: Cohort | None) -> str:
    """What stands behind a block: slides, patients, training patients, and patients on both sides."""
    first = rows[0].values
    told = f"{counted(first['n_slides'], 'test slide')} of {counted(first['n_patients'], 'patient')} in common"
    if cohort is None:
        return f"{told}, of all datasets together; the datasets are not drawn."
    few, every = ({protocol: n[side] for protocol, n in _training(cohort).items()} for side in (0, 1))
    lines = [
        f"{told}; {first['n_genes_shared']:g} genes a fold in both lists.",
        f"Patients a fold trains on, mean: {few[PAPER]:g} under paper and {few[CLEAN]:g} under clean where an epoch is "
        f"chosen, {every[PAPER]:g} and {every[CLEAN]:g} where none is.",
    ]
    if _has_validation(cohort):
        lines.append("Under paper, validation slides choose the epoch here, not the test slides.")
    n_leaked = _on_both_sides(cohort)
    if n_leaked:
        lines.append(
            f"Under paper, {counted(n_leaked, 'test slide')} of patients that are trained on too: part of every gap "
            "here, also of methods that choose no epoch."
        )
    return " ".join(lines)


def _training(cohort: Cohort) -> dict[str, tuple[float, float]]:
    """Protocol -> mean number of patients that a fold trains on: without and with those which choose the epoch."""
    found = {}
    for protocol in (PAPER, CLEAN):
        few, every = [], []
        for fold in dict.fromkeys(fold for of, fold, _ in cohort.roles if of == protocol):
            train, val = (cohort.roles.get((protocol, fold, role), ()) for role in ("train", "val"))
            few.append(len({cohort.patients[slide] for slide in train}))
            every.append(len({cohort.patients[slide] for slide in (*train, *val)}))
        found[protocol] = float(np.round(np.mean(few), 1)), float(np.round(np.mean(every), 1))
    return found


def _has_validation(cohort: Cohort) -> bool:
    """Whether the paper's folds have validation slides; where they have none, the test slides choose the epoch."""
    return any((protocol, role) == (PAPER, "val") for protocol, _, role in cohort.roles)


def _on_both_sides(cohort: Cohort) -> int:
    """Test slides, fold by fold, whose patient the paper's fold trains on or chooses by."""
    n = 0
    for (protocol, fold, role), slides in cohort.roles.items():
        if (protocol, role) == (PAPER, "test"):
            seen = {
                cohort.patients[slide]
                for other in ("train", "val")
                for slide in cohort.roles.get((PAPER, fold, other), ())
            }
            n += sum(cohort.patients[slide] in seen for slide in slides)
    return n


def _block(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    name = labels(columns)
    body = []
    for row in rows:
        record = row.record()
        body.append(
            [
                name[row.column],
                record["selects"] or MISSING,
                number(record["paper"]),
                number(record["clean"]),
                *(with_interval(record, each) + (" ~" if record["few"] else "") for each in GAPS),
            ]
        )
    header = ["method", "chooses an epoch", "paper", "clean", "gap", "on shared genes", "by genes"]
    return format_table(header, body, 2)


def _control(rows: Sequence[Row]) -> str:
    """Mean gap on shared genes of methods that choose an epoch, next to that of the others."""
    # A prediction without variation scores 0 under any protocol, and says nothing of either.
    telling = [row for row in rows if row.values["paper"] or row.values["clean"]]
    sides = {
        answer: [row.gaps["gap_shared"] for row in telling if row.values["selects"] == answer]
        for answer in ("yes", "no")
    }
    if not all(sides.values()):
        return "There are not both methods that choose an epoch and methods that choose none, so there is no control."
    choosing, control = Gap.mean(sides["yes"]), Gap.mean(sides["no"])
    cells = [
        with_interval({"g": each.value, "g_lower": each.lower, "g_upper": each.upper}, "g")
        for each in (choosing, control, choosing.minus(control))
    ]
    return (
        f"Gap on shared genes, mean: {cells[0]} over {counted(len(sides['yes']), 'method')} that choose an epoch, "
        f"{cells[1]} over {counted(len(sides['no']), 'method')} that choose none; difference {cells[2]}. Methods whose "
        "predictions do not vary are not counted."
    )
