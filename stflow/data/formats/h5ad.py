"""What HEST-1k and hest-bench share: the AnnData of a slide, counts in ``X``, spot centres in ``obsm["spatial"]``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from stflow.data.formats.base import Counts
from stflow.errors import DataError, IntegrityError
from stflow.io import open_h5
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
        The file is cut short, takes data from other files, or declares more than it can hold.
    """
    import anndata

    if not path.is_file():
        raise DataError(f"slide {slide}: no counts at {path}. Fetch or make them, or correct the benchmark's root.")
    with open_h5(path):  # refuses links to other files and sizes that no such file holds
        pass
    try:
        adata = anndata.read_h5ad(path)
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path} holds names that are not UTF-8 ({error}). Write it again as UTF-8.") from error
    except (OSError, KeyError) as error:
        raise IntegrityError(
            f"{path} is not a whole AnnData file ({error}): it was cut short. Fetch or make it again."
        ) from error
    if "spatial" not in adata.obsm:
        raise DataError(
            f"slide {slide}: {path} has no spot coordinates. Put the centres (x, y in level-0 px) in obsm['spatial']."
        )
    diameter_px = _spot_diameter_px(adata.uns)
    return Counts(
        barcodes=np.asarray(adata.obs_names, dtype=object),
        centres_px=np.asarray(adata.obsm["spatial"], dtype=np.float64)[:, :2],
        mpp=scale.mpp,
        mpp_source=scale.source,
        spot_diameter_um=diameter_px * scale.mpp if diameter_px else VISIUM_SPOT_UM,
        genes=tuple(map(str, adata.var_names)),
        counts=sparse.csr_matrix(adata.X),
    )


def _spot_diameter_px(uns: Mapping[str, Any]) -> float | None:
    """``spot_diameter_fullres`` (level-0 px) of the first library that states it."""
    for library in uns.get("spatial", {}).values():
        value = library.get("scalefactors", {}).get("spot_diameter_fullres") if isinstance(library, Mapping) else None
        if value is not None and np.isfinite(float(value)) and float(value) > 0:
            return float(value)
    return None
