"""What the tables of intervals, comparisons and protocols share: groups by place, in the order of methods."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stflow.errors import SplitError
from stflow.evaluation.group_scores import Cohort, GroupScores
from stflow.layout import Group
from stflow.report.columns import Column, method_order
from stflow.report.render import MISSING, number

#: Columns of the CSV files that name a group, and the keys that a place is made of.
GROUP_COLUMNS = ("benchmark", "dataset", "encoder", "protocol", "method", "variant")
Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """Groups in order: (benchmark, dataset, protocol) -> column -> its scores, and the columns of the whole table.

    ``left_out`` names the groups without a score, each with the reason.
    """

    places: Mapping[Place, Mapping[Column, GroupScores]]
    columns: Sequence[Column]
    left_out: Sequence[str]


def column_of(group: Group) -> Column:
    """The method, variant and encoder of a group."""
    return Column(group.method, group.variant, group.encoder)


def arrange(groups: Iterable[GroupScores], methods: Sequence[str], not_run: Iterable[str] = ()) -> Table:
    """Groups by place; methods in the order asked for, those without a whole seed left out and named."""
    import pandas as pd

    groups = list(groups)
    names = [[g.group.method, g.group.variant, g.group.encoder] for g in groups]
    columns = method_order(pd.DataFrame(names, columns=["method", "variant", "encoder"]), methods)
    columns = [column for column in columns if column.encoder not in set(not_run)]
    places: dict[Place, dict[Column, GroupScores]] = {}
    left_out = []
    for scores in groups:
        group = scores.group
        here = places.setdefault((group.benchmark, group.dataset, group.protocol), {})
        if scores.folds:
            here[column_of(group)] = scores
        else:
            left_out.append(f"{group}: no seed has a score in every fold; {scores.n_failed} runs failed")
    ordered = {place: {column: here[column] for column in columns if column in here} for place, here in places.items()}
    return Table(ordered, columns, left_out)


def names_of(group: Group) -> dict[str, str]:
    """`GROUP_COLUMNS` of a group."""
    return {name: getattr(group, name) for name in GROUP_COLUMNS}


def patients_of(cohorts: Mapping[tuple[str, str], Cohort], place: Place, slides: Iterable[str]) -> dict[str, str]:
    """Slide -> patient of some slides of a dataset.

    Raises
    ------
    SplitError
        The record of folds does not have a slide.
    """
    cohort = cohorts.get(place[:2])
    known = {} if cohort is None else cohort.patients
    slides = list(slides)
    unknown = [slide for slide in slides if slide not in known]
    if unknown:
        raise SplitError(
            f"{'/'.join(place[:2])}: the record of folds does not have {', '.join(unknown)}. Give --splits "
            f"<results>/splits/{place[0]}.csv, made by `splits`."
        )
    return {slide: known[slide] for slide in slides}


def bracketed(lower: float, upper: float) -> str:
    """``[0.412, 0.468]``; ``-`` where there is no interval."""
    return MISSING if math.isnan(lower) or math.isnan(upper) else f"[{number(lower)}, {number(upper)}]"


def with_interval(row: Mapping[str, Any], name: str) -> str:
    """A number of a row with its interval, ``<name>``, ``<name>_lower`` and ``<name>_upper``."""
    value = row[name]
    if value is None or math.isnan(value):
        return MISSING
    return f"{number(value)} {bracketed(row[f'{name}_lower'], row[f'{name}_upper'])}"


def left_out_section(left_out: Sequence[str]) -> str:
    """Groups without a score by name, or that there are none."""
    if not left_out:
        return "No method is left out."
    return "\n".join([f"## Left out: {len(left_out)}", "", *(f"- `{line}`" for line in left_out)])


def counted(number_of: int, noun: str) -> str:
    """``1 fold``, ``2 folds``."""
    return f"{number_of:,} {noun}" + ("" if number_of == 1 else "s")
