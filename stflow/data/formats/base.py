"""The one interface of every slide format. Light to import: anndata and openslide load inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from scipy import sparse


@dataclass(frozen=True, eq=False)
class Counts:
    """What a format knows of one slide beside its image.

    barcodes (N,), centres_px (N, 2) level-0 px x then y, mpp um/px, spot_diameter_um, genes, counts (N, n_genes) raw,
    mpp_source: who says what the um/px are.
    """

    barcodes: np.ndarray
    centres_px: np.ndarray
    mpp: float
    spot_diameter_um: float
    genes: tuple[str, ...]
    counts: sparse.csr_matrix
    mpp_source: str = ""


class SlideFormat(ABC):
    """One layout of files below a root folder.

    ``tiles`` says how a slide becomes tiles: ``cut`` from the image at ``image_path`` by mpp, or ``ready``: the file
    at ``patches_path`` already is in the tiles format and is taken as it is after a check.

    ``tile_is_spot``: a tile is the square around the spot itself (its side is the spot's diameter), whatever the
    configured side is; so the dataset defines it.

    ``gene_recipe`` names the recipe of `stflow.data.variable_genes` by which genes are chosen where there is no list.

    ``given_mpp``: the configuration's um/px, for slides that nothing else tells it of.
    """

    name: ClassVar[str]
    tiles: ClassVar[Literal["cut", "ready"]]
    tile_is_spot: ClassVar[bool] = False
    gene_recipe: ClassVar[Literal["hest", "stimage"]] = "hest"
    given_mpp: float | None = None

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def counts_files(self, dataset: str, slide: str) -> list[Path]:
        """The files that `read_counts` reads (the workflow's inputs)."""

    @abstractmethod
    def image_files(self, dataset: str, slide: str) -> list[Path]:
        """The files that tiles are made from; the first is the image or the ready patches."""

    @abstractmethod
    def read_counts(self, dataset: str, slide: str) -> Counts:
        """Counts and spot centres of a slide.

        Raises
        ------
        DataError
            Files that are missing, cut short, empty, or do not fit each other.
        """

    def side_um(self, tile_um: float, *, spot_um: float, mpp: float, tile_px: int, crop: str) -> float:
        """Side of a tile that is cut from the image, um.

        Parameters
        ----------
        tile_um
            The configured side; taken unless the tile is the spot.
        spot_um, mpp
            Diameter of the slide's spots, um; um per level-0 px.
        tile_px
            Side of a tile as the encoder sees it, px.
        crop
            Where the tile is the spot, ``spot``: as wide as that; ``pixels``: ``tile_px`` level-0 px, not resampled.
        """
        if not self.tile_is_spot:
            return tile_um
        if crop == "spot":
            return spot_um
        side = tile_px * mpp
        return side if side / mpp >= tile_px else float(np.nextafter(side, np.inf))  # never a pixel short by rounding

    def sidecar_files(self, dataset: str, slide: str) -> list[Path]:
        """Files that `read_counts` uses too where they exist; of a published dataset they all do."""
        return []

    def gene_list_file(self, dataset: str) -> Path | None:
        """Where the dataset's own gene list (``{"genes": [...]}``) is, or would be; None if the format knows none."""
        return None
