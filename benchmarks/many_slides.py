"""Memory of one `embed` job over many slides: resident memory before each slide, and what it grows by.

    python benchmarks/many_slides.py                          # 1,000 slides of 100 tiles with `classical`
    python benchmarks/many_slides.py --encoders efficientnet_lite0 --tiles 8

One slide of the demo's tissue stands under many names. The job is the stage's own, with as many slides as are named,
where the workflow gives it one slide or a dozen: what it would leave behind a slide shows a thousand times as well.
Growth is the slope of a line through the second half of the slides; a network has random weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from encode_speed import register, write_weights
from output import save
from tissue_slides import BENCHMARK, make_slide, slide_name

PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=1000)
    parser.add_argument("--tiles", type=int, default=100)
    parser.add_argument("--encoders", nargs="+", default=["classical"])
    parser.add_argument("--workers", type=int, default=0, help="processes that read")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/many_slides"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(**json.loads(options.worker))))
        return
    rows = []
    for encoder in options.encoders:
        with tempfile.TemporaryDirectory(prefix="slides-") as folder:
            job = {"encoder": encoder, "slides": options.slides, "tiles": options.tiles, "workers": options.workers}
            done = subprocess.run(
                [sys.executable, "-W", "ignore", __file__, "--worker", json.dumps({**job, "folder": folder})],
                env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
            rows.append({**job, **json.loads(done.stdout.splitlines()[-1])})
    lines = [
        "| encoder | slides | tiles each | at slide 10, MB | half way | at the end | growth, MB a 1,000 slides |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        lines.append(
            f"| {row['encoder']} | {row['slides']:,} | {row['tiles']} | {row['early_mb']:.0f} | {row['half_mb']:.0f} "
            f"| {row['end_mb']:.0f} | {row['growth_mb_per_1000']:.1f} |"
        )
    save(options.out, rows, "\n".join(lines) + "\n")


# -- in a worker ---------------------------------------------------------------------------------------------


class Watched(list[str]):
    """Names of slides that note the process's resident memory whenever the next is taken."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.resident_mb: list[float] = []

    def __iter__(self) -> Iterator[str]:
        for name in super().__iter__():
            self.resident_mb.append(resident_mb())
            yield name
        self.resident_mb.append(resident_mb())


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MB


def measure(folder: str, encoder: str, slides: int, tiles: int, workers: int) -> dict[str, Any]:
    """Encode one slide under many names in this process."""
    from stflow.embedding.extract import make_features
    from stflow.layout import Layout

    place = Path(folder)
    weights = register(encoder, place)
    if weights and not weights.is_file():
        write_weights(encoder, weights)
    make_slide(place, tiles, packed=False)
    layout, original = Layout(place), slide_name(tiles, packed=False)
    names = Watched([f"S{number:05d}" for number in range(slides)])
    for name in list.__iter__(names):
        for path in (layout.slide, layout.tiles):
            os.link(path(BENCHMARK, original), path(BENCHMARK, name))
    with Path(os.devnull).open("w") as quiet:
        sys.stderr = quiet
        make_features(
            place, BENCHMARK, names, encoder, weights=weights, code="", batch_size=None, precision="fp32", threads=1,
            workers=workers, device="cpu",
        )  # fmt: skip
        sys.stderr = sys.__stderr__
    made = sum(layout.features(encoder, BENCHMARK, name).is_file() for name in list.__iter__(names))
    assert made == slides, f"{made} of {slides} slides have features"
    seen = np.array(names.resident_mb)
    half = len(seen) // 2
    slope = float(np.polyfit(np.arange(half, len(seen)), seen[half:], 1)[0])
    early = seen[min(10, half)]
    return {"early_mb": early, "half_mb": seen[half], "end_mb": seen[-1], "growth_mb_per_1000": slope * 1000}


if __name__ == "__main__":
    main()
