"""A job of many slides holds one at a time; `benchmarks/many_slides.py` does the same with a thousand."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

#: In a process of its own, as a tests' process has memory that others left free.
WATCH = """
    import os, sys
    from pathlib import Path
    from stflow.embedding.extract import make_features

    class Watched(list):
        def __iter__(self):
            for name in super().__iter__():
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                print(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
                yield name

    kept = []
    if len(sys.argv) > 2:  # what a leak would look like
        from stflow.embedding import tile_job
        plain = tile_job.TileJob.run
        def run(self, slide, what):
            plain(self, slide, what)
            kept.append(bytearray(os.urandom(1_000_000)))
        tile_job.TileJob.run = run
    make_features(
        Path(sys.argv[1]), "B", Watched(f"S{n}" for n in range(1, 41)), "classical", weights=None, code="",
        batch_size=7, precision="fp32", threads=1, workers=0, device="cpu",
    )
"""


def growth_mb(bench: Any, *words: str) -> float:
    """Resident memory before the last slide less that before the tenth, MB."""
    command = [sys.executable, "-c", textwrap.dedent(WATCH), str(bench.results), *words]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seen = [float(line) for line in said.splitlines()]
    assert len(seen) == 40
    return seen[-1] - seen[9]


def test_memory_does_not_grow_with_the_slides(bench: Any) -> None:
    for number in range(2, 41):
        for path in (bench.slide_file, bench.tiles):
            os.link(path(), path(f"S{number}"))
    assert growth_mb(bench) < 5
    for number in range(1, 41):
        bench.out(f"S{number}").unlink()
        bench.kept(f"S{number}").unlink()
    assert growth_mb(bench, "leak") > 20, "the test sees a leak of a megabyte a slide"
