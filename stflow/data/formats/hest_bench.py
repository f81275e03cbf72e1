"""hest-bench's layout: counts, and patches that are cut already.

    <root>/<dataset>/adata/<slide>.h5ad     counts and spot centres
    <root>/<dataset>/patches/<slide>.h5     img (N, 224, 224, 3) uint8, coords (N, 2), barcode (N, 1)
    <root>/<dataset>/var_50genes.json       the gene list
    <root>/<dataset>/splits/                the official folds; other folders are ignored

The patches' barcodes are a subset of the counts', and their ``pixel_size`` is the only um/px there is.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from stflow.data.formats.base import Counts, SlideFormat
from stflow.data.formats.h5ad import read_h5ad_counts
from stflow.io import open_h5


class HestBench(SlideFormat):
    """Slides as hest-bench stores them; patches are taken as they are."""

    name: ClassVar[str] = "hest_bench"
    tiles: ClassVar[Literal["cut", "ready"]] = "ready"

    def counts_files(self, dataset: str, slide: str) -> list[Path]:
        """The AnnData, and the patches, which hold the scale."""
        return [self.root / dataset / "adata" / f"{slide}.h5ad", *self.image_files(dataset, slide)]

    def image_files(self, dataset: str, slide: str) -> list[Path]:
        """The patches."""
        return [self.root / dataset / "patches" / f"{slide}.h5"]

    def read_counts(self, dataset: str, slide: str) -> Counts:
        """Counts and spot centres of a slide; see `SlideFormat.read_counts`."""
        return read_h5ad_counts(self.counts_files(dataset, slide)[0], slide, self._mpp(dataset, slide))

    def gene_list_file(self, dataset: str) -> Path | None:
        """``<dataset>/var_50genes.json``."""
        return self.root / dataset / "var_50genes.json"

    def _mpp(self, dataset: str, slide: str) -> float:
        from stflow.wsi.slide_image import require_mpp

        path = self.image_files(dataset, slide)[0]
        with open_h5(path) as handle:
            found = [handle[key].attrs["pixel_size"] for key in ("coords", "img") if _has(handle, key)]
        return require_mpp(float(found[0]) if found else None, f"slide {slide} ({path}, attribute pixel_size)")


def _has(handle: dict, key: str) -> bool:
    return key in handle and "pixel_size" in handle[key].attrs
