"""The exported SpatialData is read back by its own library: picture, spots and table belong together."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from stflow.errors import ConfigError
from stflow.export.h5ad import export_slide

from .conftest import GENES, MPP, SIDE, SPOT_UM, centres, on_tissue


@pytest.fixture(scope="module")
def spatialdata() -> ModuleType:
    return pytest.importorskip("spatialdata", reason="spatialdata is not installed (`make spatial`)")


@pytest.fixture
def path(results: Path, make_run: Callable, tmp_path: Path, spatialdata: ModuleType) -> Path:
    del spatialdata  # skips where it is not installed
    run = make_run(samples=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="Call to deprecated class Scaler", category=DeprecationWarning)
        export_slide(results, run, "s1", spatialdata=tmp_path / "out" / "s1.zarr")
    return tmp_path / "out" / "s1.zarr"


def test_the_table_belongs_to_the_spots(spatialdata: ModuleType, path: Path) -> None:
    sdata = spatialdata.read_zarr(path)
    assert (list(sdata.images), list(sdata.shapes), list(sdata.tables)) == (["picture"], ["spots"], ["table"])
    spots, table = spatialdata.join_spatialelement_table(
        sdata=sdata, spatial_element_names="spots", table_name="table", how="inner"
    )
    assert len(spots["spots"]) == table.n_obs == len(centres())
    assert list(table.var_names) == list(GENES)
    assert {"measured", "predicted", "std"} <= set(table.layers)
    assert table.uns["stflow"]["samples"] == 4
    values = spatialdata.get_values("ERBB2", sdata=sdata, element_name="spots", table_name="table")
    assert values.loc[table.obs_names[3], "ERBB2"] == pytest.approx(float(table[:, "ERBB2"].X[3, 0]))


def test_spots_lie_on_the_tissue_in_pixels_and_in_um(spatialdata: ModuleType, path: Path) -> None:
    from spatialdata.transformations import get_transformation

    sdata = spatialdata.read_zarr(path)
    for system, unit in (("global", 1.0), ("um", MPP)):
        circles = spatialdata.transform(sdata["spots"], to_coordinate_system=system)
        points = np.column_stack([circles.geometry.x, circles.geometry.y])
        np.testing.assert_allclose(points, centres() * unit)
        np.testing.assert_allclose(circles["radius"], SPOT_UM / MPP / 2 * unit)
        matrix = get_transformation(sdata["picture"], system).to_affine_matrix(("x", "y"), ("x", "y"))
        columns, rows = (np.linalg.inv(matrix) @ np.column_stack([points, np.ones(len(points))]).T)[:2].astype(int)
        pixels = np.moveaxis(sdata["picture"].to_numpy(), 0, -1)
        assert on_tissue(pixels[rows, columns]).all()
        extent = spatialdata.get_extent(sdata["picture"], coordinate_system=system)
        assert extent["x"] == pytest.approx((0, SIDE * unit))


def test_a_folder_is_replaced_whole_and_nothing_lies_about(path: Path, results: Path, make_run: Callable) -> None:
    (path / "left.txt").write_text("of an older export")
    export_slide(results, make_run(), "s1", spatialdata=path)
    assert not (path / "left.txt").exists()
    assert [item.name for item in path.parent.iterdir()] == ["s1.zarr"]


def test_a_failed_export_leaves_what_was_there(
    path: Path, results: Path, make_run: Callable, monkeypatch: pytest.MonkeyPatch, spatialdata: ModuleType
) -> None:
    (path / "mark.txt").write_text("of an older export")

    def fail(self: object, where: Path, **_: object) -> None:
        Path(where).mkdir()
        raise OSError("broken")

    monkeypatch.setattr(spatialdata.SpatialData, "write", fail)
    with pytest.raises(OSError, match="broken"):
        export_slide(results, make_run(), "s1", spatialdata=path)
    assert (path / "mark.txt").is_file()
    assert [item.name for item in path.parent.iterdir()] == ["s1.zarr"]


def test_without_the_library_the_error_says_what_to_install(
    results: Path, make_run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spatialdata", None)
    with pytest.raises(ConfigError, match=r"stflow\[spatial\]"):
        export_slide(results, make_run(), "s1", tmp_path / "s1.h5ad", tmp_path / "s1.zarr")
    assert (tmp_path / "s1.h5ad").is_file()
