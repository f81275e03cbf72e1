"""One page in two languages says the same."""

from __future__ import annotations

import re

from docutils.core import publish_parts
from markdown_it import MarkdownIt

from stflow.report.prose import Bullets, Heading, Table, to_markdown, to_rst

PARTS = [
    "Of 3 * 4 names_ with `code_x` and **strong words**, one|two \\ ends_",
    Bullets(["a - b", "**none leaks**."]),
    Table(["what", "n"], [["a_b", "-"], ["`x`", "1.5"]]),
]


def text_of(html: str) -> list[str]:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).split()


def test_both_are_rendered_to_the_same_words_without_a_warning() -> None:
    rst = publish_parts(to_rst(PARTS), writer="html", settings_overrides={"halt_level": 2})["body"]
    markdown = MarkdownIt().enable("table").render(to_markdown(PARTS))
    assert text_of(rst) == text_of(markdown)
    for html in (rst, markdown):
        assert "<strong>strong words</strong>" in html
        assert html.count("<tr>") == 3
        assert html.count("<li>") == 2, "a dash in a cell is no list"


def test_a_heading_is_a_heading_in_markdown_and_bold_where_it_is_included() -> None:
    assert to_markdown([Heading("Checks")]) == "## Checks\n"
    assert to_rst([Heading("Checks")]) == "**Checks**\n"
