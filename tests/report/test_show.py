"""What a results folder holds, for a terminal."""

from pathlib import Path

import pytest

from stflow.errors import DataError
from stflow.report.show import print_results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    tables = ("audit", "gene_groups/demo", "table1", "runs", "methods", "summary")
    for name in (*(f"tables/{name}.md" for name in tables), "figures/a/GATA3.png", "report.html"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Page {path.stem}\n\n| dataset | STFlow |\n| --- | ---: |\n| IDC | **0.500** |\n")
    return tmp_path


def test_main_tables_are_printed_and_the_rest_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_results(results)
    printed = capsys.readouterr().out
    told = ("Page demo", "Page methods", "Page summary", "audit.md", "runs.md", "table1.md", "GATA3.png", "report.html")
    order = [printed.index(text) for text in told]
    assert order == sorted(order)
    assert printed.count("0.500 *") == 3


def test_one_table_by_its_name(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_results(results, ["gene_groups/demo"])
    printed = capsys.readouterr().out
    assert "Page demo" in printed
    assert "report" not in printed
    with pytest.raises(DataError, match=r"no table table5 in .*; there are audit, gene_groups/demo"):
        print_results(results, ["table5"])


def test_a_folder_without_tables_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing has been made in .* yet. Run `snakemake table1` first"):
        print_results(tmp_path)
