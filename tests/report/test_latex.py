"""Tables as LaTeX: every cell, the marks, nothing that LaTeX would read as its own."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stflow.report.latex import escape, to_latex

PAGE = """# Table 9: 50 % of R&D_1

## Protocol paper

Scores of `a_b`; see ± below.

|     |         |              UNI |          STFlow |
| --- | ------- | ---------------: | --------------: |
| IDC | ours    | <u>0.5 ± 0.1</u> |        **-0.6** |
|     | printed |              OOM | -0.100 ↑ (a) #1 |
| SKCM | ours   | 1 | 2 |

- (a) not comparable.

| wide | 1 | 2 | 3 | 4 | 5 | 6 |
| --- | --- | --- | --- | --- | --- | --- |
| a | b | c | d | e | f | g |
"""


def test_a_table_is_booktabs_with_its_marks() -> None:
    tex = to_latex(PAGE)
    assert tex.count("\\toprule") == tex.count("\\midrule") == tex.count("\\bottomrule") == 2
    assert "\\begin{tabular}{llrr}" in tex
    assert "IDC & ours & \\underline{0.5 $\\pm$ 0.1} & \\textbf{$-$0.6} \\\\" in tex
    assert " & printed & OOM & $-$0.100 $\\uparrow$ (a) \\#1 \\\\\n\\addlinespace\nSKCM & ours" in tex
    assert "\\caption{Table 9: 50 \\% of R\\&D\\_1. Protocol paper}" in tex
    assert "\\texttt{a\\_b}" in tex
    assert "\\par\\noindent (a) not comparable." in tex


def test_only_wide_tables_are_scaled() -> None:
    first, second = to_latex(PAGE).split("\\end{table}")[:2]
    assert "resizebox" not in first.partition("\\begin{table}")[2]
    assert "\\resizebox{\\textwidth}{!}{%" in second
    assert "\\end{tabular}}" in second


def test_what_is_opened_is_closed() -> None:
    tex = to_latex(PAGE)
    for name in set(re.findall(r"\\begin\{(\w+)\}", tex)):
        assert tex.count(f"\\begin{{{name}}}") == tex.count(f"\\end{{{name}}}")
    plain = tex.replace("\\{", "").replace("\\}", "")
    assert plain.count("{") == plain.count("}")


@given(st.text(alphabet="ab_&%$#{}~^<>\\-1± ", max_size=20))
def test_escaped_text_holds_no_bare_special(text: str) -> None:
    left = re.sub(r"\\text\w+\{\}|\\[&%$#_{}]|\$(-|[<>]|\\pm)\$", "", escape(text))
    assert not set(left) & set("&%$#_{}~^<>\\")


@pytest.mark.parametrize(("text", "expected"), [("-0.5", "$-$0.5"), ("a-1", "a-1"), ("1 - 2", "1 - 2")])
def test_a_minus_is_one(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_html_blocks_are_left_out() -> None:
    assert "details" not in to_latex("# T\n\n<details>\n<summary>log</summary>\n</details>\n")
