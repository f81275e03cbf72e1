"""Write one made section as HEST-1k and hest-bench store theirs.

Below the root::

    wsis/<slide>.tif             pyramidal TIFF, um/px in its resolution tags
    st/<slide>.h5ad              raw counts, obsm["spatial"] spot centres in level-0 px
    metadata/<slide>.json        pixel_size_um_estimated and the columns of HEST's table
    bench/<dataset>/patches/<slide>.h5    tiles of 112 um as 224 px, hest-bench's keys and attributes
    bench/<dataset>/adata/<slide>.h5ad    the same counts as in st/

Two liberties: the TIFF's tiles are JPEG where HEST's are LZW, which is eight times smaller and faster to write, and
patches are cut from the image in memory, before JPEG.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stflow.data.demo import recipe
from stflow.data.demo.expression import GENES
from stflow.data.demo.section import Section
from stflow.h5 import create_h5, write_anndata
from stflow.io import atomic_path, write_json
from stflow.wsi.pyramid import write_pyramid

if TYPE_CHECKING:
    import pandas as pd

_JPEG_QUALITY = 85
_THUMBNAIL_PX = 1000  # longest side of the picture in uns["spatial"]
_TOP_GENES = (50, 100, 200)
_TISSUE_SAMPLES = 9  # points along a tile's side at which tissue is looked for
TARGET_MPP = recipe.TILE_UM / recipe.TILE_PX


def write_hest_slide(section: Section, root: Path) -> None:
    """Write all files of one slide, each atomically."""
    bench = root / "bench" / recipe.benchmark(section.benchmark).dataset
    image = section.image()
    write_pyramid(
        root / "wsis" / f"{section.slide}.tif",
        image,
        section.patient.mpp,
        compression="jpeg",
        quality=_JPEG_QUALITY,
    )
    _write_counts(root / "st" / f"{section.slide}.h5ad", section, image)
    with atomic_path(bench / "adata" / f"{section.slide}.h5ad") as partial:
        shutil.copyfile(root / "st" / f"{section.slide}.h5ad", partial)
    _write_patches(bench / "patches" / f"{section.slide}.h5", section, image)
    write_json(root / "metadata" / f"{section.slide}.json", metadata(section))


def metadata(section: Section) -> dict[str, Any]:
    """The slide's line of HEST's table, as ``metadata/<slide>.json`` holds it."""
    side = round(section.tissue.size_um / section.patient.mpp)
    return {
        "dataset_title": "Made slides with planted cell-cell interaction",
        "id": section.slide,
        "image_filename": f"{section.slide}.tif",
        "organ": "Breast",
        "disease_state": "Cancer",
        "oncotree_code": "IDC",
        "species": "Homo sapiens",
        "patient": section.patient.name,
        "st_technology": "Visium",
        "license": "MIT",
        "inter_spot_dist": recipe.PITCH_UM,
        "spot_diameter": recipe.SPOT_UM,
        "spots_under_tissue": int(section.on_tissue.sum()),
        "nb_genes": len(GENES),
        "pixel_size_um_embedded": section.patient.mpp,
        "pixel_size_um_estimated": section.patient.mpp,
        "magnification": "20x",
        "fullres_px_width": side,
        "fullres_px_height": side,
        "tissue": "Breast",
    }


def _write_counts(path: Path, section: Section, image: np.ndarray) -> None:
    import anndata
    import pandas as pd
    from PIL import Image
    from scipy import sparse

    scale = _THUMBNAIL_PX / max(image.shape[:2])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    thumbnail = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    adata = anndata.AnnData(
        X=sparse.csr_matrix(section.counts.astype(np.float32)),
        obs=_spot_table(section),
        var=pd.DataFrame(_gene_columns(section.counts), index=pd.Index(GENES, dtype=str)),
        obsm={"spatial": section.centres_px},
        uns={
            "spatial": {
                "ST": {
                    "images": {"downscaled_fullres": thumbnail},
                    "scalefactors": {
                        "spot_diameter_fullres": recipe.SPOT_UM / section.patient.mpp,
                        "tissue_downscaled_fullres_scalef": scale,
                    },
                }
            }
        },
    )
    write_anndata(path, adata)


def _spot_table(section: Section) -> pd.DataFrame:
    """Space Ranger's columns, then scanpy's quality measures."""
    import pandas as pd

    counts = section.counts.astype(np.int64)
    total = counts.sum(axis=1)
    genes = (counts > 0).sum(axis=1)
    mito = counts[:, [gene.startswith("MT-") for gene in GENES]].sum(axis=1)
    falling = -np.sort(-counts, axis=1).cumsum(axis=1)
    columns = {
        "in_tissue": np.ones(len(total), dtype=np.int64),
        "array_row": section.grid.array_row.astype(np.int64),
        "array_col": section.grid.array_col.astype(np.int64),
        "pxl_col_in_fullres": section.centres_px[:, 0].astype(np.int64),
        "pxl_row_in_fullres": section.centres_px[:, 1].astype(np.int64),
        "n_genes_by_counts": genes,
        "log1p_n_genes_by_counts": np.log1p(genes),
        "total_counts": total.astype(np.float32),
        "log1p_total_counts": np.log1p(total).astype(np.float32),
    }
    for top in _TOP_GENES:
        columns[f"pct_counts_in_top_{top}_genes"] = -100.0 * falling[:, top - 1] / np.maximum(total, 1)
    columns["total_counts_mito"] = mito.astype(np.float32)
    columns["log1p_total_counts_mito"] = np.log1p(mito).astype(np.float32)
    columns["pct_counts_mito"] = (100.0 * mito / np.maximum(total, 1)).astype(np.float32)
    return pd.DataFrame(columns, index=pd.Index(section.grid.barcodes, dtype=str))


def _gene_columns(counts: np.ndarray) -> dict[str, np.ndarray]:
    """scanpy's quality measures of genes."""
    total = counts.sum(axis=0, dtype=np.int64)
    cells = (counts > 0).sum(axis=0)
    mean = total / len(counts)
    return {
        "mito": np.array([gene.startswith("MT-") for gene in GENES]),
        "n_cells_by_counts": cells,
        "mean_counts": mean.astype(np.float32),
        "log1p_mean_counts": np.log1p(mean).astype(np.float32),
        "pct_dropout_by_counts": 100.0 * (1 - cells / len(counts)),
        "total_counts": total.astype(np.float32),
        "log1p_total_counts": np.log1p(total).astype(np.float32),
    }


