"""What every benchmark leaves: its rows as CSV, its table as markdown, and the table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stflow.csv_text import csv_text


def save(out: Path, rows: Sequence[Mapping[str, Any]], text: str) -> None:
    """Write ``<out>.csv`` and ``<out>.md``, and print the table."""
    write_csv(out.with_suffix(".csv"), rows)
    out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of the same keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(csv_text(list(rows[0]), rows), encoding="utf-8", newline="")
