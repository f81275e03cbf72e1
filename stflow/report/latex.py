"""A markdown table as LaTeX with booktabs, for a manuscript: the same cells, marks and notes.

Each table of a page becomes one ``table`` environment under the heading that stands above it; running text becomes
notes below it. The preamble needs ``\\usepackage{booktabs,graphicx}``; text is UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.token import Token

#: Tables of more columns than this are scaled to the width of the text.
WIDE = 6

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "µ": r"$\mu$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≠": r"$\neq$",
    "≈": r"$\approx$",
    "√": r"$\surd$",
    "²": r"$^2$",
}
_NEGATIVE = re.compile(r"(?<![\w$])-(?=\d)")
_MARKS = {"strong_open": r"\textbf{", "strong_close": "}", "em_open": r"\emph{", "em_close": "}"}


def to_latex(markdown: str) -> str:
    """The whole page; HTML blocks are left out."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    lines = ["% Needs \\usepackage{booktabs,graphicx}."]
    headings: list[str] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token.type == "heading_open":
            depth = int(token.tag[1])
            headings = [*headings[: depth - 1], _inline(tokens[index + 1])]
        elif token.type == "table_open":
            end = next(place for place in range(index, len(tokens)) if tokens[place].type == "table_close")
            lines += ["", *_table(tokens[index:end], headings)]
            index = end
        elif token.type == "inline" and tokens[index - 1].type == "paragraph_open":
            lines += ["", "\\par\\noindent " + _inline(token)]
        elif token.type in ("fence", "code_block"):
            lines += ["", "\\begin{verbatim}", token.content.rstrip("\n"), "\\end{verbatim}"]
        index += 1
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Plain text as LaTeX; a minus before a digit is a minus."""
    escaped = "".join(_SPECIAL.get(sign, sign) for sign in text)
    return _NEGATIVE.sub("$-$", escaped)


def _table(tokens: Sequence[Token], headings: Sequence[str]) -> Iterator[str]:
    rows, aligned = _rows(tokens), _alignment(tokens)
    yield "\\begin{table}"
    yield "\\centering"
    yield f"\\caption{{{'. '.join(filter(None, headings))}}}"
    wide = len(aligned) > WIDE
    if wide:
        yield "\\resizebox{\\textwidth}{!}{%"
    yield f"\\begin{{tabular}}{{{''.join(aligned)}}}"
    yield "\\toprule"
    for place, row in enumerate(rows):
        if place == 1:
            yield "\\midrule"
        # Lines without a label belong to the one above; a gap stands between such groups.
        elif place > 1 and row[0] and not rows[place - 1][0]:
            yield "\\addlinespace"
        yield " & ".join(row) + " \\\\"
    yield "\\bottomrule"
    yield "\\end{tabular}" + ("}" if wide else "")
    yield "\\end{table}"


def _rows(tokens: Sequence[Token]) -> list[list[str]]:
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(_inline(token))
    return rows


def _alignment(tokens: Sequence[Token]) -> list[str]:
    """``l`` or ``r`` of every column."""
    cells = [token for token in tokens if token.type == "th_open"]
    return ["r" if "right" in str(cell.attrGet("style") or "") else "l" for cell in cells]


def _inline(token: Token) -> str:
    parts = []
    for child in token.children or []:
        if child.type == "text":
            parts.append(escape(child.content))
        elif child.type == "code_inline":
            parts.append(f"\\texttt{{{escape(child.content)}}}")
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type == "html_inline":
            parts.append({"<u>": r"\underline{", "</u>": "}"}.get(child.content, ""))
        else:
            parts.append(_MARKS.get(child.type, ""))
    return "".join(parts)
