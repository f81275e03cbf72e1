"""What a results folder holds, for a terminal: its main tables, and where the others, figures and report are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stflow.errors import DataError
from stflow.layout import Layout
from stflow.report.render import show

#: Tables that are printed, in this order; a folder of them counts as one. The others are named.
PRINTED = ("gene_groups", "methods", "protocol_gap", "summary")


def print_results(results: Path, tables: Sequence[str] = ()) -> None:
    """Print the main tables of a finished run, or those that are named, then the paths of all that can be opened.

    Parameters
    ----------
    results
        Results folder.
    tables
        Names of tables, as ``table5`` or ``gene_groups/demo_hest``; these alone are printed.

    Raises
    ------
    DataError
        There is no table yet, or none of a name.
    """
    layout = Layout(Path(results))
    folder = layout.table("x", "md").parent
    there = {page.relative_to(folder).with_suffix("").as_posix(): page for page in sorted(folder.rglob("*.md"))}
    if not there:
        raise DataError(f"no table in {folder}: nothing has been made in {results} yet. Run `snakemake table1` first.")
    if unknown := [name for name in tables if name not in there]:
        raise DataError(f"no table {', '.join(unknown)} in {folder}; there are {', '.join(there)}.")
    if tables:
        for name in tables:
            print(show(there[name]))
        return
    shown = [name for kind in PRINTED for name in there if name.partition("/")[0] == kind]
    for name in shown:
        print(show(there[name]))
    for name, page in there.items():
        if name not in shown:
            print(f"table    {page}")
    for figure in sorted((layout.results / "figures").rglob("*.png")):
        print(f"figure   {figure}")
    if layout.report.is_file():
        print(f"report   {layout.report}")
