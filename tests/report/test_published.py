"""The printed numbers are here, and the datasets' are found under our names."""

from __future__ import annotations

from stflow.report.published import PUBLISHED, printed_dataset, printed_histogram, published_table


def test_the_file_is_here() -> None:
    assert PUBLISHED.is_file()


def test_tables_by_their_names() -> None:
    assert published_table("table1_hest")["rows"]["IDC"]["STFlow"] == [0.587, 0.003]
    assert published_table("table3")["rows"]["UNI"]["TRIPLEX"] == 0.395


def test_datasets_and_histograms_under_our_names() -> None:
    assert (printed_dataset("hest", "LYMPH_IDC") or {})["avg_spots"] == 4990
    assert (printed_dataset("stimage", "Colon") or {})["samples"] == 4
    assert printed_dataset("demo_hest", "IDC") is None
    assert printed_histogram("hest", "IDC") == (11.18, 48.1)
    assert printed_histogram("hest", "READ") is None
