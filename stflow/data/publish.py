"""Gene lists of the paper's datasets, from a results folder to resources/genes, where others can read them.

A list is published once, when it is first made from the shipped folds by the default choice of genes. From then on
the published file is a check: another list for the same dataset is refused, not written over it. One file a dataset,
``resources/genes/<benchmark>/<dataset>.json``::

    {"schema": 1, "protocols": {"paper": {"choice", "source", "folds": {"0": [...]}}, "clean": {...}}}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stflow.config import ROOT, SPLITS, _Config, load
from stflow.config_sections import Genes
from stflow.data.facts import FOLDER as FACTS
from stflow.data.split_record import splits_csv
from stflow.data.splits import PROTOCOLS
from stflow.errors import DataError, IntegrityError
from stflow.io import SCHEMA_VERSION, read_json, write_json
from stflow.layout import Layout
from stflow.stamps import config_record

PUBLISHED = ROOT / "resources" / "genes"


def publish_genes(results: Path, folder: Path = PUBLISHED) -> list[Path]:
    """Copy the gene lists of a results folder to ``folder``.

    Parameters
    ----------
    results
        Results folder of a finished `genes` stage of both protocols.
    folder
        Where gene lists are published.

    Returns
    -------
    list of Path
        The files that were written or hold these lists already.

    Raises
    ------
    DataError
        Nothing can be published: the reasons.
    IntegrityError
        The results' folds or gene lists are not those of the shipped manifest, or another list is published already.
    """
    record = config_record(Path(results))
    if not record.is_file():
        raise DataError(f"no configuration record at {record}. Run the workflow there first.")
    config = load(record)
    published: list[Path] = []
    reasons: list[str] = []
    for benchmark in config.benchmarks:
        reason = _unlike_the_default(config, benchmark)
        if reason:
            reasons.append(f"{benchmark}: {reason}")
            continue
        _require_shipped_folds(config, benchmark, Path(results))
        for dataset in config.datasets(benchmark):
            protocols = [name for name in PROTOCOLS if config.manifest(benchmark).folds(dataset, name)]
            paths = {name: Layout(Path(results)).genes(benchmark, dataset, name) for name in protocols}
            absent = [str(path) for path in paths.values() if not path.is_file()]
            if absent:
                reasons.append(f"{benchmark}/{dataset}: no {', '.join(absent)}")
                continue
            lists = {name: _read(path, config, benchmark, dataset, name) for name, path in paths.items()}
            target = folder / benchmark / f"{dataset}.json"
            _write_once(target, {"schema": SCHEMA_VERSION, "protocols": lists})
            published.append(target)
    if not published:
        raise DataError(f"{results} has no gene list to publish ({'; '.join(reasons)}).")
    return published


def _unlike_the_default(config: _Config, benchmark: str) -> str:
    """Why a benchmark's gene lists are not the paper's; empty if they are."""
    if not (FACTS / f"{benchmark}.csv").is_file():
        return "not a benchmark of the paper"
    if config.manifest_path(benchmark).resolve() != (SPLITS / f"{benchmark}.csv").resolve():
        return "folds of its own manifest"
    if config.genes_of(benchmark) != Genes():
        return "genes are not chosen as by default"
    missing: Sequence[str] = [name for name in PROTOCOLS if name not in config.protocols]
    return f"protocol {', '.join(missing)} was not run" if missing else ""


def _require_shipped_folds(config: _Config, benchmark: str, results: Path) -> None:
    """The results were made from the folds that the manifest holds today."""
    path = Layout(results).splits(benchmark)
    expected = splits_csv(config.manifest(benchmark), config.datasets(benchmark), config.protocols)
    if not path.is_file() or path.read_text(encoding="utf-8") != expected:
        raise IntegrityError(f"{path} is not there, or not of the shipped folds. Run the workflow again.")


def _read(path: Path, config: _Config, benchmark: str, dataset: str, protocol: str) -> dict[str, Any]:
    """A genes file of the results, without its schema."""
    content = read_json(path)
    folds = [str(index) for index in config.manifest(benchmark).folds(dataset, protocol)]
    if list(content.get("folds", {})) != folds:
        raise IntegrityError(f"{path} does not list genes for folds {', '.join(folds)}. Run the genes stage again.")
    return {key: content[key] for key in ("choice", "source", "folds")}


def _write_once(path: Path, content: dict[str, Any]) -> None:
    if not path.is_file():
        write_json(path, content)
    elif read_json(path) != content:
        raise IntegrityError(
            f"{path} is published and holds other genes than these results. Find out why they differ; to publish "
            "anew, delete it first."
        )
