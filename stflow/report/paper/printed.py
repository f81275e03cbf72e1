"""The printed cells of the paper's tables, and which of them cannot be right.

``resources/published.json`` holds every printed number (arXiv 2506.05361), table by table as it stands in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from stflow.report.published import published_table

#: Two thirds of a thousand: what rounding of the cells and of the mean can make of an average.
ROUNDING = 0.001

#: (table, row) -> what is wrong with its printed cells, where it does not follow from the table itself.
DOUBTS = {
    (
        "table13_zinb_mu_phi_uni",
        "COAD",
    ): "misprinted: all nine cells lie above what tables 1, 5 and 9 print for STFlow on COAD",
}


@dataclass(frozen=True, slots=True)
class Printed:
    """A printed cell.

    Attributes
    ----------
    mean, std
        The numbers; None where the paper prints none (``OOM``, an average without a spread).
    text
        What stands there instead of a number, e.g. ``OOM``.
    doubt
        Why the number cannot be right; empty if nothing speaks against it.
    computed
        Whether it is not printed, but follows from printed cells.
    """

    mean: float | None = None
    std: float | None = None
    text: str = ""
    doubt: str = ""
    computed: bool = False


def printed_cell(source: str, row: str, column: str) -> Printed | None:
    """The cell of a row and a column under their printed names; averages too, on either axis. None if there is none."""
    table = published_table(source)
    rows: dict[str, dict[str, Any]] = table["rows"]
    if row in rows and column in rows[row]:
        return _cell(source, row, rows[row][column])
    if row in rows and column == "average":
        return _average([rows[row][name] for name in table["cols"]], (table["printed_average"] or {}).get(row))
    if row in rows or not any(column in cells for cells in rows.values()):
        return None
    left_out = row.removeprefix("without ") if row.startswith("without ") else None
    cells = [cells[column] for name, cells in rows.items() if name != left_out]
    printed = (table.get("printed_average") or {}).get(column) if row == "average" else None
    return _average(cells, printed)


def _cell(source: str, row: str, value: Any) -> Printed:
    doubt = DOUBTS.get((source, row), "")
    if isinstance(value, str):
        return Printed(text=value)
    if isinstance(value, (int, float)):
        return Printed(float(value), None, doubt=doubt or _doubt_of_mean(source, row, float(value)))
    return Printed(float(value[0]), float(value[1]), doubt=doubt)


def _average(cells: list[Any], printed: float | None) -> Printed | None:
    """The printed average of cells, or where none is printed theirs; with a doubt where the two do not agree."""
    if any(isinstance(cell, str) for cell in cells):
        return None if printed is None else Printed(printed)
    recomputed = fmean(cell[0] for cell in cells)
    if printed is None:
        return Printed(recomputed, computed=True)
    return Printed(printed, doubt=_doubt(printed, recomputed))


def _doubt(printed: float, recomputed: float) -> str:
    if abs(printed - recomputed) <= ROUNDING:
        return ""
    return f"misprinted: {printed:.3f} stands there, and the printed cells give {recomputed:.4f}"


#: Tables 3 and 4 print averages alone; these hold the cells that they are of: family/encoder, or encoder/variant.
_DETAIL = {"table3": "table12_pfm", "table4": "table9_ablation"}


def _doubt_of_mean(source: str, encoder: str, value: float) -> str:
    """A mean of tables 3 and 4 against the cells of the tables that print these."""
    detail = published_table(_DETAIL[source])
    for name in detail["printed_average"]:
        if encoder in name.split("/") and "STFlow" in name.split("/") and value == detail["printed_average"][name]:
            found = printed_cell(_DETAIL[source], *(("average", name) if source == "table3" else (name, "average")))
            return found.doubt if found else ""
    return ""
