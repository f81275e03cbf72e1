"""What a results folder holds, for a terminal: its tables, and where the figures and the report are."""

from __future__ import annotations

from pathlib import Path

from stflow.errors import DataError
from stflow.layout import Layout
from stflow.report.render import show


def print_results(results: Path) -> None:
    """Print the tables of a finished run, Table 1 first, then the paths of all that can be opened.

    Raises
    ------
    DataError
        There is no table yet.
    """
    layout = Layout(Path(results))
    first = layout.table("table1", "md")
    if not first.is_file():
        raise DataError(f"no {first}: nothing has been made in {results} yet. Run `snakemake table1` first.")
    pages = [first, *sorted(page for page in first.parent.rglob("*.md") if page != first)]
    for page in pages:
        print(show(page))
    print(f"tables   {first.parent}")
    for figure in sorted((layout.results / "figures").rglob("*.png")):
        print(f"figure   {figure}")
    if layout.report.is_file():
        print(f"report   {layout.report}")
