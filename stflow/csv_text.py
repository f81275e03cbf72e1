"""CSV that a spreadsheet opens without running anything: the one place where the project makes it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: How a formula begins, for the usual spreadsheets.
_FORMULA = ("=", "+", "-", "@", "\t")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, quote_all: bool = False) -> str:
    """CSV with a header; cells that a row lacks are empty, and text that a spreadsheet would run stays text.

    Raises
    ------
    ValueError
        A row with a column that is not among ``columns``.
    """
    text = io.StringIO()
    writer = csv.DictWriter(
        text,
        list(columns),
        restval="",
        lineterminator="\n",
        quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL,
    )
    writer.writerow({name: plain_cell(name) for name in columns})
    for row in rows:
        writer.writerow({name: plain_cell(value) if isinstance(value, str) else value for name, value in row.items()})
    return text.getvalue()


def plain_cell(text: str) -> str:
    """Text for a CSV cell: an apostrophe goes before what a spreadsheet would take for a formula; numbers stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")  # a bare \\r ends a row for some readers
    if not text.startswith(_FORMULA) or _NUMBER.fullmatch(text) or text in ("-", "+"):
        return text
    return f"'{text}"
