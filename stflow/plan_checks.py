"""What a configuration asks for that cannot be done: told before anything runs, all problems in one message."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stflow.config_sections import GENE_CHOICES
from stflow.data.hub.lock import shown
from stflow.data.sources import DEMO_SLIDE_FILES
from stflow.errors import ConfigError, DataError
from stflow.plan_check_figures import problems_of_efficiency, problems_of_maps
from stflow.plan_exports import ExportPlan

if TYPE_CHECKING:
    from stflow.workflow import Plan


def refuse_unusable(plan: Plan) -> None:
    """Check names, folds, gene lists and figures against the split manifests.

    Raises
    ------
    ConfigError
        All problems in one message.
    """
    problems = [
        f"{benchmark}/{dataset} has no fold for the {protocol} protocol: add rows to {plan.manifest(benchmark)}, "
        "or one with the role none and the reason"
        for (benchmark, dataset, protocol), folds in plan.folds.items()
        if not folds
    ]
    if not plan.folds:
        told = "; ".join(f"{'/'.join(key)}: {reason}" for key, reason in plan.without_folds.items())
        problems.append(f"nothing to run, as no dataset has folds ({told}): add a dataset or a protocol")
    for name, entry in plan.config.benchmarks.items():
        if entry.source == "demo" and entry.format not in DEMO_SLIDE_FILES:
            known = " or ".join(DEMO_SLIDE_FILES)
            problems.append(f"benchmarks.{name}.format: the demo is made as {known}, not as {entry.format}")
    for name in plan.config.benchmarks:
        for protocol in plan.config.protocols:
            path = getattr(plan.config.genes_of(name), protocol)
            if path not in GENE_CHOICES and not Path(path).is_file():
                problems.append(f"genes.{protocol} of benchmark {name}: no gene list at {path}")
    problems += [
        f"benchmarks.{name}: encoder {encoder!r} reads patches around the tiles from the slide's image, and tiles of "
        f"format {plan.config.benchmarks[name].format} come ready, without one: leave out the encoder and the methods "
        "that need it, or the benchmark"
        for name, slide_format in plan.formats.items()
        for encoder, parts in plan.encoders.names.items()
        if parts.around and slide_format.tiles == "ready"
    ]
    problems += _shared_roots(plan)
    problems += plan.chosen.lacking(plan.folds)
    figures = plan.config.figures
    problems += [
        f"figures.histograms: no dataset {name!r} in this configuration; write benchmark/dataset"
        for name in figures.histograms or []
        if not any(plan.folds.get((*name.partition("/")[::2], protocol)) for protocol in plan.config.protocols)
    ]
    problems += problems_of_maps(plan)
    problems += problems_of_efficiency(plan)
    problems += ExportPlan(plan).problems()
    if problems:
        lines = "\n".join(f"  - {line}" for line in problems)
        raise ConfigError(f"the configuration has {len(problems)} problem(s):\n{lines}")


def _shared_roots(plan: Plan) -> list[str]:
    """Folders into which two repositories would be downloaded."""
    owner: dict[Path, str] = {}
    problems = []
    for name in plan.sourced("hub"):
        root, repository = plan.config.root(name), str(plan.config.benchmarks[name].repository)
        if owner.setdefault(root, repository) != repository:
            problems.append(f"benchmarks.{name}.root: {root} is that of {owner[root]} already")
    return problems


def refuse_incomplete_mirrors(plan: Plan) -> None:
    """Check that the mirrors below ``data_root`` hold every file that is needed, and none of them empty.

    Raises
    ------
    DataError
        Files that a mirror lacks.
    """
    for name in plan.sourced("hub"):
        mirror = plan.config.mirror(name)
        if mirror is None:
            continue
        missing = [str(path) for path in plan.hub_files(name) if not (path.is_file() and path.stat().st_size)]
        if missing:
            raise DataError(
                f"the mirror {mirror} of {plan.config.benchmarks[name].repository} lacks {len(missing)} files that "
                f"benchmark {name} needs, or has them empty: {shown(missing)}. Copy them there, leave data_root "
                f"out to download them, or narrow benchmarks.{name}.datasets."
            )
