"""What HEST-1k and hest-bench share: the AnnData of a slide, counts in ``X``, spot centres in ``obsm["spatial"]``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from stflow.data.formats.base import Counts
from stflow.errors import DataError, IntegrityError
from stflow.h5 import read_anndata
from stflow.wsi.scale import Scale

#: A Visium spot, um; taken where the file does not say how wide its spots are.
VISIUM_SPOT_UM = 55.0


def read_h5ad_counts(path: Path, slide: str, scale: Scale) -> Counts:
    """Counts and spot centres of one AnnData file.

    Parameters
    ----------
    path
        ``<slide>.h5ad``; ``X`` raw counts, sparse or dense, of any number type.
    slide
        Slide name, for messages.
    scale
        um per level-0 px.

    Raises
    ------
    DataError
        The file or its coordinates are missing.
    IntegrityError
        See `stflow.h5.read_anndata`; or its counts or coordinates are no numbers.
    """
    if not path.is_file():
        raise DataError(f"slide {slide}: no counts at {path}. Fetch or make them, or correct the benchmark's root.")
    adata = read_anndata(path)
    if "spatial" not in adata.obsm:
        raise DataError(
            f"slide {slide}: {path} has no spot coordinates. Put the centres (x, y in level-0 px) in obsm['spatial']."
        )
    diameter_px = _spot_diameter_px(adata.uns, path)
    return Counts(
        barcodes=np.asarray(adata.obs_names, dtype=object),
        centres_px=_centres_px(adata.obsm["spatial"], path),
        mpp=scale.mpp,
        mpp_source=scale.source,
        spot_diameter_um=diameter_px * scale.mpp if diameter_px else VISIUM_SPOT_UM,
        genes=tuple(map(str, adata.var_names)),
        counts=_counts(adata.X, path),
    )


def _centres_px(spatial: Any, path: Path) -> np.ndarray:
    """(N, 2) float64 spot centres, level-0 px."""
    try:
        if np.iscomplexobj(spatial):
            raise TypeError("complex numbers")
        return np.asarray(spatial, dtype=np.float64)[:, :2]
    except (TypeError, ValueError, IndexError) as error:
        raise IntegrityError(
            f"{path}: obsm['spatial'] is no table of numbers ({error}). Put the centres (x, y in level-0 px) there."
        ) from error


def _counts(matrix: Any, path: Path) -> sparse.csr_matrix:
    """(N, n_genes) counts as they are stored."""
    if matrix is None or getattr(matrix, "ndim", 0) != 2 or matrix.dtype.kind not in "iufb":
        found = "missing" if matrix is None else f"{getattr(matrix, 'shape', '')} {getattr(matrix, 'dtype', '')}"
        raise IntegrityError(f"{path}: X is {found}, not a table of numbers. Put the raw counts (spots x genes) there.")
    return sparse.csr_matrix(matrix)


def _spot_diameter_px(uns: Mapping[str, Any], path: Path) -> float | None:
    """``spot_diameter_fullres`` (level-0 px) of the first library that states it."""
    libraries = uns.get("spatial", {})
    for library in libraries.values() if isinstance(libraries, Mapping) else ():
        factors = library.get("scalefactors", {}) if isinstance(library, Mapping) else {}
        value = factors.get("spot_diameter_fullres") if isinstance(factors, Mapping) else None
        try:
            diameter = float("nan") if value is None else float(value)
        except (TypeError, ValueError) as error:
            raise IntegrityError(
                f"{path}: spot_diameter_fullres is {value!r}, not a number. Correct it, or leave it out."
            ) from error
        if np.isfinite(diameter) and diameter > 0:
            return diameter
    return None
