"""What a table of the paper is made of: entries on two axes, each of them a part of the key of a cell."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

#: Stands for the mean over the datasets of a section.
AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class Key:
    """Which number a cell holds; an empty name is open and comes from the other axis.

    ``over`` are the datasets of an average, whose ``dataset`` is `AVERAGE`; ``gene`` is empty for the mean over genes.
    """

    benchmark: str = ""
    dataset: str = ""
    encoder: str = ""
    method: str = ""
    variant: str = ""
    gene: str = ""
    over: tuple[str, ...] = ()

    def joined(self, other: Key) -> Key:
        """Both together; what both name must not differ."""
        merged = {}
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if ours and theirs and ours != theirs:
                raise ValueError(f"row and column name two {field.name}s: {ours!r} and {theirs!r}")
            merged[field.name] = ours or theirs
        return Key(**merged)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row or a column: its label, its part of the key, and its name in the printed table (empty: not printed)."""

    label: str
    key: Key
    printed: str = ""

    def on(self, encoder: str) -> Entry:
        """The same on another encoder, which the paper does not print."""
        return replace(self, key=replace(self.key, encoder=encoder), printed="")


@dataclass(frozen=True, slots=True)
class Section:
    """A block of a table: a heading, rows and columns, and the printed table that it stands beside (None: no such).

    ``best`` says along which axis the best two are marked.
    """

    heading: str
    rows: tuple[Entry, ...]
    columns: tuple[Entry, ...]
    source: str | None = None
    best: Literal["row", "column"] = "row"

    def cells(self) -> list[tuple[Entry, Entry, Key]]:
        """(row, column, key) of every cell, row by row."""
        return [(row, column, row.key.joined(column.key)) for row in self.rows for column in self.columns]
