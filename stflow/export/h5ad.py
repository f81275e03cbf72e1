"""One slide's prediction as an AnnData that scanpy and squidpy plot as it is.

X                    (N, G) predicted log1p counts; layers["predicted"] is the same
layers["measured"]   (N, G) measured log1p counts
layers["std"]        (N, G) standard deviation over samples, where several were drawn; with it lower and upper
obs                  barcodes; in_tissue, slide, patient
var                  genes; pearson: r over the spots of this slide, NaN where the gene was measured constant
obsm["spatial"]      (N, 2) spot centres, level-0 px, x then y
uns["spatial"]       {slide: images hires and lowres, scalefactors} as Space Ranger's
uns["stflow"]        the run, how it was trained, its samples, um per level-0 px, where the picture comes from
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stflow.errors import ConfigError, DataError, RunFailed
from stflow.evaluation.metrics import pearson
from stflow.evaluation.predictions import read_predictions
from stflow.export.picture import read_picture, read_scale
from stflow.h5 import read_anndata, write_anndata
from stflow.io import SCHEMA_VERSION, read_json
from stflow.layout import Layout, Run

if TYPE_CHECKING:
    from anndata import AnnData

#: Layers of a predictions file that are passed on where several samples were drawn.
SAMPLED = ("std", "lower", "upper")
#: What of a training's record is passed on, as JSON.
_TRAINING = ("method", "settings", "seed", "genes", "slides", "spots", "device", "versions", "inputs_sha256")


def export_slide(
    results: Path,
    run: str,
    slide: str,
    out: Path | None = None,
    spatialdata: Path | None = None,
    image: Path | None = None,
) -> None:
    """Write one slide of a run's predictions as h5ad, as SpatialData, or as both.

    Parameters
    ----------
    results, run, slide
        Results folder, run and one of the slides that it tests.
    out, spatialdata
        The .h5ad and the .zarr to write.
    image
        The slide's image, for tiles files without a picture.

    Raises
    ------
    ConfigError
        Neither file is asked for.
    """
    if out is None and spatialdata is None:
        raise ConfigError("nothing to write: give --out <name>.h5ad, --spatialdata <name>.zarr, or both.")
    adata = read_slide(results, run, slide, image)
    if out is not None:
        write_anndata(out, adata)
    if spatialdata is not None:
        from stflow.export.spatial_data import write_spatialdata

        write_spatialdata(spatialdata, adata)
    told = " and ".join(str(path) for path in (out, spatialdata) if path is not None)
    print(f"stflow export: {run}: {slide}, {adata.n_obs} spots, {adata.n_vars} genes to {told}", file=sys.stderr)


def read_slide(results: Path, run: str, slide: str, image: Path | None = None) -> AnnData:
    """One slide of a run's predictions as an AnnData, see the module.

    Raises
    ------
    IntegrityError
        A file is missing or cut short.
    DataError
        The run does not test the slide.
    RunFailed
        The run has no prediction.
    """
    import anndata

    layout = Layout(Path(results))
    path = layout.predictions(run)
    found = read_predictions(path)
    if found.failed:
        raise RunFailed(f"{run} failed ({found.reason}), so there is nothing to export. Name another run or seed.")
    if slide not in found.slide:
        known = ", ".join(dict.fromkeys(found.slide))
        raise DataError(f"{run} predicts {known}, not {slide}. Name a run of the fold that tests it.")
    whole = read_anndata(path)
    here = whole[found.slide == slide]
    barcodes = here.obs["barcode"].astype(str).to_numpy()
    measured, predicted = np.asarray(here.layers["measured"]), np.asarray(here.X)
    benchmark = found.run.group.benchmark
    mpp, spot_um = read_scale(layout.results, benchmark, slide)
    picture = read_picture(layout.results, benchmark, slide, image)
    small = picture.reduced()
    scalefactors = {
        "tissue_hires_scalef": 1 / picture.downsample,
        "tissue_lowres_scalef": 1 / small.downsample,
        "spot_diameter_fullres": spot_um / mpp,
    }
    facts = {
        **dict(whole.uns["stflow"]),
        **_training(layout, found.run, str(whole.uns["stflow"].get("trained_as") or found.run.group.variant)),
        "schema": SCHEMA_VERSION,
        "n_spots": here.n_obs,
        "slide": slide,
        "protocol": found.run.group.protocol,
        "unit": "log1p counts",
        "mpp": mpp,
        "spot_diameter_um": spot_um,
        "picture": picture.origin,
        "samples": int(whole.uns["stflow"].get("samples", 1)),
    }
    return anndata.AnnData(
        X=predicted,
        obs=_obs(barcodes, slide, here.obs["patient"].astype(str).to_numpy()),
        var=_var(found.genes, pearson(measured, predicted)),
        layers={
            "measured": measured,
            "predicted": predicted.copy(),
            **{name: np.asarray(here.layers[name]) for name in SAMPLED if name in found.layers},
        },
        obsm={"spatial": np.asarray(here.obsm["spatial"])},
        uns={
            "spatial": {
                slide: {
                    "images": {"hires": picture.pixels, "lowres": small.pixels},
                    "scalefactors": scalefactors,
                    "metadata": {"source": "stflow", "picture": picture.origin},
                }
            },
            "stflow": facts,
        },
    )


def _obs(barcodes: np.ndarray, slide: str, patients: np.ndarray) -> Any:
    import pandas as pd

    index = pd.Index(barcodes, dtype=str)
    return pd.DataFrame({"in_tissue": np.ones(len(index), dtype=np.int64), "slide": slide, "patient": patients}, index)


def _var(genes: tuple[str, ...], r: np.ndarray) -> Any:
    import pandas as pd

    return pd.DataFrame({"pearson": r}, pd.Index(list(genes), dtype=str))


def _training(layout: Layout, run: Run, trained_as: str) -> dict[str, str]:
    """How the run was trained, where its record is there."""
    path = layout.run_json(run.of_variant(trained_as))
    if not path.is_file():
        return {}
    record = read_json(path)
    return {"training": json.dumps({name: record[name] for name in _TRAINING if name in record})}
