"""One slide's prediction as a SpatialData folder (zarr): its picture, its spots as circles, and their table.

    images["picture"]   (3, h, w) uint8
    shapes["spots"]     circles of the spots' true size, indexed by barcode
    tables["table"]     the AnnData of `stflow.export.h5ad`; obs["region"] and obs["spot"] link it to the spots

Two coordinate systems: ``global`` in level-0 px of the slide, and ``um``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stflow.errors import ConfigError, ResourceError
from stflow.io import is_disk_full, partial_of

if TYPE_CHECKING:
    from anndata import AnnData
    from spatialdata import SpatialData

PICTURE, SPOTS, TABLE = "picture", "spots", "table"


def write_spatialdata(path: Path, adata: AnnData) -> None:
    """Write a slide as SpatialData; the folder stands at ``path`` whole or not at all.

    Raises
    ------
    ConfigError
        The library is not installed.
    ResourceError
        The disk is full.
    """
    import anndata

    sdata = to_spatialdata(adata)
    # A choice that anndata warns of where none is made. What is written is small: no shards.
    with anndata.settings.override(auto_shard_zarr_v3=False), _atomic_folder(path) as partial:
        sdata.write(partial)


def to_spatialdata(adata: AnnData) -> SpatialData:
    """The picture, the spots and the table of a slide of `stflow.export.h5ad.read_slide`."""
    try:
        from spatialdata import SpatialData
        from spatialdata.models import Image2DModel, ShapesModel, TableModel
        from spatialdata.transformations import Identity, Scale
    except ImportError as error:
        raise ConfigError(
            f"SpatialData cannot be written: {error}. Install it with: make spatial, or "
            "python -m pip install 'stflow[spatial]'"
        ) from error

    facts = adata.uns["stflow"]
    picture = adata.uns["spatial"][facts["slide"]]
    downsample, mpp = 1 / picture["scalefactors"]["tissue_hires_scalef"], float(facts["mpp"])
    table = adata.copy()
    del table.uns["spatial"]
    table.obs["region"] = SPOTS
    table.obs["region"] = table.obs["region"].astype("category")
    table.obs["spot"] = table.obs_names.to_numpy(dtype=str)
    return SpatialData(
        images={
            PICTURE: Image2DModel.parse(
                np.moveaxis(picture["images"]["hires"], -1, 0),
                dims=("c", "y", "x"),
                c_coords=["r", "g", "b"],
                transformations={
                    "global": Scale([downsample, downsample], axes=("x", "y")),
                    "um": Scale([downsample * mpp, downsample * mpp], axes=("x", "y")),
                },
            )
        },
        shapes={
            SPOTS: ShapesModel.parse(
                np.asarray(adata.obsm["spatial"], dtype=np.float64),
                geometry=0,
                radius=float(picture["scalefactors"]["spot_diameter_fullres"]) / 2,
                index=adata.obs_names.to_numpy(dtype=str),
                transformations={"global": Identity(), "um": Scale([mpp, mpp], axes=("x", "y"))},
            )
        },
        tables={TABLE: TableModel.parse(table, region=SPOTS, region_key="region", instance_key="spot")},
    )


@contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder's name beside ``path``; on success it takes the place of what was there."""
    path = Path(path)
    partial = partial_of(path)
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    except OSError as error:
        if is_disk_full(error):
            raise ResourceError(
                f"disk full while writing {path}: nothing was kept. Free space on that disk and run again."
            ) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