def _write_patches(path: Path, section: Section, image: np.ndarray) -> None:
    """Cut as HEST does: top-left = centre - side // 2; kept if 15 % of the box is tissue; bilinear to 224 px."""
    import h5py
    from PIL import Image

    mpp = section.patient.mpp
    side = recipe.TILE_UM / mpp
    corners = (section.centres_px - side // 2).astype(np.int64)
    kept = np.flatnonzero(tissue_share(section) >= recipe.MIN_TISSUE)
    size = round(side)
    picture = Image.fromarray(image)
    shape = (recipe.TILE_PX, recipe.TILE_PX, 3)
    with create_h5(path) as handle:
        img = handle.create_dataset("img", (len(kept), *shape), np.uint8, chunks=(1, *shape), maxshape=(None, *shape))
        for row, (x, y) in enumerate(corners[kept].tolist()):
            tile = picture.resize(shape[:2], Image.Resampling.BILINEAR, box=(x, y, x + size, y + size))
            img[row] = np.asarray(tile)
        coords = handle.create_dataset("coords", data=corners[kept], chunks=(1, 2), maxshape=(None, 2))
        handle.create_dataset(
            "barcode",
            data=section.grid.barcodes[kept][:, None],
            dtype=h5py.string_dtype("utf-8"),
            chunks=(1, 1),
            maxshape=(None, 1),
        )
        for dataset in (img, coords):
            dataset.attrs.update(
                patch_size_src=size,
                patch_size_target=recipe.TILE_PX,
                downsample=TARGET_MPP / mpp,
                pixel_size=mpp,
                name=section.slide,
            )


def tissue_share(section: Section) -> np.ndarray:
    """(N,) share of each spot's tile that is tissue, from the plan itself."""
    step = ((np.arange(_TISSUE_SAMPLES) + 0.5) / _TISSUE_SAMPLES - 0.5) * recipe.TILE_UM
    offsets = np.stack(np.meshgrid(step, step), axis=-1).reshape(-1, 2)
    points = (section.grid.centres_um[:, None, :] + offsets).reshape(-1, 2)
    inside = section.tissue.at(section.tissue.tissue, points) > 0.5
    return inside.reshape(len(section.grid), -1).mean(axis=1)
