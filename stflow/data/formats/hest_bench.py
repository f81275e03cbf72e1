"""hest-bench's layout: counts, and patches that are cut already.

    <root>/<dataset>/adata/<slide>.h5ad     counts and spot centres
    <root>/<dataset>/patches/<slide>.h5     img (N, 224, 224, 3) uint8, coords (N, 2), barcode (N, 1)
    <root>/<dataset>/var_50genes.json       the gene list
    <root>/<dataset>/splits/                the official folds; other folders are ignored

The patches' barcodes are a subset of the counts', and their ``pixel_size`` is the only um/px there is. A slide that
bears the name of a published one must have its spots, genes, patches and um/px.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from stflow.data.formats.base import Counts, SlideFormat
from stflow.data.formats.h5ad import read_h5ad_counts
from stflow.io import open_h5, reading
from stflow.wsi.scale import Scale, require_mpp


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
        """Counts and spot centres of a slide; see `SlideFormat.read_counts`.

        Raises
        ------
        IntegrityError
            Also where the slide is not the published one of its name.
        """
        from stflow.data.official import require_published

        counts_path, patches_path = self.counts_files(dataset, slide)
        scale, patches = self._of_patches(patches_path, slide)
        counts = read_h5ad_counts(counts_path, slide, scale)
        spots, genes = counts.counts.shape
        require_published(dataset, slide, counts_path, spots=spots, genes=genes, patches=patches, mpp=scale.mpp)
        return counts

    def gene_list_file(self, dataset: str) -> Path | None:
        """``<dataset>/var_50genes.json``."""
        return self.root / dataset / "var_50genes.json"

    def _of_patches(self, path: Path, slide: str) -> tuple[Scale, int]:
        """The scale that the patches tell, and how many there are."""
        with open_h5(path) as handle, reading(path, "Fetch it again."):
            found = [float(handle[key].attrs["pixel_size"]) for key in ("coords", "img") if _has(handle, key)]
            count = len(handle["img"]) if "img" in handle else 0
        mpp = found[0] if found else self.given_mpp
        where = f"slide {slide} ({path}, attribute pixel_size)"
        return Scale(require_mpp(mpp, where), "attribute pixel_size" if found else "the configuration"), count


def _has(handle: dict, key: str) -> bool:
    return key in handle and "pixel_size" in handle[key].attrs
