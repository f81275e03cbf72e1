"""The numbers printed in the paper, beside which ours stand.

``resources/published.json`` holds tables 1 to 13 and figures 2, 4, 5 and 7 of arXiv 2506.05361. Which of our numbers a
printed score belongs to is said in `stflow.report.paper`.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

PUBLISHED = Path(__file__).resolve().parents[2] / "resources" / "published.json"

#: hest-bench's task -> the paper's name of it.
_DATASETS = {"LYMPH_IDC": "LYMPH"}
#: Benchmark -> table of its datasets.
_DATASET_TABLE = {"hest": "table7_hest_stats", "stimage": "table8_stimage_stats"}


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


@cache
def _published() -> dict[str, Any]:
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))
