"""A table as a page of HTML, which Snakemake's report opens, and as LaTeX; the page has the CSV and the LaTeX in it."""

from __future__ import annotations

import html
import re
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

from stflow.io import write_text
from stflow.report.latex import to_latex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

#: Marks that tables set themselves, and what the page of runs folds away; the words inside are escaped.
_OWN_HTML = re.compile(r"</?u>|<br ?/?>|<details><summary>[^<>]*</summary>|</details>|<(p|pre)>[^<>]*</\1>")

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1e293b; margin: 2rem auto; padding: 0 1.5rem; }}
p, ul, h1, h2, h3 {{ max-width: 52rem; }}
h3 {{ margin-bottom: .4rem; }}
table {{ border-collapse: collapse; margin: .4rem 0 1.4rem; font-size: 14px; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .2rem .55rem; border-bottom: 1px solid #e2e8f0; white-space: nowrap; }}
th {{ border-bottom: 2px solid #475569; text-align: left; position: sticky; top: 0; background: #fff; }}
th:first-child, td:first-child {{ position: sticky; left: 0; background: #fff; }}
tr.ours td, tr.printed td {{ border-bottom: none; }}
tr.alone td {{ border-bottom: 1px solid #e2e8f0; }}
tr.printed td, tr.difference td {{ color: #64748b; font-size: 13px; }}
tr.ours td:first-child, tr.alone td:first-child {{ color: #1e293b; font-size: 14px; }}
.wide {{ overflow-x: auto; }}
code, pre {{ font-size: .9em; }}
pre {{ background: #f8fafc; padding: .8rem; overflow-x: auto; }}
summary {{ cursor: pointer; }}
nav a {{ margin-right: 1rem; color: #2563eb; }}
</style>
</head>
<body>
{links}{body}</body>
</html>
"""


def make_page(md: Path, html_path: Path, tex: Path | None = None, csv: Path | None = None) -> None:
    """Write a markdown file as one HTML page without scripts or outside files, and as LaTeX.

    Parameters
    ----------
    md
        Markdown to read.
    html_path, tex
        Files to write.
    csv
        The same table as CSV, offered in the page.
    """
    text = Path(md).read_text(encoding="utf-8")
    title = next((line.lstrip("# ") for line in text.splitlines() if line.startswith("#")), Path(md).stem)
    downloads: dict[str, str] = {}
    if csv is not None:
        downloads["csv"] = Path(csv).read_text(encoding="utf-8")
    if tex is not None:
        downloads["tex"] = to_latex(text)
        write_text(tex, downloads["tex"])
    links = "".join(_link(f"{Path(md).stem}.{suffix}", content) for suffix, content in downloads.items())
    shown = f"<nav>{links}</nav>\n" if links else ""
    write_text(html_path, _PAGE.format(title=html.escape(title), links=shown, body=to_html(text)))


def _link(name: str, text: str) -> str:
    """A link that saves a text which is in the page itself."""
    data = b64encode(text.encode()).decode()
    kind = "LaTeX" if name.endswith(".tex") else "CSV"
    return f'<a download="{html.escape(name)}" href="data:text/plain;charset=utf-8;base64,{data}">{kind}</a>'


def to_html(markdown: str) -> str:
    """The body of the page; wide tables scroll sideways, and lines of one row stand together."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True}).enable("table").disable("image")  # an image would be fetched
    tokens = parser.parse(markdown)
    _name_lines(tokens)
    _only_own_html(tokens)
    body = parser.renderer.render(tokens, parser.options, {})
    return body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")


def _only_own_html(tokens: Sequence[Token]) -> None:
    """Show all HTML but our own marks as text: names of genes and slides come from outside."""
    for token in tokens:
        _only_own_html(token.children or ())
        if token.type in ("html_inline", "html_block") and not _OWN_HTML.fullmatch(token.content.strip()):
            token.type, token.tag = "text", ""


def _name_lines(tokens: Sequence[Token]) -> None:
    """Give table rows the class of what their second cell says they are: ours, printed, difference."""
    for place, token in enumerate(tokens):
        if token.type != "tr_open":
            continue
        cells = [other.content for other in tokens[place : place + 6] if other.type == "inline"]
        word = cells[1].partition(";")[0] if len(cells) > 1 else ""
        if word in ("ours", "printed", "difference"):
            token.attrSet("class", f"{word} alone" if word == "printed" and cells[0] else word)
