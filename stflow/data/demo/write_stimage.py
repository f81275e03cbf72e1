"""Write one made section as STImage-1K4M stores its own.

Below the root::

    Visium/image/<slide>.png              the picture; its um/px is told nowhere
    Visium/gene_exp/<slide>_count.csv     spots x genes, rows named <slide>_<barcode>
    Visium/coord/<slide>_coord.csv        yaxis, xaxis and r: centre and radius of a spot, px
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stflow.data.demo import recipe
from stflow.data.demo.expression import GENES
from stflow.data.demo.section import Section
from stflow.io import atomic_path, write_text

_PNG_COMPRESSION = 1  # zlib level: speed before size


def write_stimage_slide(section: Section, root: Path) -> None:
    """Write all files of one slide, each atomically."""
    folder, slide = root / "Visium", section.slide
    names = [f"{slide}_{barcode}" for barcode in section.grid.barcodes]
    _write_png(folder / "image" / f"{slide}.png", section.image())

    lines = [",".join(["", *GENES])]
    lines += [f"{name},{','.join(map(str, row))}" for name, row in zip(names, section.counts.tolist(), strict=True)]
    write_text(folder / "gene_exp" / f"{slide}_count.csv", "\n".join(lines) + "\n")

    radius = recipe.SPOT_UM / 2 / section.patient.mpp
    lines = [",yaxis,xaxis,r"]
    lines += [f"{name},{y},{x},{radius}" for name, (x, y) in zip(names, section.centres_px.tolist(), strict=True)]
    write_text(folder / "coord" / f"{slide}_coord.csv", "\n".join(lines) + "\n")


def _write_png(path: Path, image: np.ndarray) -> None:
    import pyvips

    height, width, bands = image.shape
    picture = pyvips.Image.new_from_memory(image.data, width, height, bands, "uchar")
    with atomic_path(path) as partial:
        picture.pngsave(str(partial), compression=_PNG_COMPRESSION, keep="none")
