"""The demo's folds: ``python -m stflow.data.demo.manifest`` writes resources/splits/demo_{hest,stimage}.csv.

demo_hest leaves one patient out, under both protocols; two of its four patients are tested, which keeps the demo short.
demo_stimage has one fold a protocol: ``paper`` is 8:1:1 by
slide whoever the patient is, as the paper's on STImage-1K4M, so that the test slide's patient is trained on too;
``clean`` keeps patients apart.
"""

from __future__ import annotations

from pathlib import Path

from stflow.csv_text import csv_text
from stflow.data.demo.recipe import BENCHMARKS, Benchmark
from stflow.data.splits import COLUMNS
from stflow.io import write_text

#: Roles of demo_stimage's slides, by their last three letters; 8:1:1 of six slides is four, one and one.
_STIMAGE_ROLES = {
    "paper": {"P5A": "train", "P6A": "train", "P7A": "train", "P8A": "train", "P5B": "val", "P6B": "test"},
    "clean": {"P5A": "train", "P5B": "train", "P6A": "train", "P6B": "train", "P7A": "val", "P8A": "test"},
}
_ROLES = ("train", "val", "test")
#: Patients of demo_hest that are tested, one a fold.
_HEST_FOLDS = 2


def manifest_rows(benchmark: Benchmark) -> list[dict[str, str]]:
    """Rows of a benchmark's split manifest, see `stflow.data.splits`."""
    if benchmark.name == "demo_hest":
        return [
            _row(benchmark, slide, "*", fold, "test" if owner == patient.name else "train")
            for fold, patient in enumerate(benchmark.patients[:_HEST_FOLDS])
            for slide, owner in sorted(benchmark.slides.items(), key=lambda item: item[1] == patient.name)
        ]
    return [
        _row(benchmark, slide, protocol, 0, role)
        for protocol, roles in _STIMAGE_ROLES.items()
        for role in _ROLES
        for slide in benchmark.slides
        if roles[slide[-3:]] == role
    ]


def _row(benchmark: Benchmark, slide: str, protocol: str, fold: int, role: str) -> dict[str, str]:
    values = (benchmark.dataset, slide, benchmark.slides[slide], protocol, str(fold), role)
    return dict(zip(COLUMNS, values, strict=True))


def manifest_csv(benchmark: Benchmark) -> str:
    """Text of a benchmark's split manifest."""
    return csv_text(COLUMNS, manifest_rows(benchmark))


if __name__ == "__main__":
    folder = Path(__file__).resolve().parents[3] / "resources" / "splits"
    for each in BENCHMARKS.values():
        write_text(folder / f"{each.name}.csv", manifest_csv(each))
