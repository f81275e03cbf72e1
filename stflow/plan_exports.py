"""What the workflow asks about exports: which run and slide each of the configuration's entries is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stflow.config_sections import DEFAULT_VARIANT
from stflow.layout import Group, Run

if TYPE_CHECKING:
    from stflow.config_report import Export
    from stflow.workflow import Plan

#: What `snakemake exports` says where there is nothing to export.
NOTHING_TO_EXPORT = (
    "report.exports is empty, so there is nothing to export. Name predictions there, e.g.\n"
    "    report: {exports: [{benchmark: hest, slide: TENX95, method: stflow@uni}]}\n"
    "or ask for one file: snakemake <results>/exports/<run>/<slide>.h5ad (docs/report.md)."
)


class ExportPlan:
    """Exports of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def files(self) -> list[Path]:
        """Every file that the configuration asks for, each once."""
        report = self._plan.config.report
        suffixes = ("h5ad", "zarr") if report.spatialdata else ("h5ad",)
        wanted = [(self.run(entry), entry.slide) for entry in report.exports]
        return [
            self._plan.layout.export(run, slide, suffix)
            for run, slide in dict.fromkeys(wanted)
            for suffix in suffixes
            if run is not None
        ]

    def run(self, entry: Export) -> Run | None:
        """The run of an entry: of the first fold that tests the slide. None where `problems` says why."""
        method, variant, encoder = _row(entry.method)
        encoders = self._encoders(method, variant, encoder)
        folds = self._testing(entry)
        if len(encoders) != 1 or not folds or (seed := self._seed(entry, method)) is None:
            return None
        dataset, fold = folds[0]
        return Group(entry.benchmark, dataset, encoders[0], method, variant, entry.protocol).run(fold, seed)

    def problems(self) -> list[str]:
        """What is wrong with the entries, each in a line."""
        return [
            f"report.exports[{place}]: {problem}"
            for place, entry in enumerate(self._plan.config.report.exports)
            if (problem := self._problem(entry))
        ]

    def _problem(self, entry: Export) -> str:
        method, variant, encoder = _row(entry.method)
        if (method, variant) not in self._plan.methods:
            return f"{entry.method!r} is no row of `methods` ({', '.join(self._plan.config.methods)})"
        every = self._encoders(method, variant, "")
        if encoder and encoder not in every:
            return f"{entry.method!r}: {method} runs on {', '.join(every)} here, not on {encoder}"
        if not encoder and len(every) > 1:
            return f"{entry.method!r} runs on {', '.join(every)}; write which one, as {entry.method}@{every[0]}"
        if not every:
            return f"{entry.method!r} is not run on any encoder of this configuration"
        if not self._testing(entry):
            return (
                f"no fold of this configuration tests slide {entry.slide!r} of {entry.benchmark!r} under the "
                f"{entry.protocol} protocol"
            )
        if self._seed(entry, method) is None:
            return f"seed {entry.seed} of {method} is not run; there are {self._plan.seeds(method)}"
        return ""

    def _seed(self, entry: Export, method: str) -> int | None:
        seeds = self._plan.seeds(method)
        wanted = seeds[0] if entry.seed is None else entry.seed
        return wanted if wanted in seeds else None

    def _encoders(self, method: str, variant: str, encoder: str) -> list[str]:
        """Encoders that are run with a row; the one that is asked for, where one is."""
        if (method, variant) not in self._plan.methods:
            return []
        own = [name for name in self._plan.config.encoders_of(method, variant) if name not in self._plan.config.not_run]
        return [name for name in own if encoder in ("", name)]

    def _testing(self, entry: Export) -> list[tuple[str, int]]:
        return [
            (dataset, index)
            for (benchmark, dataset, protocol), folds in self._plan.folds.items()
            if (benchmark, protocol) == (entry.benchmark, entry.protocol)
            for index, fold in folds.items()
            if entry.slide in fold.test
        ]


def _row(text: str) -> tuple[str, str, str]:
    """(method, variant, encoder) of ``method[/variant][@encoder]``; an encoder that is not named is empty."""
    name, _, encoder = text.partition("@")
    method, _, variant = name.partition("/")
    return method, variant or DEFAULT_VARIANT, encoder
