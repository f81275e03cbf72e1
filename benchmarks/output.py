"""What every benchmark leaves: its rows as CSV, its table as markdown, and the table on the terminal."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def save(out: Path, rows: Sequence[Mapping[str, Any]], text: str) -> None:
    """Write ``<out>.csv`` and ``<out>.md``, and print the table."""
    write_csv(out.with_suffix(".csv"), rows)
    out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of the same keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
