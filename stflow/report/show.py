"""What a results folder holds, for a terminal: its tables, and where the figures and the report are."""

from __future__ import annotations

from pathlib import Path

from stflow.errors import DataError
from stflow.layout import Layout
from stflow.report.render import show

#: Tables of what went in rather than what came out: printed after the others.
_LAST = ("audit", "datasets")
#: Pages for a browser: named, not printed.
_PAGES = ("provenance", "runs")


def print_results(results: Path) -> None:
    """Print the tables of a finished run, Table 1 first and the audit last, then the paths of all that can be opened.

    Raises
    ------
    DataError
        There is no table yet.
    """
    layout = Layout(Path(results))
    first = layout.table("table1", "md")
    if not first.is_file():
        raise DataError(f"no {first}: nothing has been made in {results} yet. Run `snakemake table1` first.")
    pages = sorted(first.parent.rglob("*.md"), key=lambda page: (page != first, _is_last(first.parent, page), page))
    for page in pages:
        if page.stem not in _PAGES:
            print(show(page))
    print(f"tables   {first.parent}")
    for figure in sorted((layout.results / "figures").rglob("*.png")):
        print(f"figure   {figure}")
    if layout.report.is_file():
        print(f"report   {layout.report}")


def _is_last(tables: Path, page: Path) -> bool:
    return page.relative_to(tables).with_suffix("").parts[0] in _LAST
