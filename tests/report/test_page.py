"""Tables as pages of HTML."""

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
