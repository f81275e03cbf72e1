"""A dataset of forty slides, one of them broken: the others are done, it is named, and the run fails."""

import os

import numpy as np
import pytest
import yaml

pytestmark = pytest.mark.workflow

SLIDES = [f"S{number:02d}" for number in range(40)]
BROKEN = "S17"
CONFIG = {
    "benchmarks": {"lab": {"root": "lab", "format": "hest", "manifest": "lab.csv"}},
    "encoders": ["classical"],
    "methods": ["mean"],
}


def test_one_broken_slide_of_forty_stops_no_other(make_tree) -> None:
    import anndata
    import pandas as pd

    from stflow.wsi.pyramid import write_pyramid

    tree = make_tree()
    lab = tree.root / "lab"
    rng = np.random.default_rng(0)
    picture = np.clip(np.array((190, 120, 180)) + rng.normal(0, 18, (512, 512, 1)), 0, 255).astype(np.uint8)
    write_pyramid(lab / "wsis" / "S00.tif", picture, 0.5)
    centres = np.stack([np.arange(150.0, 400.0, 50.0)] * 2, axis=1)
    counts = rng.poisson(2.0, (5, 3)).astype(np.float32)
    (lab / "st").mkdir()
    adata = anndata.AnnData(counts, pd.DataFrame(index=list("abcde")), pd.DataFrame(index=list("ABC")))
    adata.obsm["spatial"] = centres
    adata.write_h5ad(lab / "st" / "S00.h5ad")
    for slide in SLIDES[1:]:  # the same slide forty times
        for name in ("wsis/{}.tif", "st/{}.h5ad"):
            os.link(lab / name.format("S00"), lab / name.format(slide))
    path = lab / "wsis" / f"{BROKEN}.tif"
    path.unlink()
    path.write_bytes((lab / "wsis" / "S00.tif").read_bytes()[:100_000])
    rows = [f"D,{slide},{slide},*,0,{'test' if slide == 'S00' else 'train'}" for slide in SLIDES]
    (tree.root / "lab.csv").write_text("\n".join(["dataset,slide,patient,protocol,fold,role", *rows]) + "\n")
    (tree.root / "lab.yaml").write_text(yaml.safe_dump(CONFIG))

    targets = [f"results/slides/lab/{slide}.h5ad" for slide in SLIDES]
    ran = tree.snakemake(*targets, "--cores", "2", "--configfile", "lab.yaml")
    assert ran.returncode != 0
    made = {path.stem for path in (tree.root / "results" / "slides" / "lab").glob("*.h5ad")}
    assert made == set(SLIDES) - {BROKEN}, ran.stdout[-3000:]
    assert f"wsis/{BROKEN}.tif is cut short" in ran.stdout, "the log of what failed is shown"
    assert "Fetch or make it again" in ran.stdout
