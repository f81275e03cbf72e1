"""A page as parts, headings, paragraphs, lists and tables, written as markdown or as reStructuredText.

The report's front page is reStructuredText, which Snakemake renders, and all other pages are markdown; what stands on
both is said once. In paragraphs and cells ``**strong**`` and ``code`` between backticks are marks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stflow.report.render import format_table


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; level 1 is the page's."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first ``n_labels`` columns are words, the others numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_labels: int = 1


Part = Heading | Bullets | Table | str


def to_markdown(parts: Sequence[Part]) -> str:
    """The page as markdown."""
    out = []
    for part in parts:
        if isinstance(part, Heading):
            out.append(f"{'#' * part.level} {part.text}")
        elif isinstance(part, Bullets):
            out.append("\n".join(f"- {item}" for item in part.items))
        elif isinstance(part, Table):
            out.append(format_table(part.header, part.rows, part.n_labels))
        else:
            out.append(part)
    return "\n\n".join(out) + "\n"


def to_rst(parts: Sequence[Part]) -> str:
    """The page as reStructuredText, its headings in bold: where it is included, levels are the including page's."""
    out = []
    for part in parts:
        if isinstance(part, Heading):
            out.append(f"**{_rst(part.text)}**")
        elif isinstance(part, Bullets):
            out.append("\n".join(f"- {_rst(item)}" for item in part.items))
        elif isinstance(part, Table):
            rows = [part.header, *part.rows]
            cells = [
                "\n".join(f"{'* -' if place == 0 else '  -'} {_rst(cell)}".rstrip() for place, cell in enumerate(row))
                for row in rows
            ]
            body = "\n".join(cells).replace("\n", "\n   ")
            out.append(f".. list-table::\n   :header-rows: 1\n\n   {body}")
        else:
            out.append(_rst(part))
    return "\n\n".join(out) + "\n"


def _rst(text: str) -> str:
    """Text with the marks of markdown as those of reStructuredText; what would be a mark by accident is escaped."""
    kept = re.split(r"(\*\*.+?\*\*|`[^`]+`)", text)
    return "".join(
        f"``{part[1:-1]}``" if part.startswith("`") else part if part.startswith("**") else _escaped(part)
        for part in kept
    )


def _escaped(text: str) -> str:
    found = re.sub(r"([\\*`|])|(?<=\w)(_)(?=\W|$)", lambda mark: f"\\{mark[0]}", text)
    return f"\\{found}" if re.match(r"[-+](\s|$)", found) else found  # a dash of its own would be a list
