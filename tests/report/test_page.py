"""Tables as pages of HTML."""

import re
from base64 import b64decode
from pathlib import Path

from stflow.report.page import make_page, to_html

TABLE = "# Scores: r\n\n| dataset | STFlow |\n| --- | ---: |\n| IDC | **0.5** |\n| READ | <u>0.2</u> |\n\n- one note\n"


def test_a_table_becomes_a_table_and_keeps_its_marks() -> None:
    body = to_html(TABLE)
    assert "<h1>Scores: r</h1>" in body
    assert '<div class="wide"><table>' in body
    assert body.count("<tr>") == 3
    assert "<strong>0.5</strong>" in body
    assert "<u>0.2</u>" in body
    assert "<li>one note</li>" in body


def test_the_page_stands_alone(tmp_path: Path) -> None:
    md, html = tmp_path / "t.md", tmp_path / "pages" / "t.html"
    md.write_text(TABLE)
    make_page(md, html)
    page = html.read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "<title>Scores: r</title>" in page
    assert not [word for word in ("<script", "src=", "href=", "http") if word in page]


def test_the_page_holds_its_csv_and_latex(tmp_path: Path) -> None:
    md, csv, tex, html = (tmp_path / f"t.{suffix}" for suffix in ("md", "csv", "tex", "html"))
    md.write_text(TABLE)
    csv.write_text("dataset,STFlow\nIDC,0.5\n")
    make_page(md, html, tex, csv)
    found = re.findall(r'download="(.*?)" href="data:text/plain;charset=utf-8;base64,(.*?)"', html.read_text())
    assert {name: b64decode(data).decode() for name, data in found} == {
        "t.csv": csv.read_text(),
        "t.tex": tex.read_text(),
    }
    assert "\\toprule" in tex.read_text()


def test_lines_of_one_row_have_classes() -> None:
    table = "|  |  | a |\n| --- | --- | ---: |\n| IDC | ours | 1 |\n|  | printed | 2 |\n|  | difference | 3 |\n"
    body = to_html(table + "| SKCM | printed; not run | 2 |\n")
    assert re.findall(r'<tr class="(.*?)">', body) == ["ours", "printed", "difference", "printed alone"]
