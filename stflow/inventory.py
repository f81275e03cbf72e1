"""What there is: datasets, encoders, methods, variants and formats by name, and the methods' parameter counts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from stflow.data.formats import FORMATS
from stflow.data.hub.manifest import repository
from stflow.data.splits import STUDY, Manifest
from stflow.encoders import ENCODERS
from stflow.encoders.base import Encoder, Weights
from stflow.encoders.names import STAINS, SYMMETRIES
from stflow.errors import RegistryError
from stflow.models import METHODS

if TYPE_CHECKING:
    from rich.table import Column

KINDS = ("datasets", "encoders", "methods", "variants", "formats")

#: What the heads of columns leave unsaid.
_NOTES = {
    "encoders": "here: its weights are in results/weights. D: features. M: million parameters. px: side of the "
    "network's input. tile: size; normalisation.\n"
    f"Every encoder of tiles also has the variants +{' or +'.join(STAINS)}, and +{' or +'.join(SYMMETRIES)}.",
}


def print_inventory(kind: str) -> None:
    """Print one table of names with what a reader needs to choose among them.

    Raises
    ------
    RegistryError
        ``kind`` is not one of `KINDS`.
    """
    from rich.console import Console
    from rich.table import Table

    if kind not in KINDS:
        raise RegistryError(f"no list of {kind!r}; there are {', '.join(KINDS)}.")
    makers = (_datasets, _encoders, _methods, _variants, _formats)
    columns, rows = makers[KINDS.index(kind)]()
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)
    if kind in _NOTES:
        Console().print(f"\n{_NOTES[kind]}")


def _datasets() -> tuple[list[str], Iterable[list[object]]]:
    from stflow.config import SPLITS

    rows: list[list[object]] = []
    for path in sorted(SPLITS.glob("*.csv")):
        manifest = Manifest.read(path)
        for dataset in manifest.datasets():
            slides = manifest.slides(dataset)
            folds = {protocol: len(manifest.folds(dataset, protocol)) for protocol in ("paper", "clean")}
            patients = _patients({manifest.patient(dataset, slide) for slide in slides})
            rows.append([path.stem, dataset, len(slides), patients, folds["paper"], folds["clean"]])
    return ["benchmark", "dataset", "slides", "patients", "folds (paper)", "folds (clean)"], rows


def _patients(names: set[str]) -> str:
    """How many patients are known, and ``?`` where some slides' study is all that is known."""
    known = sum(not name.startswith(STUDY) for name in names)
    return " + ".join([*([str(known)] if known else []), *(["?"] if known < len(names) else [])])


#: How a repository's files are come by, for each `gated` of the hub's manifest.
_ACCESS: dict[object, str] = {
    False: "open",
    None: "see its page",
    True: "gated",
    "auto": "gated (agree to terms)",
    "manual": "gated (a person grants it)",
}


def _access(weights: Weights | Path | None) -> str:
    """Whether an encoder's weights are here, below the default results folder, and if not how they are come by."""
    from stflow.config import Config

    if weights is None:
        return "open"
    if Config().weights_path(weights).is_file():
        return "here"
    return "not there" if isinstance(weights, Path) else _ACCESS[repository(weights.repository).gated]


def _encoders() -> tuple[list[Column], Iterable[list[object]]]:
    from rich.table import Column

    rows: list[list[object]] = []
    for name in ENCODERS.names():
        encoder: type[Encoder] = ENCODERS.get(name)
        millions = (
            "-" if encoder.n_params is None else f"{encoder.n_params / 1e6:.{1 if encoder.n_params < 1e8 else 0}f}"
        )
        access = _access(encoder.weights)
        variants = ", ".join(f"+{variant}" for variant in encoder.variants) or "-"
        transform = encoder.transform.replace(" normalisation", "")
        rows.append([name, encoder.dim, millions, encoder.input_px, access, encoder.licence, transform, variants])
    # Rows of 120 characters at most: a long licence or transform goes on below itself.
    columns = [
        Column("encoder", no_wrap=True),
        Column("D", justify="right"),
        Column("M", justify="right"),
        Column("px", justify="right"),
        Column("access", no_wrap=True),
        Column("licence", max_width=15),
        Column("tile", max_width=29),
        Column("variant", no_wrap=True),
    ]
    return columns, rows


def _methods() -> tuple[list[str], Iterable[list[object]]]:
    rows = []
    for name in METHODS.names():
        method = METHODS.get(name)
        rows.append(
            [
                name,
                "GPU" if method.needs_gpu else "CPU",
                "every seed" if method.stochastic else "one seed",
                "yes" if method.selects else "no",
                (method.__doc__ or "").strip().splitlines()[0],
            ]
        )
    return ["method", "device", "runs", "chooses an epoch", "what it is"], rows


def _variants() -> tuple[list[str], Iterable[list[object]]]:
    from stflow.config import Config

    config = Config()
    rows: list[list[object]] = []
    for method in METHODS.names():
        for variant, changes in METHODS.get(method).variants.items():
            trained = config.trained_as(method, variant)
            rows.append(
                [
                    f"{method}/{variant}",
                    ", ".join(f"{name}: {value}" for name, value in changes.items()),
                    "its own model" if trained == variant else f"{method}/{trained}",
                ]
            )
    return ["variant", "settings that differ", "predicted from"], rows


def _formats() -> tuple[list[str], Iterable[list[object]]]:
    rows = []
    for name in FORMATS.names():
        layout = FORMATS.get(name)
        tiles = "cut from the image" if layout.tiles == "cut" else "taken as they are"
        rows.append([name, tiles, (layout.__doc__ or "").strip().splitlines()[0]])
    return ["format", "tiles", "what it is"], rows


def print_params(n_features: int, n_genes: int, as_json: bool) -> None:
    """Print the trainable parameters of every method at its default settings (None: not a parametric network).

    Below a method stand those of its built-in variants that have another number.
    """
    from stflow.config import Config

    config = Config()
    counts: dict[str, int | None] = {}
    for name in METHODS.names():
        method = METHODS.get(name)
        own = method.n_params(config.settings_of(name), n_features, n_genes)
        counts[name] = own
        for variant in method.variants:
            count = method.n_params(config.settings_of(name, variant), n_features, n_genes)
            if count not in (own, None):
                counts[f"{name}/{variant}"] = count
    if as_json:
        print(json.dumps({"features": n_features, "genes": n_genes, "parameters": counts}, indent=2))
        return
    for name, count in counts.items():
        print(f"{name:20} {'-' if count is None else f'{count:,}'}")
