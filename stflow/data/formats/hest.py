"""HEST-1k's layout, which also is that of the her2st and demo sources.

<root>/st/<slide>.h5ad          counts and spot centres
<root>/wsis/<slide>.tif         the slide, a pyramid; or .svs, .ndpi, .mrxs ... (`SUFFIXES`)
<root>/metadata/<slide>.json    pixel_size_um_estimated: the um/px that counts, where the file exists
<root>/bench/<dataset>/var_50genes.json    the dataset's own gene list, if it has one

HEST measures the um/px by the known distance of spots, and takes that before what the scanner wrote into the image;
so does this format. Without it the image's own word counts, then pixel_size_um_embedded, then the configuration's.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from stflow.data.formats.base import Counts, SlideFormat
from stflow.data.formats.h5ad import read_h5ad_counts
from stflow.errors import SlideError
from stflow.io import read_json, reading
from stflow.wsi.scale import Scale, require_mpp

#: What a slide's file may end in: pyramids of HEST-1k and of most scanners, as far as OpenSlide reads them.
SUFFIXES = (".tif", ".tiff", ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".qptiff", ".dcm")


class Hest(SlideFormat):
    """Slides as HEST-1k stores them; tiles are cut from the image."""

    name: ClassVar[str] = "hest"
    tiles: ClassVar[Literal["cut", "ready"]] = "cut"

    def counts_files(self, dataset: str, slide: str) -> list[Path]:
        """The AnnData, and the image, whose tags hold the scale where no metadata file does."""
        return [self.root / "st" / f"{slide}.h5ad", *self.image_files(dataset, slide)]

    def image_files(self, dataset: str, slide: str) -> list[Path]:
        """The one image of the slide, then the other files that it consists of.

        ``wsis/<slide>.tif`` where none is there yet, so that a run can be planned before its files are made.

        Raises
        ------
        SlideError
            There are several.
        """
        folder = self.root / "wsis"
        found = [path for suffix in SUFFIXES if (path := folder / f"{slide}{suffix}").is_file()]
        if len(found) > 1:
            raise SlideError(
                f"slide {slide} has {len(found)} images: {', '.join(map(str, found))}. Keep the one that the spots' "
                "coordinates are of."
            )
        if not found:
            return [folder / f"{slide}.tif"]
        if found[0].suffix != ".mrxs":
            return found
        # A .mrxs is a key to the folder of the same name, where its pixels are.
        return [*found, *sorted(path for path in found[0].with_suffix("").glob("*") if path.is_file())]

    def sidecar_files(self, dataset: str, slide: str) -> list[Path]:
        """The metadata, with the um/px that counts."""
        return [self.root / "metadata" / f"{slide}.json"]

    def read_counts(self, dataset: str, slide: str) -> Counts:
        """Counts and spot centres of a slide; see `SlideFormat.read_counts`."""
        return read_h5ad_counts(self.counts_files(dataset, slide)[0], slide, self._scale(dataset, slide))

    def gene_list_file(self, dataset: str) -> Path | None:
        """``bench/<dataset>/var_50genes.json``."""
        return self.root / "bench" / dataset / "var_50genes.json"

    def _scale(self, dataset: str, slide: str) -> Scale:
        from stflow.wsi.slide_image import open_slide

        path = self.sidecar_files(dataset, slide)[0]
        metadata = read_json(path) if path.is_file() else {}
        with reading(path, "Fetch it again."):
            names = ("pixel_size_um_estimated", "pixel_size_um_embedded")
            stated, told = (None if metadata.get(name) is None else float(metadata[name]) for name in names)
        if stated is not None:
            return Scale(require_mpp(stated, str(path)), "metadata, pixel_size_um_estimated")
        embedded = {"metadata, pixel_size_um_embedded": told}
        with open_slide(self.image_files(dataset, slide)[0]) as image:
            return image.scale(embedded, self.given_mpp, where=f"slide {slide} ({image.path})")
