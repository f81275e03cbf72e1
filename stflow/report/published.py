"""The numbers printed in the paper, beside which ours stand.

``resources/published.json`` holds tables 1 to 13 of arXiv 2506.05361. A printed number is given only where the
encoder is the one it was printed for, and for the paper protocol, under which it was made.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

PUBLISHED = Path(__file__).resolve().parents[2] / "resources" / "published.json"

#: Benchmark -> table of its main results.
_MAIN_TABLE = {"hest": "table1_hest", "stimage": "table1_stimage"}
#: Encoder -> its name in the paper; the column of the random forest on it bears the encoder's name.
_ENCODERS = {"ciga": "Ciga", "uni": "UNI", "gigapath": "Gigapath", "gigapath_slide": "Gigapath-slide"}
#: hest-bench's task -> the paper's name of it.
_DATASETS = {"LYMPH_IDC": "LYMPH"}
#: The encoder of STFlow in the main table; table 12 has the others, for HEST alone.
_STFLOW_ENCODER = "uni"
#: Benchmark -> table of its datasets.
_DATASET_TABLE = {"hest": "table7_hest_stats", "stimage": "table8_stimage_stats"}


def printed(
    benchmark: str, dataset: str, encoder: str, method: str, variant: str, protocol: str
) -> tuple[float, float] | None:
    """Printed mean and standard deviation of one cell, or None if the paper has no such cell (or printed OOM)."""
    place = _place(benchmark, encoder, method, variant, protocol)
    if place is None:
        return None
    table, column = place
    value = table["rows"].get(_DATASETS.get(dataset, dataset), {}).get(column)
    return (float(value[0]), float(value[1])) if isinstance(value, list) else None


def printed_average(
    benchmark: str, datasets: Collection[str], encoder: str, method: str, variant: str, protocol: str
) -> float | None:
    """Printed average over datasets; None unless ``datasets`` are all that it was taken over."""
    place = _place(benchmark, encoder, method, variant, protocol)
    if place is None or {_DATASETS.get(name, name) for name in datasets} != set(place[0]["rows"]):
        return None
    return (place[0]["printed_average"] or {}).get(place[1])


def published_table(name: str) -> dict[str, Any]:
    """A table under its name in the file, as it is there: ``rows``, mostly with ``cols`` and ``printed_average``."""
    return _published()[name]


def printed_dataset(benchmark: str, dataset: str) -> dict[str, Any] | None:
    """Printed organ, technology, patients, samples, splits and avg_spots of a dataset; table 8 has fewer of them."""
    return _entry(_DATASET_TABLE.get(benchmark), dataset)


def printed_histogram(benchmark: str, dataset: str) -> tuple[float, float] | None:
    """Mean and standard deviation of expression that figure 2 prints, which shows four datasets of HEST."""
    entry = _entry("figure2_stats" if benchmark == "hest" else None, dataset)
    return None if entry is None else (float(entry["mean"]), float(entry["std"]))


def _entry(table: str | None, dataset: str) -> dict[str, Any] | None:
    return None if table is None else _published()[table].get(_DATASETS.get(dataset, dataset))


def _place(benchmark: str, encoder: str, method: str, variant: str, protocol: str) -> tuple[dict[str, Any], str] | None:
    """The table and the column of one method on one encoder."""
    table, name = _MAIN_TABLE.get(benchmark), _ENCODERS.get(encoder.lower())
    if protocol != "paper" or variant != "default" or table is None or name is None or not PUBLISHED.is_file():
        return None
    if method == "random_forest":
        return _published()[table], name
    if method == "stflow" and encoder.lower() == _STFLOW_ENCODER:
        return _published()[table], "STFlow"
    if method == "stflow" and benchmark == "hest":
        return _published()["table12_pfm"], f"STFlow/{name}"
    return None


@cache
def _published() -> dict[str, Any]:
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))
