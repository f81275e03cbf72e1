"""The candidates of a grid, how they are split into jobs, and the rungs of successive halving. Light to import."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

Scalar = bool | int | float | str
#: A column of a grid (one setting, or several with `TIE` between that move together) -> its values.
Grid = Mapping[str, Sequence[Scalar]]
#: Between settings of one column.
TIE = "+"
#: Jobs of one rung on one fold at most: their files are words of one command line.
MOST_JOBS = 200


@dataclass(frozen=True, slots=True)
class Space:
    """Every combination of a grid's values.

    Attributes
    ----------
    grid
        Column -> values. The last column varies fastest.
    """

    grid: Grid

    def names(self) -> list[str]:
        """One name a column: the first of its settings."""
        return [column.split(TIE)[0] for column in self.grid]

    def __len__(self) -> int:
        return math.prod(map(len, self.grid.values()))

    def candidates(self) -> list[dict[str, Scalar]]:
        """Setting -> value of every candidate, in the grid's order."""
        return [
            {name: value for column, value in zip(self.grid, values, strict=True) for name in column.split(TIE)}
            for values in product(*self.grid.values())
        ]

    def outer(self, most: int) -> list[str]:
        """The first columns, so many that at most ``most`` candidates share their values.

        At least one, and no more than give `MOST_JOBS` slices.
        """
        columns, sizes = list(self.grid), [len(values) for values in self.grid.values()]
        n = next((n for n in range(1, len(columns)) if math.prod(sizes[n:]) <= most), len(columns))
        while n > 1 and math.prod(sizes[:n]) > MOST_JOBS:
            n -= 1
        return columns[:n]

    def slices(self, most: int) -> list[dict[str, Scalar]]:
        """Values of the outer columns, by the columns' names: a row a slice of the grid."""
        outer = self.outer(most)
        names = [column.split(TIE)[0] for column in outer]
        return [dict(zip(names, values, strict=True)) for values in product(*(self.grid[column] for column in outer))]

    def slice_grid(self, fixed: Mapping[str, object]) -> dict[str, list[Scalar]]:
        """The grid with some columns, by their names, held at one of their values.

        Raises
        ------
        KeyError
            The column has no such value.
        """
        return {
            column: [_same(values, fixed[name])] if (name := column.split(TIE)[0]) in fixed else list(values)
            for column, values in self.grid.items()
        }


def _same(values: Sequence[Scalar], wanted: object) -> Scalar:
    """The grid's own value that equals ``wanted``, which may have come through a table and a file's name."""
    for value in values:
        if str(value) == str(wanted) or (not isinstance(value, (str, bool)) and value == wanted):
            return value
    raise KeyError(wanted)


def key(settings: Mapping[str, Scalar]) -> str:
    """A text that is the same for equal settings: 1 and 1.0 are."""
    plain = {name: float(value) if isinstance(value, int) else value for name, value in settings.items()}
    return json.dumps(plain, sort_keys=True)


def differs(settings: Mapping[str, Scalar], base: Mapping[str, object]) -> bool:
    """Whether a candidate is another than the configuration's own settings."""
    return any(base.get(name) != value for name, value in settings.items())


@dataclass(frozen=True, slots=True)
class Rung:
    """One round of trainings: so many candidates for so many epochs; None: as many as the settings say."""

    candidates: int
    epochs: int | None


def rungs(
    candidates: int, epochs: int | None, halving: Literal["none", "successive"], eta: int, min_epochs: int
) -> list[Rung]:
    """The rungs of successive halving (Jamieson & Talwalkar, AISTATS 2016): 1/eta go on, for eta times the epochs.

    The last rung trains for ``epochs``, each one before for 1/eta of that, down to ``min_epochs`` or until there are no
    candidates to share out. Without ``epochs`` a method has nothing to train less of: one rung.
    """
    if halving == "none" or epochs is None:
        return [Rung(candidates, None)]
    most = 0
    while candidates // eta ** (most + 1) >= 1 and epochs / eta ** (most + 1) >= min_epochs:
        most += 1
    return [Rung(candidates // eta**done, round(epochs / eta ** (most - done))) for done in range(most + 1)]


def per_job(first: int, rung: Rung, lowest: Rung) -> int:
    """Candidates a job of a rung, so that its jobs last as long as those of the lowest rung with ``first`` each."""
    return max(1, first * (lowest.epochs or 1) // (rung.epochs or 1))
