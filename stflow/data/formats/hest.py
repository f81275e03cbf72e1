"""HEST-1k's layout, which also is that of the her2st and demo sources.

<root>/st/<slide>.h5ad          counts and spot centres
<root>/wsis/<slide>.tif         the slide, a pyramid
<root>/metadata/<slide>.json    pixel_size_um_estimated: the um/px that counts, where the file exists
<root>/bench/<dataset>/var_50genes.json    the dataset's own gene list, if it has one
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from stflow.data.formats.base import Counts, SlideFormat
from stflow.data.formats.h5ad import read_h5ad_counts
from stflow.io import read_json


class Hest(SlideFormat):
    """Slides as HEST-1k stores them; tiles are cut from the image."""

    name: ClassVar[str] = "hest"
    tiles: ClassVar[Literal["cut", "ready"]] = "cut"

    def counts_files(self, dataset: str, slide: str) -> list[Path]:
        """The AnnData, and the image, whose tags hold the scale where no metadata file does."""
        return [self.root / "st" / f"{slide}.h5ad", *self.image_files(dataset, slide)]

    def image_files(self, dataset: str, slide: str) -> list[Path]:
        """The pyramid."""
        return [self.root / "wsis" / f"{slide}.tif"]

    def sidecar_files(self, dataset: str, slide: str) -> list[Path]:
        """The metadata, with the um/px that counts."""
        return [self.root / "metadata" / f"{slide}.json"]

    def read_counts(self, dataset: str, slide: str) -> Counts:
        """Counts and spot centres of a slide; see `SlideFormat.read_counts`."""
        return read_h5ad_counts(self.counts_files(dataset, slide)[0], slide, self._mpp(dataset, slide))

    def gene_list_file(self, dataset: str) -> Path | None:
        """``bench/<dataset>/var_50genes.json``."""
        return self.root / "bench" / dataset / "var_50genes.json"

    def _mpp(self, dataset: str, slide: str) -> float:
        from stflow.wsi.slide_image import open_slide, require_mpp

        metadata = self.sidecar_files(dataset, slide)[0]
        if metadata.is_file():
            stated = read_json(metadata).get("pixel_size_um_estimated")
            if stated is not None:
                return require_mpp(float(stated), str(metadata))
        path = self.image_files(dataset, slide)[0]
        with open_slide(path) as image:
            return require_mpp(image.mpp, f"slide {slide} ({path})")
