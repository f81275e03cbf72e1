"""Slides made on the spot, in the official formats, with a known truth. docs/demo.md is the recipe in words.

recipe      every name and number             senders     cell clusters that neighbours answer to
grid        hexagonal spots                   expression  counts
tissue      compartments                      section     one slide's plan, spots, senders, counts
texture, nuclei, structures, stamp, render    the H&E image
write_hest, write_stimage, task, truth        files;  manifest  the folds
"""

from __future__ import annotations

from pathlib import Path

from stflow.data.demo.recipe import SIZE_UM
from stflow.data.demo.recipe import benchmark as _benchmark

__all__ = ["make_slide", "make_task"]


def make_slide(benchmark: str, slide: str, root: Path, *, size_um: float = SIZE_UM) -> None:
    """Write one demo slide below ``root``: image and counts.

    Parameters
    ----------
    benchmark
        ``demo_hest`` or ``demo_stimage``.
    slide
        A slide of that benchmark.
    root
        Folder to write into.
    size_um
        Side of the slide, um; smaller slides are for tests.

    Raises
    ------
    DataError
        No such benchmark or slide.
    """
    from stflow.data.demo.section import make_section

    section = make_section(benchmark, slide, size_um=size_um)
    if benchmark == "demo_hest":
        from stflow.data.demo.write_hest import write_hest_slide

        write_hest_slide(section, Path(root))
    else:
        from stflow.data.demo.write_stimage import write_stimage_slide

        write_stimage_slide(section, Path(root))


def make_task(benchmark: str, root: Path, *, size_um: float = SIZE_UM) -> None:
    """Write what a whole demo benchmark has beside its slides: folds, gene list, metadata, planted truth.

    Parameters and errors as of `make_slide`.
    """
    from stflow.data.demo import task

    write = task.write_hest_task if benchmark == "demo_hest" else task.write_stimage_task
    write(_benchmark(benchmark), Path(root), size_um)
