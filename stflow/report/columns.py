"""The methods of a table in their order, and what each is called there.

A method on one encoder and on another are two of them. Where the workflow names them, ``method/variant@encoder``, a
method that was not run has its place too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stflow.layout import TILES
from stflow.report.style import method_label

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, order=True)
class Column:
    """A method with its variant on an encoder."""

    method: str
    variant: str
    encoder: str

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> Column:
        """Of a row with these three names."""
        return cls(str(row["method"]), str(row["variant"]), str(row["encoder"]))

    @classmethod
    def parse(cls, text: str) -> Column:
        """``method``, ``method/variant``, each with ``@encoder`` or for any encoder, which is then empty."""
        name, _, encoder = text.partition("@")
        method, _, variant = name.partition("/")
        return cls(method, variant or "default", encoder)


def method_order(runs: pd.DataFrame, methods: Sequence[str], not_run: Sequence[str] = ()) -> list[Column]:
    """The columns of a table: those asked for that have scores or were not run, then the others as they come.

    Parameters
    ----------
    runs
        One row a run, see `stflow.evaluation.aggregate.run_scores`.
    methods
        What is asked for, see `Column.parse`.
    not_run
        Encoders that nothing was run with.
    """
    names = runs[["method", "variant", "encoder"]].drop_duplicates()
    present = [Column.of(row) for row in names.to_dict("records")]
    found: list[Column] = []
    for asked in map(Column.parse, methods):
        if asked.encoder in not_run:
            found.append(asked)
        found += [
            column
            for column in present
            if (column.method, column.variant) == (asked.method, asked.variant)
            and asked.encoder in ("", column.encoder)
        ]
    return list(dict.fromkeys((*found, *present)))


def labels(columns: Sequence[Column]) -> dict[Column, str]:
    """Display names; with the encoder where a method stands on several of them."""
    found = {}
    for column in columns:
        several = sum((other.method, other.variant) == (column.method, column.variant) for other in columns) > 1
        name = method_label(column.method, column.variant)
        found[column] = f"{name}, {encoder_label(column.encoder)}" if several else name
    return found


def encoder_label(encoder: str) -> str:
    """Display name of an encoder; of `TILES`, that there is none."""
    return "no encoder" if encoder == TILES else encoder


def encoders_told(columns: Sequence[Column]) -> str:
    """Which method reads which features, in one sentence."""
    by_encoder: dict[str, list[str]] = {}
    for column in columns:
        by_encoder.setdefault(column.encoder, []).append(method_label(column.method, column.variant))
    told = [
        f"{'no features' if encoder == TILES else encoder}: {', '.join(dict.fromkeys(names))}"
        for encoder, names in by_encoder.items()
    ]
    return f"Features by encoder: {'; '.join(told)}."
