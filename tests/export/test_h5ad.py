"""The exported AnnData holds what was measured and predicted, and scanpy and squidpy put its spots on the tissue."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anndata
import matplotlib
import numpy as np
import pytest

from stflow.errors import ConfigError, DataError, RunFailed
from stflow.export.h5ad import export_slide, read_slide
from stflow.layout import Layout

from .conftest import GENES, MPP, SPOT_UM, centres, on_tissue


@contextmanager
def library_warnings() -> Iterator[None]:
    """What the libraries say of themselves; anything else is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=SyntaxWarning, module=r"docrep\..*")
        warnings.filterwarnings("ignore", message="Use `squidpy.pl.spatial_scatter` instead")
        warnings.filterwarnings("ignore", message="The set_bad function", category=PendingDeprecationWarning)
        yield


def written(results: Path, run: str, tmp_path: Path) -> anndata.AnnData:
    export_slide(results, run, "s1", tmp_path / "s1.h5ad")
    return anndata.read_h5ad(tmp_path / "s1.h5ad")


def test_it_holds_one_slide_as_it_was_predicted_and_measured(results: Path, make_run: Callable, tmp_path: Path) -> None:
    run = make_run()
    found, whole = written(results, run, tmp_path), anndata.read_h5ad(Layout(results).predictions(run))
    n = len(centres())
    assert (found.n_obs, list(found.var_names)) == (n, list(GENES))
    np.testing.assert_array_equal(found.X, whole.X[:n])
    np.testing.assert_array_equal(found.layers["predicted"], whole.X[:n])
    np.testing.assert_array_equal(found.layers["measured"], whole.layers["measured"][:n])
    np.testing.assert_array_equal(found.obsm["spatial"], centres())
    assert list(found.obs_names) == list(whole.obs["barcode"][:n])
    r = np.corrcoef(whole.X[:n, 0], whole.layers["measured"][:n, 0])[0, 1]
    assert found.var["pearson"]["ERBB2"] == pytest.approx(r)
    assert np.isnan(found.var["pearson"]["FLAT"]), "measured the same everywhere"


def test_it_says_where_it_comes_from(results: Path, make_run: Callable, tmp_path: Path) -> None:
    run = make_run()
    facts = written(results, run, tmp_path).uns["stflow"]
    assert (facts["run"], facts["protocol"], facts["samples"]) == (run, "clean", 1)
    assert (facts["mpp"], facts["picture"]) == (MPP, "thumbnail")
    assert json.loads(facts["training"])["settings"] == {"hidden": 8}


def test_a_spread_is_there_only_where_samples_were_drawn(results: Path, make_run: Callable, tmp_path: Path) -> None:
    assert set(written(results, make_run(), tmp_path).layers) == {"measured", "predicted"}
    several = written(results, make_run(samples=20), tmp_path)
    assert set(several.layers) == {"measured", "predicted", "std", "lower", "upper"}
    assert (several.uns["stflow"]["samples"], several.uns["stflow"]["interval"]) == (20, 0.9)
    assert (several.layers["std"] == 0.25).all()


def test_the_same_bytes_again(results: Path, make_run: Callable, tmp_path: Path) -> None:
    run = make_run(samples=2)
    for name in ("a", "b"):
        export_slide(results, run, "s2", tmp_path / f"{name}.h5ad")
    assert (tmp_path / "a.h5ad").read_bytes() == (tmp_path / "b.h5ad").read_bytes()


def drawn_spots(axes: matplotlib.axes.Axes) -> np.ndarray:
    """(N, 2) centres of the circles, in the axes' coordinates."""
    (spots,) = axes.collections
    offsets = np.asarray(spots.get_offsets())
    if len(offsets) > 1:
        return offsets
    return np.array([path.get_extents().get_points().mean(axis=0) for path in spots.get_paths()])


def diameter(axes: matplotlib.axes.Axes) -> float:
    """Of the first circle, in the axes' coordinates."""
    (spots,) = axes.collections
    return float(np.ptp(spots.get_paths()[0].get_extents().get_points()[:, 0]))


def below(axes: matplotlib.axes.Axes, points: np.ndarray) -> np.ndarray:
    """(N, 3) pixels of the drawn picture at points in the axes' coordinates."""
    (shown,) = axes.images
    left, right, bottom, top = shown.get_extent()
    pixels = np.asarray(shown.get_array())
    height, width = pixels.shape[:2]
    columns = ((points[:, 0] - left) / (right - left) * width).astype(int)
    rows = ((points[:, 1] - top) / (bottom - top) * height).astype(int)
    return pixels[rows, columns]


@pytest.mark.parametrize("library", ["scanpy", "squidpy"])
def test_a_plot_of_a_gene_puts_every_spot_on_the_tissue(
    library: str, results: Path, make_run: Callable, tmp_path: Path
) -> None:
    import matplotlib.pyplot as plt

    matplotlib.use("Agg")
    adata = written(results, make_run(), tmp_path)
    with library_warnings():
        found = pytest.importorskip(library, reason=f"{library} is not installed (`make spatial`)")
        if library == "scanpy":
            found.pl.spatial(adata, color="ERBB2", show=False)
        else:
            found.pl.spatial_scatter(adata, color="ERBB2")
    axes = plt.gcf().axes[0]
    points = drawn_spots(axes)
    assert len(points) == adata.n_obs
    assert on_tissue(below(axes, points)).all()
    assert diameter(axes) / np.ptp(points[:, 0]) == pytest.approx(SPOT_UM / MPP / np.ptp(centres()[:, 0]), rel=1e-3)
    plt.close("all")


def test_tiles_stand_in_for_a_picture_that_is_not_there(results: Path, make_run: Callable) -> None:
    adata = read_slide(results, make_run(thumbnail=False, ready=True), "s1")
    assert adata.uns["stflow"]["picture"] == "tiles"
    shown = adata.uns["spatial"]["s1"]
    scale = shown["scalefactors"]["tissue_hires_scalef"]
    columns, rows = (adata.obsm["spatial"] * scale).astype(int).T
    assert on_tissue(shown["images"]["hires"][rows, columns]).all()
    assert max(shown["images"]["lowres"].shape) <= 600
    assert not on_tissue(shown["images"]["hires"][0, 0])


def test_the_command_writes_both_files(
    results: Path, make_run: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from stflow.cli import main

    pytest.importorskip("spatialdata", reason="spatialdata is not installed (`make spatial`)")
    run, files = make_run(), (tmp_path / "s1.h5ad", tmp_path / "s1.zarr")
    words = ("--results", str(results), "--run", run, "--slide", "s1")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Call to deprecated class Scaler", category=DeprecationWarning)
        main(["export", *words, "--out", str(files[0]), "--spatialdata", str(files[1])])
    assert files[0].is_file()
    assert files[1].is_dir()
    assert "s1, 32 spots, 3 genes" in capsys.readouterr().err


def test_errors_say_what_to_do(results: Path, make_run: Callable, tmp_path: Path) -> None:
    run = make_run()
    with pytest.raises(DataError, match="predicts s1, s2, not s3"):
        export_slide(results, run, "s3", tmp_path / "a.h5ad")
    with pytest.raises(ConfigError, match="--out"):
        export_slide(results, run, "s1")
    with pytest.raises(DataError, match="neither a picture nor tiles"):
        export_slide(results, make_run(thumbnail=False), "s1", tmp_path / "a.h5ad")
    with pytest.raises(RunFailed, match="diverged"):
        export_slide(results, make_run(status="failed"), "s1", tmp_path / "a.h5ad")
    assert not (tmp_path / "a.h5ad").exists()
