"""`Slide`: one tissue section as every method sees it, and the file it is read from.

The slide file ``slides/<benchmark>/<slide>.h5ad`` is an AnnData any scverse tool opens:

    X               (N, n_genes) raw counts, CSC (a fit reads a few genes of all spots)
    obs_names       barcodes;  var_names  gene symbols
    obsm["spatial"] (N, 2) float64 spot centres, level-0 px, x then y
    uns["stflow"]   slide, patient, mpp (um per level-0 px), mpp_source, spot_diameter_um, n_spots, schema
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from stflow.data.tile_images import TileImages
from stflow.errors import GeneError, IntegrityError
from stflow.h5 import write_anndata
from stflow.io import SCHEMA_VERSION, numbers, open_h5, reading
from stflow.sparse_check import read_csc

if TYPE_CHECKING:
    from torch_geometric.data import Data


@dataclass(frozen=True, eq=False)
class Slide:
    """One tissue section.

    Attributes
    ----------
    name, patient
        Identifiers; folds are disjoint in patients.
    barcodes
        (N,) spot names.
    centres_px
        (N, 2) float64 spot centres, level-0 px, x then y.
    mpp
        um per level-0 px.
    genes
        The n_genes symbols of ``counts``.
    counts
        (N, n_genes) raw counts, CSC.
    features
        encoder name -> (N, D) float32.
    tiles
        The (N, px, px, 3) images of the spots, for methods that read them; else None.
    """

    name: str
    patient: str
    barcodes: np.ndarray
    centres_px: np.ndarray
    mpp: float
    genes: tuple[str, ...]
    counts: sparse.csc_matrix
    features: Mapping[str, np.ndarray]
    tiles: TileImages | None = None

    def __len__(self) -> int:
        return len(self.barcodes)

    @property
    def centres_um(self) -> np.ndarray:
        """(N, 2) float64 spot centres, um."""
        return self.centres_px * self.mpp

    def expression(self, genes: Sequence[str]) -> np.ndarray:
        """(N, G) float32 log1p of raw counts of ``genes``, in that order, without library-size scaling.

        Raises
        ------
        GeneError
            Genes that the counts do not hold, all of them named.
        """
        position = {gene: index for index, gene in enumerate(self.genes)}
        missing = [gene for gene in genes if gene not in position]
        if missing:
            raise GeneError(
                f"slide {self.name}: {len(missing)} of {len(genes)} listed genes are not in its counts: "
                f"{', '.join(missing)}. Remove them from the gene list or add them to the counts."
            )
        columns = self.counts[:, [position[gene] for gene in genes]]
        return np.log1p(columns.toarray().astype(np.float32))

    def subset(self, index: np.ndarray) -> Slide:
        """The slide with only the spots of ``index`` ((M,) integers or (N,) booleans), in that order."""
        return replace(
            self,
            barcodes=self.barcodes[index],
            centres_px=self.centres_px[index],
            counts=self.counts[index],
            features={name: values[index] for name, values in self.features.items()},
            tiles=None if self.tiles is None else self.tiles.subset(index),
        )

    def to_data(self, encoder: str, genes: Sequence[str]) -> Data:
        """A torch_geometric ``Data``: x (N, D) features, y (N, G) log1p, pos (N, 2) um; batches without padding."""
        import torch
        from torch_geometric.data import Data

        return Data(
            x=torch.from_numpy(np.asarray(self.features[encoder], dtype=np.float32)),
            y=torch.from_numpy(self.expression(genes)),
            pos=torch.from_numpy(self.centres_um.astype(np.float32)),
        )


def write_slide(
    path: Path,
    *,
    name: str,
    patient: str,
    barcodes: Sequence[str],
    centres_px: np.ndarray,
    mpp: float,
    spot_diameter_um: float,
    genes: Sequence[str],
    counts: sparse.spmatrix | np.ndarray,
    mpp_source: str = "",
) -> None:
    """Write a slide file, atomically. Counts (N, n_genes) may be dense or sparse, of any number type."""
    import anndata
    import pandas as pd

    names = [str(barcode) for barcode in barcodes]
    if len(set(names)) != len(names):
        raise IntegrityError(f"slide {name}: barcodes are not unique. Each spot needs a name of its own.")
    matrix = sparse.csc_matrix(counts)
    matrix.sort_indices()
    adata = anndata.AnnData(
        X=matrix.astype(np.float32),
        obs=pd.DataFrame(index=pd.Index(names, dtype=str)),
        var=pd.DataFrame(index=pd.Index(list(genes), dtype=str)),
        obsm={"spatial": np.asarray(centres_px, dtype=np.float64)},
        uns={
            "stflow": {
                "schema": SCHEMA_VERSION,
                "slide": name,
                "patient": patient,
                "mpp": float(mpp),
                "mpp_source": mpp_source,
                "spot_diameter_um": float(spot_diameter_um),
                "n_spots": len(names),
            }
        },
    )
    write_anndata(path, adata)


def read_slide(path: Path, features: Mapping[str, Path] | None = None, tiles: Path | None = None) -> Slide:
    """Read a slide file and, by barcode, the features of some encoders, and where the spots' tiles are.

    Where features or tiles are given, only the spots that all of them hold are kept, in the order of the first
    file: spots off the tissue have no tile.

    Raises
    ------
    IntegrityError
        A file is cut short, or a features or tiles file names barcodes that the counts do not hold.
    """
    with open_h5(path) as handle, reading(path):
        _require(handle, path, ("X/data", "X/indices", "X/indptr", "obsm/spatial", "uns/stflow/n_spots"))
        meta = handle["uns/stflow"]
        barcodes = _strings(handle["obs"][handle["obs"].attrs["_index"]])
        genes = tuple(_strings(handle["var"][handle["var"].attrs["_index"]]))
        shape = (len(barcodes), len(genes))
        counts = read_csc(handle["X"], path, shape)
        slide = Slide(
            name=str(meta["slide"].asstr()[()]),
            patient=str(meta["patient"].asstr()[()]),
            barcodes=barcodes,
            centres_px=numbers(handle["obsm/spatial"], (None, 2)).astype(np.float64),
            mpp=float(meta["mpp"][()]),
            genes=genes,
            counts=counts,
            features={},
        )
        expected = int(meta["n_spots"][()])
    if not len(slide) == len(slide.centres_px) == expected:
        raise IntegrityError(
            f"{path} holds {len(slide)} spots and centres {slide.centres_px.shape}, {expected} spots were written. "
            "Delete it and run again."
        )
    for encoder, feature_path in (features or {}).items():
        slide = _join(slide, encoder, feature_path)
    return slide if tiles is None else _with_tiles(slide, TileImages.of(tiles))


def _join(slide: Slide, encoder: str, path: Path) -> Slide:
    from stflow.embedding.features import read_features

    table = read_features(path)
    slide, rows = _common(slide, table.barcodes, path, keep_order=bool(slide.features))
    return replace(slide, features={**slide.features, encoder: table.features[rows]})


def _with_tiles(slide: Slide, tiles: TileImages) -> Slide:
    slide, rows = _common(slide, tiles.barcodes, tiles.path, keep_order=bool(slide.features))
    return replace(slide, tiles=tiles.subset(rows))


def _common(slide: Slide, barcodes: np.ndarray, path: Path, *, keep_order: bool) -> tuple[Slide, np.ndarray]:
    """The slide with only the spots of a file, in the slide's order or in the file's, and their rows in the file."""
    row = {barcode: index for index, barcode in enumerate(slide.barcodes)}
    # Of a slide that is cut down already, the file may hold spots that are gone; of a whole one, it may not.
    unknown = [] if keep_order else [barcode for barcode in barcodes if barcode not in row]
    if unknown:
        raise IntegrityError(
            f"slide {slide.name}: {len(unknown)} of {len(barcodes)} barcodes of {path} are not in its counts "
            f"(first: {unknown[0]}). The tiles were cut for other counts: make both from one source."
        )
    if not keep_order:
        return slide.subset(np.array([row[barcode] for barcode in barcodes], dtype=np.int64)), np.arange(len(barcodes))
    order = {barcode: index for index, barcode in enumerate(barcodes)}
    slide = slide.subset(np.array([barcode in order for barcode in slide.barcodes], dtype=bool))
    return slide, np.array([order[barcode] for barcode in slide.barcodes], dtype=np.int64)


def _strings(dataset: Any) -> np.ndarray:
    return np.asarray(dataset.asstr()[:], dtype=object)


def _require(handle: Any, path: Path, keys: Sequence[str]) -> None:
    missing = [key for key in keys if key not in handle]
    if missing:
        raise IntegrityError(f"{path} lacks {', '.join(missing)}: it is not a slide file. Delete it and run again.")
