"""STImage-1K4M's layout.

    <root>/<technology>/image/<slide>.png             the picture, of whatever format behind that suffix
    <root>/<technology>/gene_exp/<slide>_count.csv    spots x genes, raw counts
    <root>/<technology>/coord/<slide>_coord.csv       columns yaxis, xaxis, r: centre and radius of a spot, px

``technology`` is Visium (spots 55 um wide) or ST (100 um). Rows are named ``<slide>_<barcode>``; the barcode alone is
taken too. No um/px is given anywhere: the known width of a spot and its radius in pixels give it. A tile is the square
around the spot, side 2 r, as the dataset defines it. Genes are chosen by the paper's recipe for this dataset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from scipy import sparse

from stflow.data.facts import slide_facts
from stflow.data.formats.base import Counts, SlideFormat
from stflow.errors import DataError, IntegrityError

if TYPE_CHECKING:
    import pandas as pd

#: Spot diameter by technology, um.
SPOT_UM = {"Visium": 55.0, "ST": 100.0}

#: Rows of the counts table in memory at a time: it has up to 36,601 columns, nearly all zero.
_ROWS = 500
_RADIUS_TOLERANCE = 0.01


class STImage(SlideFormat):
    """Slides as STImage-1K4M stores them; tiles are cut from the picture, one spot wide."""

    name: ClassVar[str] = "stimage"
    tiles: ClassVar[Literal["cut", "ready"]] = "cut"
    tile_is_spot: ClassVar[bool] = True
    gene_recipe: ClassVar[Literal["hest", "stimage"]] = "stimage"

    def counts_files(self, dataset: str, slide: str) -> list[Path]:
        """The counts and the coordinates."""
        folder = self.root / self.technology(slide)
        return [folder / "gene_exp" / f"{slide}_count.csv", folder / "coord" / f"{slide}_coord.csv"]

    def image_files(self, dataset: str, slide: str) -> list[Path]:
        """The picture."""
        return [self.root / self.technology(slide) / "image" / f"{slide}.png"]

    def technology(self, slide: str) -> str:
        """As published; of a slide that is not known, ``ST`` if its coordinates stand in that folder, else ``Visium``.

        The files of a published slide have their names before they are fetched.
        """
        if known := _technologies().get(slide):
            return known
        return "ST" if (self.root / "ST" / "coord" / f"{slide}_coord.csv").is_file() else "Visium"

    def read_counts(self, dataset: str, slide: str) -> Counts:
        """Counts and spot centres of a slide; see `SlideFormat.read_counts`."""
        counts_path, coord_path = self.counts_files(dataset, slide)
        names, genes, counts = _read_counts(counts_path, slide)
        _require_unique(names, counts_path)
        table = _read_coordinates(coord_path, slide)
        unplaced = [name for name in names if name not in table.index]
        if unplaced:
            raise DataError(
                f"slide {slide}: {len(unplaced)} of {len(names)} spots of {counts_path} have no coordinates in "
                f"{coord_path} (first: {unplaced[0]}). Fetch both files of one release."
            )
        table = table.loc[names]
        spot_um = SPOT_UM[self.technology(slide)]
        return Counts(
            barcodes=np.asarray(names, dtype=object),
            centres_px=table[["xaxis", "yaxis"]].to_numpy(dtype=np.float64),
            mpp=spot_um / (2 * _radius(table["r"].to_numpy(dtype=np.float64), coord_path)),
            spot_diameter_um=spot_um,
            genes=genes,
            counts=counts,
            mpp_source="a spot's width, by its radius in px",
        )


@cache
def _technologies() -> dict[str, str]:
    """Published slide -> its technology."""
    return {facts.slide: facts.technology for facts in slide_facts("stimage").values()}


def _read_coordinates(path: Path, slide: str) -> pd.DataFrame:
    """Columns yaxis, xaxis and r (px) by barcode."""
    import pandas as pd

    with _csv(path, slide):
        table = pd.read_csv(path, index_col=0)
    missing = [column for column in ("yaxis", "xaxis", "r") if column not in table]
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}. Fetch the slide's coordinates again.")
    with _csv(path, slide):
        table = table[["yaxis", "xaxis", "r"]].astype(np.float64)
    table.index = _barcodes(table.index, slide)
    _require_unique(list(table.index), path)
    return table


def _barcodes(names: Iterable[object], slide: str) -> list[str]:
    """Row names without the slide's name in front."""
    return [str(name).removeprefix(f"{slide}_") for name in names]


def _require_unique(names: list[str], path: Path) -> None:
    """Refuse a spot that has two rows."""
    twice = [name for name, occurrences in Counter(names).items() if occurrences > 1]
    if twice:
        raise DataError(f"{path}: {len(twice)} barcodes are not unique (first: {twice[0]}). Give each spot one row.")


def _radius(values: np.ndarray, path: Path) -> float:
    """The one radius of a slide's spots, px."""
    radius = float(np.median(values)) if values.size else float("nan")
    if not radius > 0 or np.abs(values - radius).max() > _RADIUS_TOLERANCE * radius:
        raise DataError(
            f"{path}: column r must hold one positive radius for all spots, as the um/px follow from it; it holds "
            f"{values.min(initial=np.inf):g} to {values.max(initial=-np.inf):g}. Fetch the corrected coordinates."
        )
    return radius


def _read_counts(path: Path, slide: str) -> tuple[list[str], tuple[str, ...], sparse.csr_matrix]:
    """Barcodes, gene symbols and (N, n_genes) counts of a table that is mostly zeros."""
    import pandas as pd

    names: list[str] = []
    genes: tuple[str, ...] = ()
    parts = []
    with _csv(path, slide):
        for part in pd.read_csv(path, index_col=0, chunksize=_ROWS):
            names += _barcodes(part.index, slide)
            genes = tuple(map(str, part.columns))
            parts.append(sparse.csr_matrix(part.to_numpy(dtype=np.float32)))
    if not parts:
        return [], genes, sparse.csr_matrix(np.zeros((0, len(genes)), dtype=np.float32))
    return names, genes, sparse.csr_matrix(sparse.vstack(parts))


@contextmanager
def _csv(path: Path, slide: str) -> Iterator[None]:
    """Turn what goes wrong in reading a CSV into an error that says what to do."""
    if not path.is_file():
        raise DataError(f"slide {slide}: no file at {path}. Fetch or make it, or correct the benchmark's root.")
    try:
        yield
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path} is not UTF-8 ({error}). Save it as UTF-8, or fetch it again.") from error
    except ValueError as error:  # pandas' own errors are ValueErrors
        raise IntegrityError(f"{path} is not a whole table of numbers ({error}). Fetch it again.") from error
