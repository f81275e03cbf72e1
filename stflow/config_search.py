"""The section `search` of the configuration: which settings are tried, on what, and with how much effort."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from stflow.config_sections import Model, unit
from stflow.errors import RegistryError
from stflow.models import METHODS
from stflow.search.space import MOST_JOBS, TIE, Grid, Scalar

if TYPE_CHECKING:
    from stflow.models.base import Method, Settings

#: What a searched value may look like as text: it becomes part of a file's name.
_VALUE = re.compile(r"[\w.+-]+", re.ASCII)

#: The paper's search (section 4.1 and table 13). Its dropout is that of attention weights too.
PAPER_GRID: dict[str, list[Scalar]] = {
    "learning_rate": [1e-3, 5e-4, 1e-4],
    f"dropout{TIE}attention_dropout": [0.0, 0.2, 0.5],
    "neighbours": [4, 8, 25],
    "heads": [1, 2, 4, 8],
    "prior_mu": [0.1, 0.2, 0.4],
    "prior_phi": [1.0, 2.0, 4.0],
}


class Search(Model):
    """What `snakemake search` tries. Candidates are compared on the select slides of the clean protocol's folds."""

    grids: dict[str, dict[str, list[Scalar]]] = Field(
        default_factory=lambda: {"stflow": dict(PAPER_GRID)},
        description="method -> setting -> values to try, every combination; `one+other`: settings that move together",
    )
    encoders: list[str] | None = Field(
        None,
        min_length=1,
        description="encoders that are searched on; default: the first of `encoders`, whose choice serves all",
    )
    datasets: list[str] | None = Field(
        None, min_length=1, description="benchmark/dataset to search on; default: all that have leak-free folds"
    )
    folds: Literal["each", "first"] = Field(
        "each",
        description="each: a choice a fold, on its own select slides, without leaks; first: one choice, on the first "
        "fold, which has seen test slides of the others",
    )
    seed: int | None = Field(None, ge=0, description="seed of the trials; default: the first of `seeds`")
    halving: Literal["none", "successive"] = Field(
        "successive",
        description="none: all candidates train in full; successive: all train a little, the best go on for longer",
    )
    eta: int = Field(3, ge=2, description="successive: one of so many goes on, for so many times the epochs")
    min_epochs: int = Field(
        3, gt=0, description="successive: fewest epochs of a rung", json_schema_extra=unit("epochs")
    )
    trials_per_job: int = Field(
        36,
        gt=0,
        description="candidates that share a job's start and reading in the first rung; fewer where they train longer",
        json_schema_extra=unit("trials"),
    )

    def problems(self, settings_of: Callable[[str], Settings], encoders: list[str], known: list[str]) -> list[str]:
        """What is wrong with names and values, in words.

        Parameters
        ----------
        settings_of
            A method's settings in this configuration.
        encoders, known
            Encoders and ``benchmark/dataset`` of this configuration.
        """
        unrun = [name for name in self.encoders or [] if name not in encoders]
        found = [f"search.encoders: {name!r} is not among encoders" for name in unrun]
        unknown = [name for name in self.datasets or [] if name not in known]
        found += [f"search.datasets: no {name!r} in this configuration; write benchmark/dataset" for name in unknown]
        for method, grid in self.grids.items():
            where = f"search.grids.{method}"
            try:
                cls: type[Method] = METHODS.get(method)
            except RegistryError as error:
                found.append(f"{where}: {error}")
                continue
            if not cls.selects:
                found.append(f"{where}: {method} chooses nothing on select slides, so there is no score to compare by")
                continue
            found += [f"{where}.{line}" for line in self._grid_problems(cls, settings_of(method), grid)]
        return found

    def _grid_problems(self, cls: type[Method], base: Settings, grid: Grid) -> list[str]:
        """What is wrong with one method's grid."""
        found = []
        columns = [name for column in grid for name in column.split(TIE)]
        found += [f"{name}: is in two columns" for name in dict.fromkeys(columns) if columns.count(name) > 1]
        if self.halving == "successive" and "epochs" in columns:
            found.append("epochs: successive halving sets them itself; write halving: none")
        for name in sorted(set(columns) & (cls.sampling - cls.selection)):
            found.append(f"{name}: matters only when the method predicts, so the selection score cannot tell")
        for column, values in grid.items():
            if not values or len(set(map(str, values))) < len(values):
                found.append(f"{column}: needs values, each once")
            if len(values) > MOST_JOBS:
                found.append(f"{column}: has {len(values)} values, {MOST_JOBS} at most")
            for value in values:
                if not _VALUE.fullmatch(str(value)):
                    found.append(f"{column}: {value!r} cannot be part of a file's name")
                elif problem := _refused(base, dict.fromkeys(column.split(TIE), value)):
                    found.append(f"{column}: {value!r}: {problem}")
        return found


def _refused(base: Settings, changes: Mapping[str, Scalar]) -> str:
    """Why settings do not take these values; empty where they do."""
    try:
        type(base).model_validate({**base.model_dump(), **changes})
    except ValidationError as error:
        return "; ".join(str(item["msg"]).removeprefix("Value error, ") for item in error.errors())
    return ""
