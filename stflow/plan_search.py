"""What a search for settings makes: its candidates as a parameter space, rungs, files, and what its commands are told.

Everything is known before the first trial: which candidates a later rung trains is read from a ranking by place, and
how many go on does not depend on scores. So a dry run counts every job, and no checkpoint makes the graph anew.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stflow.layout import Group, Run
from stflow.models import METHODS
from stflow.search.space import MOST_JOBS, TIE, Rung, Space, per_job, rungs

if TYPE_CHECKING:
    from snakemake.utils import Paramspace

    from stflow.workflow import Plan

PROTOCOL = "clean"
NOTHING_TO_SEARCH = (
    "nothing to search: search.grids has none of the configuration's methods, or no dataset has folds of the clean "
    "protocol. Add a grid, or clean to protocols."
)


@dataclass(frozen=True, slots=True)
class Case:
    """One search: a method's settings on a dataset's features from an encoder."""

    benchmark: str
    dataset: str
    encoder: str
    method: str

    def run(self, fold: int, seed: int) -> Run:
        """The training that candidates stand in for."""
        return Group(self.benchmark, self.dataset, self.encoder, self.method, "default", PROTOCOL).run(fold, seed)


class SearchPlan:
    """The search of a plan's methods, as far as its configuration has grids for them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._search = plan.config.search
        # Asked by every job of a method's rung.
        self.space, self.rungs, self.paramspace = cache(self._space), cache(self._rungs), cache(self._paramspace)
        self._names, self._settings = cache(self._job_names), cache(self._words)

    # -- names -----------------------------------------------------------------------------------------------

    def methods(self) -> list[str]:
        """Methods of the configuration that have a grid, each once."""
        run = dict.fromkeys(method for method, _ in self._plan.methods)
        return [method for method in run if method in self._search.grids]

    def encoders(self) -> list[str]:
        """Encoders whose features are searched on."""
        run = self._plan.encoders.run
        return [name for name in run if name in (self._search.encoders or run[:1])]

    def datasets(self) -> list[tuple[str, str]]:
        """(benchmark, dataset) of those that have leak-free folds."""
        wanted = self._search.datasets
        return [
            (benchmark, dataset)
            for benchmark, dataset, protocol in self._plan.folds
            if protocol == PROTOCOL and (wanted is None or f"{benchmark}/{dataset}" in wanted)
        ]

    def cases(self) -> list[Case]:
        """Every search; none where no method has a grid or no dataset leak-free folds."""
        return [
            Case(benchmark, dataset, encoder, method)
            for benchmark, dataset in self.datasets()
            for encoder in self.encoders()
            for method in self.methods()
        ]

    def folds(self, benchmark: str, dataset: str) -> list[int]:
        """Folds on whose select slides a choice is made."""
        every = list(self._plan.folds[benchmark, dataset, PROTOCOL])
        return every if self._search.folds == "each" else every[:1]

    def run(self, case: Case, fold: int) -> Run:
        """The training that candidates of a fold stand in for."""
        seed = self._plan.config.seeds[0] if self._search.seed is None else self._search.seed
        return case.run(fold, seed)

    # -- candidates and rungs --------------------------------------------------------------------------------

    def _space(self, method: str) -> Space:
        """The candidates of a method."""
        return Space(self._search.grids[method])

    def _rungs(self, method: str) -> list[Rung]:
        """How many candidates a fold train for how long, one rung after the other."""
        epochs = getattr(self._plan.config.settings_of(method), "epochs", None)
        s = self._search
        return rungs(len(self.space(method)), epochs, s.halving, s.eta, s.min_epochs)

    def _paramspace(self, method: str) -> Paramspace:
        """The jobs of a method's first rung: a row a slice of the grid."""
        import pandas as pd
        from snakemake.utils import Paramspace

        slices = self.space(method).slices(self._share(method, 0))
        return Paramspace(pd.DataFrame(slices), single_wildcard="candidates")

    def _share(self, method: str, rung: int) -> int:
        """Candidates of a job of a rung, at most: fewer where they train longer. Without rungs they train in full."""
        every = self.rungs(method)
        wanted = per_job(self._search.trials_per_job, every[rung], every[0]) if len(every) > 1 else 1
        return max(wanted, math.ceil(every[rung].candidates / MOST_JOBS))

    def shares(self, method: str, rung: int) -> list[str]:
        """Places of the ranking before that each job of a later rung trains: ``first-count``."""
        size, n = self._share(method, rung), self.rungs(method)[rung].candidates
        return [f"{first}-{min(size, n - first)}" for first in range(0, n, size)]

    def jobs(self, method: str, rung: int) -> int:
        """Jobs of a rung on one fold."""
        if rung:
            return len(self.shares(method, rung))
        return len(self.space(method).slices(self._share(method, 0)))

    def _job_names(self, method: str, rung: int) -> list[str]:
        """Names of the files of a rung's jobs."""
        if rung:
            return [f"places{share}.json" for share in self.shares(method, rung)]
        return [f"{pattern}.json" for pattern in self.paramspace(method).instance_patterns]

    # -- files -----------------------------------------------------------------------------------------------

    def trials(self, case: Case, fold: int, rung: int) -> list[Path]:
        """Files of a rung's trials."""
        folder = self._fold(case, fold) / f"rung{rung}"
        return [folder / name for name in self._names(case.method, rung)]

    def ranking(self, case: Case, fold: int, rung: int) -> Path:
        """The ranking after a rung."""
        return self._fold(case, fold) / f"ranking{rung}.json"

    def rankings_before(self, case: Case, fold: int, rung: int) -> list[Path]:
        """The ranking that a rung starts from; none for the first."""
        return [self.ranking(case, fold, rung - 1)] if rung else []

    def rankings(self, case: Case) -> list[Path]:
        """The last ranking of every fold."""
        last = len(self.rungs(case.method)) - 1
        return [self.ranking(case, fold, last) for fold in self.folds(case.benchmark, case.dataset)]

    def choices(self) -> list[Path]:
        """The choice of every search."""
        layout = self._plan.layout
        return [layout.search_choice(case.benchmark, case.dataset, case.encoder, case.method) for case in self.cases()]

    def _fold(self, case: Case, fold: int) -> Path:
        return self._plan.layout.search_fold(case.benchmark, case.dataset, case.encoder, case.method, fold)

    # -- words for commands ----------------------------------------------------------------------------------

    def training(self, case: Case, fold: int, rung: int) -> str:
        """What every job of a rung is told, as words of the command line."""
        group, options = self.run(case, fold).group, self._plan.options
        return options.of_method(group, *self._settings(case.method, rung), *options.weights(group))

    def _words(self, method: str, rung: int) -> list[str]:
        """Settings that candidates leave as they are, and the epochs of a rung."""
        cls, epochs = METHODS.get(method), self.rungs(method)[rung].epochs
        left_out = self._columns(method) | (cls.sampling - cls.selection) | (set() if epochs is None else {"epochs"})
        settings = self._plan.config.settings_of(method).model_dump_json(exclude=left_out)
        return ["--settings", settings, *(() if epochs is None else ("--epochs", str(epochs)))]

    def _columns(self, method: str) -> set[str]:
        """Settings that the grid sets."""
        return {name for column in self._search.grids[method] for name in column.split(TIE)}

    def slice_grid(self, method: str, wildcards: Any) -> str:
        """The part of the grid that a job of the first rung trains, as JSON."""
        instance = self.paramspace(method).instance(wildcards)
        return json.dumps(self.space(method).slice_grid({name: _plain(value) for name, value in instance.items()}))

    def grid(self, method: str) -> str:
        """The whole grid as JSON."""
        return json.dumps(self._search.grids[method])

    def base(self, method: str) -> str:
        """The configuration's own values of what the grid sets, as JSON."""
        return self._plan.config.settings_of(method).model_dump_json(include=self._columns(method))


def _plain(value: Any) -> object:
    """A number of numpy's as Python's."""
    return value.item() if hasattr(value, "item") else value
