"""Write a table of the paper: ours by protocol, the printed numbers beside those of the paper's protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stflow.io import write_text
from stflow.report.paper.cells import COLUMNS, PRINTED_PROTOCOL, Cell, Context, cells_of, record
from stflow.report.paper.grid import Section
from stflow.report.paper.pages import HOW_TO_READ, Reasons, notes, section_block
from stflow.report.paper.scores import Scores, read_scores
from stflow.report.paper.tables import TITLES, sections
from stflow.report.render import to_csv

#: What each protocol means, in one line below its heading.
PROTOCOLS = {
    "paper": "As the released code: epoch chosen on the test fold where there are no validation slides, the dataset's "
    "own gene list.",
    "clean": "Without leaks: the test slides have no part in the choice of epoch and genes; no patient on both sides.",
}


@dataclass(frozen=True)
class Block:
    """The sections of one protocol with their cells."""

    protocol: str
    sections: list[tuple[Section, list[Cell]]] = field(default_factory=list)


def make_paper_table(
    name: str,
    metrics: Sequence[Path],
    csv_path: Path,
    md_path: Path,
    genes: Sequence[tuple[str, str, str]] = (),
    not_run: Mapping[str, str] | None = None,
    not_same: Mapping[str, str] | None = None,
) -> None:
    """Write one of the paper's tables 2 to 5 and 9 to 13 as CSV and markdown.

    Parameters
    ----------
    name
        ``table2`` and so on, see `stflow.report.paper.tables.sections`.
    metrics
        Metrics files; none where nothing of the table is run, which leaves the printed numbers.
    csv_path, md_path
        Files to write.
    genes
        (benchmark, dataset, gene) of the configuration's maps, for table 2.
    not_run, not_same
        See `stflow.report.paper.cells.Context`.

    Raises
    ------
    IntegrityError
        A metrics file that is missing or cut short.
    """
    found = blocks(name, metrics, genes, Context(not_run or {}, not_same or {}))
    write_text(csv_path, to_csv(COLUMNS, records(found)))
    title, note = TITLES[name]
    parts = [f"# {title}", note, HOW_TO_READ, *to_parts(found)]
    write_text(md_path, "\n\n".join(part for part in parts if part) + "\n")


def blocks(name: str, metrics: Sequence[Path], genes: Sequence[tuple[str, str, str]], context: Context) -> list[Block]:
    """A block a protocol, the paper's first; that one is there also where nothing was run."""
    wanted = {gene for _, _, gene in genes} | _printed_genes(name)
    scores = read_scores(metrics, sorted(wanted) if name == "table2" else ())
    found = []
    for protocol in sorted({PRINTED_PROTOCOL, *scores}, key=[PRINTED_PROTOCOL, *scores].index):
        ours = scores.get(protocol, Scores())
        shown = sections(name, ours.datasets(), ours.encoders("stflow"), genes)
        cells = [(section, cells_of(section, protocol, ours, context)) for section in shown]
        found.append(Block(protocol, cells))
    return found


def _printed_genes(name: str) -> set[str]:
    if name != "table2":
        return set()
    return {key.gene for section in sections(name, {}, {}, []) for _, _, key in section.cells()}


def records(found: Sequence[Block]) -> list[dict[str, object]]:
    """Lines of the CSV: every cell that has a number of ours or a printed one."""
    return [
        record(section, block.protocol, cell)
        for block in found
        for section, cells in block.sections
        for cell in cells
        if cell.ours is not None or cell.printed is not None
    ]


def to_parts(found: Sequence[Block]) -> list[str]:
    """The page below its title: protocols, sections, notes."""
    parts: list[str] = []
    for block in found:
        reasons = Reasons()
        body: list[str] = []
        for section, cells in block.sections:
            if text := section_block(section, cells, reasons):
                ran = any(cell.ours for cell in cells)
                body += [f"### {section.heading}" + ("" if ran else " (not run)"), text]
        if body:
            parts += [f"## Protocol {block.protocol}", PROTOCOLS.get(block.protocol, ""), *body]
            parts += notes(block.sections, reasons)
    return parts
