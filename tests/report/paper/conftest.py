"""Long metrics made from numbers: a cell's mean and its spread over three seeds, exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stflow.evaluation.evaluate import COLUMNS
from stflow.report.paper.grid import Key

#: Seed scores of mean m and population standard deviation s: m + s x each of these.
SPREAD = (-(1.5**0.5), 0.0, 1.5**0.5)


def rows_of(key: Key, mean: float, std: float | None, protocol: str = "paper", **differs: Any) -> list[dict[str, Any]]:
    """Metrics of one cell: two folds and two genes a seed, three seeds, or one where there is no spread."""
    found = []
    for seed, step in enumerate(SPREAD if std is not None else (0.0,)):
        for fold, gene, away in ((0, "A", 0.02), (0, "B", -0.02), (1, "A", 0.01), (1, "B", -0.01)):
            found.append(
                {
                    "benchmark": key.benchmark,
                    "dataset": key.dataset,
                    "encoder": key.encoder,
                    "method": key.method,
                    "variant": key.variant,
                    "protocol": protocol,
                    "fold": fold,
                    "seed": seed,
                    "slide": "all",
                    "gene": key.gene or gene,
                    "metric": "pearson",
                    "value": mean + (0 if key.gene else away) + step * (std or 0.0),
                    "n_spots": 100,
                    "status": "ok",
                    "reason": "",
                    **differs,
                }
            )
    return found


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., list[Path]]:
    """Write key -> (mean, std) as a metrics file; other columns as given."""

    def write_cells(cells: Mapping[Key, tuple[float, float | None]], **differs: Any) -> list[Path]:
        every = [row for key, (mean, std) in cells.items() for row in rows_of(key, mean, std, **differs)]
        path = tmp_path / "metrics.parquet"
        pd.DataFrame(every)[list(COLUMNS)].to_parquet(path)
        return [path]

    return write_cells
