"""The code stamps of the workflow's stages: one small file each, an input of the rules that run that code.

A stamp holds the hash of `stflow.provenance`; it changes when the code of its stage changes, and only then, so
Snakemake reruns that stage and what follows. Stamps are written when the Snakefile is read; a cluster job reads it
again, finds them as they should be, and leaves them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from stflow.data.formats import FORMATS
from stflow.efficiency.printed import NAMES
from stflow.encoders import ENCODERS
from stflow.encoders.names import EncoderName
from stflow.models import METHODS
from stflow.provenance import code_hash, write_if_changed

if TYPE_CHECKING:
    from stflow.config import _Config

#: Stage -> the module that its command calls; what it calls by name in a registry is added by `stages`.
STAGES: Mapping[str, str] = {
    "source-demo": "stflow.data.demo",
    "source-her2st": "stflow.data.her2st",
    "counts": "stflow.data.counts",
    "tile": "stflow.wsi.tiles",
    "tissue": "stflow.wsi.tissue_picture",
    "embed": "stflow.embedding.extract",
    "splits": "stflow.data.split_record",
    "genes": "stflow.data.genes",
    "audit": "stflow.data.audit",
    "train": "stflow.training.train",
    "predict": "stflow.training.predict",
    "search-trials": "stflow.search.trial",
    "search-rank": "stflow.search.rank",
    "search-choose": "stflow.search.choose",
    "evaluate": "stflow.evaluation.evaluate",
    "table1": "stflow.report.table1",
    "paper-table": "stflow.report.paper.make",
    "methods": "stflow.report.methods",
    "scores": "stflow.report.scores",
    "gene-groups": "stflow.report.gene_groups",
    "calibration": "stflow.report.calibration",
    "audit-table": "stflow.report.audit",
    "datasets": "stflow.report.datasets",
    "intervals": "stflow.report.intervals",
    "comparisons": "stflow.report.comparisons",
    "protocol-gap": "stflow.report.protocol_gap",
    "page": "stflow.report.page",
    "map-genes": "stflow.data.map_genes",
    "maps": "stflow.report.maps.figure",
    "refine": "stflow.training.refine",
    "refinement": "stflow.report.refinement",
    "efficiency": "stflow.efficiency.measure",
    "figure5": "stflow.report.efficiency",
    "table6": "stflow.report.table6",
    "histograms": "stflow.report.histograms",
    "critical-difference": "stflow.report.critical_difference",
    "export": "stflow.export.h5ad",
    "runs": "stflow.report.runs_page",
    "provenance": "stflow.report.provenance_page",
    "summary": "stflow.report.summary",
}


#: What table 6 counts the parameters of.
_COUNTED = tuple(METHODS.module(name) for name in NAMES)


def stages(config: _Config) -> dict[str, tuple[str, ...]]:
    """Stamp name -> the modules whose code it stands for, for every stage of a configuration."""
    benchmarks = config.benchmarks.values()
    formats = {entry.format: FORMATS.module(entry.format) for entry in benchmarks}
    encoders = {name.text: ENCODERS.module(name.encoder) for name in _encoders(config)}
    methods = {name: METHODS.module(name) for name in _methods(config)}
    searched = {name: module for name, module in methods.items() if name in config.search.grids}
    called = {
        "counts": formats,
        "tile": formats,
        "embed": encoders,
        "train": methods,
        "predict": methods,
        "search-trials": searched,
        "refine": {name: module for name, module in methods.items() if name == "stflow"},
        "efficiency": {name: METHODS.module(name) for name in _measured(config)},
    }
    unused = {"source-demo", "source-her2st"} - {f"source-{entry.source}" for entry in benchmarks}
    unused |= set() if searched else {"search-rank", "search-choose"}
    found: dict[str, tuple[str, ...]] = {}
    for stage, module in STAGES.items():
        if stage in called:
            found |= {f"{stage}-{name}": (module, other) for name, other in called[stage].items()}
        elif stage not in unused:
            found[stage] = (module, *(_COUNTED if stage == "table6" else ()))
    return found


def stamp(results: Path, stage: str, name: str = "") -> Path:
    """Path of a stage's stamp; ``name`` is the format, encoder or method that it calls, and may be a wildcard."""
    return results / "code" / (f"{stage}-{name}.sha256" if name else f"{stage}.sha256")


def config_record(results: Path) -> Path:
    """Path of the complete configuration that the results come from."""
    return results / "config.yaml"


def recorded_not_run(results: Path) -> dict[str, str]:
    """Encoder -> why it is left out, of the configuration that was recorded last; empty if there is none."""
    path = config_record(results)
    values = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return dict(values.get("not_run", {}))


def write_stamps(config: _Config) -> None:
    """Write the stamps and the configuration record; a file that would not change stays untouched."""
    for name, modules in stages(config).items():
        write_if_changed(stamp(config.results, name), f"{code_hash(*modules)}\n")
    values = json.loads(config.model_dump_json())
    values["settings"] = {name: values["settings"][name] for name in _methods(config)}
    write_if_changed(config_record(config.results), yaml.safe_dump(values, sort_keys=False))


def _encoders(config: _Config) -> list[EncoderName]:
    """Encoders of a configuration, each once, and the tile encoders of slide encoders."""
    names = [EncoderName.parse(text) for text in config.all_encoders()]
    below = [EncoderName.parse(name.tiles) for name in names if name.tiles]
    return list({name.text: name for name in (*names, *below)}.values())


def _methods(config: _Config) -> list[str]:
    """Methods of a configuration, each once, without their variants."""
    return list(dict.fromkeys(row.partition("/")[0] for row in config.methods))


def _measured(config: _Config) -> list[str]:
    """Methods whose time and memory are measured, each once, without their variants."""
    return list(dict.fromkeys(row.partition("/")[0] for row in config.efficiency.methods))
