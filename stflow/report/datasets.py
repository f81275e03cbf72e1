"""What the datasets are: slides, patients, folds and spots, beside what the paper's tables 7 and 8 print.

The paper does not say what its "average spots" are. Those of table 8 are the mean number of spots over all slides,
those of table 7 the mean number of tiles over the training slides of fold 0, in both decimals cut: with the published
numbers (`stflow.data.facts`) this gives every printed one; the mean over all slides gives none of table 7's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stflow.data.facts import slide_facts
from stflow.data.splits import Manifest
from stflow.io import open_h5, reading, write_text
from stflow.layout import Layout
from stflow.report.published import printed_dataset
from stflow.report.render import MISSING, format_table, to_csv

COLUMNS = (
    *("benchmark", "dataset", "organ", "technology", "patients", "slides", "folds", "spots", "tiles", "tiles_fold0"),
    *(f"printed_{name}" for name in ("organ", "technology", "patients", "samples", "splits", "avg_spots")),
    "counted_in",
)

#: Benchmark -> its table of the paper.
TITLES = {"hest": "Table 7: datasets of HEST", "stimage": "Table 8: datasets of STImage-1K4M"}
#: Benchmark -> the column that the printed average is.
AVERAGES = {"hest": "tiles_fold0", "stimage": "spots"}

HOW_TO_READ = (
    "Spots and tiles are means a slide: spots that were measured, and those of them with a tile, on tissue. "
    "Patients are those of the split manifest, folds those of the paper protocol."
)
PRINTED = "After = or ≠ stands what the paper prints (arXiv 2506.05361); in parentheses its name of an organ."
NOTES = {
    "hest": "The paper's average spots are the tiles of fold 0's training slides, decimals cut; the mean over all "
    "slides agrees for no dataset. It prints COAD as Visium, 6 samples of 3 patients; hest-bench's COAD is four Xenium "
    "samples, and the printed 5,079 spots are the tiles of one of them, TENX111.",
    "stimage": "The paper's average spots are those of all slides, decimals cut.",
}


def make_datasets(results: Path, benchmark: str, manifest: Path, datasets: Sequence[str], csv: Path, md: Path) -> None:
    """Write the datasets of one benchmark as CSV and markdown.

    Parameters
    ----------
    results
        Results folder; a slide without slide and tiles file there is counted as it was published.
    benchmark, manifest
        Name and split manifest.
    datasets
        Those to show; default all.
    csv, md
        Files to write.

    Raises
    ------
    IntegrityError
        A slide or tiles file that is cut short.
    """
    read = Manifest.read(manifest)
    found = [facts_of(Layout(Path(results)), benchmark, name, read) for name in datasets or read.datasets()]
    write_text(csv, to_csv(COLUMNS, found))
    write_text(md, to_markdown(benchmark, found))


def facts_of(layout: Layout, benchmark: str, dataset: str, manifest: Manifest) -> dict[str, Any]:
    """`COLUMNS` of one dataset; None where something is not known."""
    slides = manifest.slides(dataset)
    known = slide_facts(benchmark)
    published = [known[dataset, slide] for slide in slides if (dataset, slide) in known]
    counted = {slide: count(layout, benchmark, slide) for slide in slides}
    here = {slide: numbers for slide, numbers in counted.items() if numbers is not None}
    spots = {**{facts.slide: facts.spots for facts in published}, **{slide: one for slide, (one, _) in here.items()}}
    tiles: dict[str, int | None] = {facts.slide: facts.patches for facts in published}
    tiles |= {slide: other for slide, (_, other) in here.items()}
    protocol = "paper" if manifest.folds(dataset, "paper") else "clean"
    indices = manifest.folds(dataset, protocol)
    first = manifest.fold(dataset, protocol, indices[0], refuse=False).train if indices else ()
    printed = printed_dataset(benchmark, dataset) or {}
    return {
        "benchmark": benchmark,
        "dataset": dataset,
        "organ": _each(facts.organ for facts in published),
        "technology": _each(facts.technology for facts in published),
        "patients": len({manifest.patient(dataset, slide) for slide in slides}),
        "slides": len(slides),
        "folds": len(indices),
        "spots": _mean(spots, slides),
        "tiles": _mean(tiles, slides),
        "tiles_fold0": _mean(tiles, first),
        **{name: printed.get(name.removeprefix("printed_")) for name in COLUMNS if name.startswith("printed_")},
        "counted_in": "data" if len(here) == len(slides) else "data and publication" if here else "publication",
    }


def count(layout: Layout, benchmark: str, slide: str) -> tuple[int, int] | None:
    """Spots and tiles of a slide in the results folder; None unless both files are there."""
    slide_file, tiles_file = layout.slide(benchmark, slide), layout.tiles(benchmark, slide)
    if not (slide_file.is_file() and tiles_file.is_file()):
        return None
    with open_h5(slide_file, whole=False) as counts, reading(slide_file):
        spots = int(counts["uns/stflow/n_spots"][()])
    with open_h5(tiles_file) as tiles, reading(tiles_file):
        return spots, len(tiles["img"])


def to_markdown(benchmark: str, found: Sequence[Mapping[str, Any]]) -> str:
    """The whole page; columns of which nothing is known are left out."""
    columns = {
        "organ": "printed_organ",
        "technology": "printed_technology",
        "patients": "printed_patients",
        "slides": "printed_samples",
        "folds": "printed_splits",
        "spots": "",
        "tiles": "",
        "tiles_fold0": "",
    }
    if benchmark in AVERAGES:
        columns[AVERAGES[benchmark]] = "printed_avg_spots"
    else:
        del columns["tiles_fold0"]
    shown = {name: printed for name, printed in columns.items() if any(row[name] not in (None, "") for row in found)}
    header = ["dataset", *(name.replace("tiles_fold0", "tiles, training of fold 0") for name in shown)]
    body = [[row["dataset"], *(_cell(row, name, printed) for name, printed in shown.items())] for row in found]
    labels = 1 + sum(name in ("organ", "technology") for name in shown)
    has_printed = any(row[f"printed_{name}"] is not None for row in found for name in ("samples", "technology"))
    sources = dict.fromkeys(row["counted_in"] for row in found)
    parts = [
        f"# {TITLES.get(benchmark, f'Datasets of {benchmark}')}",
        HOW_TO_READ + (f" {PRINTED}" if has_printed else ""),
        format_table(header, body, labels),
        NOTES.get(benchmark, "") if has_printed else "",
        "" if list(sources) == ["data"] else "Slides that are not made yet are counted as published.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def agrees(row: Mapping[str, Any], name: str, printed: str) -> bool | None:
    """Whether a value is the printed one, averages with their decimals cut; None where nothing is printed."""
    if not printed or row[printed] is None or row[name] in (None, ""):
        return None
    value = int(row[name]) if isinstance(row[name], float) else row[name]
    return bool(value == row[printed])


def _cell(row: Mapping[str, Any], name: str, printed: str) -> str:
    value = row[name]
    text = MISSING if value in (None, "") else f"{value:,.1f}" if isinstance(value, float) else str(value)
    same = agrees(row, name, printed)
    if same is None or (same and isinstance(value, str)):
        return text
    if name == "organ":
        return f"{text} ({row[printed]})"
    return f"{text} {'=' if same else '≠'} {_grouped(row[printed])}"


def _grouped(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _each(names: Any) -> str:
    return ", ".join(dict.fromkeys(name for name in names if name))


def _mean(numbers: Mapping[str, int | None], slides: Sequence[str]) -> float | None:
    """Mean over slides; None unless the number of every one is known."""
    known = [number for slide in slides if (number := numbers.get(slide)) is not None]
    return sum(known) / len(known) if known and len(known) == len(slides) else None
