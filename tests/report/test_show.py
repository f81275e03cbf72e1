"""What a results folder holds, for a terminal."""

from pathlib import Path

import pytest

from stflow.errors import DataError
from stflow.report.show import print_results


def test_tables_come_first_and_then_where_the_rest_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (
        "tables/audit.md",
        "tables/gene_groups/demo.md",
        "tables/table1.md",
        "tables/runs.md",
        "figures/a/GATA3.png",
        "report.html",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {path.stem}\n\n| dataset | STFlow |\n| --- | ---: |\n| IDC | **0.500** |\n")
    print_results(tmp_path)
    printed = capsys.readouterr().out
    order = [printed.index(text) for text in ("table1", "demo", "audit", "GATA3.png", "report.html")]
    assert order == sorted(order)
    assert "0.500 *" in printed
    assert "runs" not in printed, "thousands of lines, for a browser"


def test_a_folder_without_tables_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing has been made in .* yet. Run `snakemake table1` first"):
        print_results(tmp_path)
