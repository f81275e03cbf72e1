"""The paper's datasets and encoders under our names and its own."""

from __future__ import annotations

from stflow.report.paper.grid import AVERAGE, Entry, Key

#: hest-bench's tasks in the paper's order -> the paper's names.
HEST = {
    **{name: name for name in ("IDC", "PRAD", "PAAD", "SKCM", "COAD", "READ", "CCRCC", "HCC", "LUNG")},
    "LYMPH_IDC": "LYMPH",
}
#: STImage-1K4M's organs in the paper's order.
STIMAGE = ("Breast", "Brain", "Skin", "Mouth", "Stomach", "Prostate", "Colon")
#: Encoder -> the paper's name of it.
ENCODERS = {"ciga": "Ciga", "uni": "UNI", "gigapath": "Gigapath"}
#: Encoder -> the name that we print.
ENCODER_LABELS = {"ciga": "Ciga", "uni": "UNI", "gigapath": "GigaPath"}

#: Rows of printed tables that are averages.
PRINTED_AVERAGE = "average"
#: Left out of the second average: its scores are close to nothing for every method.
WITHOUT = "HCC"


def datasets(benchmark: str) -> tuple[Entry, ...]:
    """Entries of a benchmark's datasets, in the paper's order; none for a benchmark that is not the paper's."""
    names = {"hest": HEST, "stimage": dict(zip(STIMAGE, STIMAGE, strict=True))}.get(benchmark, {})
    return tuple(Entry(printed, Key(benchmark, ours), printed) for ours, printed in names.items())


def average(entries: tuple[Entry, ...], label: str = "Average", printed: str = PRINTED_AVERAGE) -> Entry:
    """The mean over datasets."""
    over = tuple(entry.key.dataset for entry in entries)
    return Entry(label, Key(entries[0].key.benchmark, AVERAGE, over=over), printed)


def averages(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The mean over datasets, and that without `WITHOUT` where it is among them, which the paper does not print."""
    rest = tuple(entry for entry in entries if entry.key.dataset != WITHOUT)
    both = (average(entries),)
    return both if len(rest) == len(entries) else (*both, average(rest, f"Average without {WITHOUT}", "without HCC"))


def as_run(benchmark: str, names: list[str]) -> tuple[Entry, ...]:
    """Entries of datasets of any benchmark, and their average where there are several."""
    entries = tuple(Entry(name, Key(benchmark, name)) for name in names)
    return entries if len(entries) == 1 else (*entries, average(entries, printed=""))
