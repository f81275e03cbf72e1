"""A markdown table as a page of HTML, which Snakemake's report opens; it offers a CSV only as a download."""

from __future__ import annotations

from pathlib import Path

from stflow.io import write_text

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1e293b; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .8rem; border-bottom: 1px solid #cbd5e1; white-space: nowrap; }}
th {{ border-bottom: 2px solid #475569; }}
.wide {{ overflow-x: auto; }}
code {{ font-size: .9em; }}
</style>
</head>
<body>
{body}</body>
</html>
"""


def make_page(md: Path, html: Path) -> None:
    """Write the markdown file ``md`` as one HTML page without scripts or outside files."""
    text = Path(md).read_text(encoding="utf-8")
    title = next((line.lstrip("# ") for line in text.splitlines() if line.startswith("#")), Path(md).stem)
    write_text(html, _PAGE.format(title=title, body=to_html(text)))


def to_html(markdown: str) -> str:
    """The body of the page; wide tables scroll sideways."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    return body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
