"""On which datasets and under which protocols a method runs, where not on all: ``method_datasets``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stflow.config_sections import DEFAULT_VARIANT
from stflow.data.splits import PROTOCOLS
from stflow.models import METHODS

if TYPE_CHECKING:
    from stflow.config import _Config


def runs_on(config: _Config, method: str, variant: str, benchmark: str, dataset: str, protocol: str) -> bool:
    """Whether a row of the tables runs on a dataset under a protocol.

    What is given to a variant goes before what is given to its method.
    """
    for row in (f"{method}/{variant}", method):
        if row in config.method_datasets:
            return any(_fits(text, benchmark, dataset, protocol) for text in config.method_datasets[row])
    return True


def _fits(text: str, benchmark: str, dataset: str, protocol: str) -> bool:
    place, _, only = text.partition("@")
    return place in (benchmark, f"{benchmark}/{dataset}") and only in ("", protocol)


def problems_of_method_datasets(config: _Config) -> list[str]:
    """What is wrong with ``method_datasets``."""
    problems = []
    for row, places in config.method_datasets.items():
        method, _, variant = row.partition("/")
        if method not in METHODS.names() or (variant or DEFAULT_VARIANT) not in config.variants_of(method):
            problems.append(f"method_datasets: no method or variant {row!r}")
        if not places:
            problems.append(f"method_datasets.{row}: names no dataset; leave it out to run on all")
        for text in places:
            place, at, protocol = text.partition("@")
            benchmark, slash, dataset = place.partition("/")
            if benchmark not in config.benchmarks:
                known = ", ".join(config.benchmarks)
                problems.append(f"method_datasets.{row}: no benchmark {benchmark!r} here; known are {known}")
            elif slash and dataset not in config.datasets(benchmark):
                problems.append(f"method_datasets.{row}: benchmark {benchmark} has no dataset {dataset!r} here")
            if at and protocol not in PROTOCOLS:
                problems.append(f"method_datasets.{row}: no protocol {protocol!r}; take paper or clean")
    return problems
