"""Files of which every part in turn is missing, of another form, or noise: read, or refused with the file's name.

What must not come is a bare KeyError, ValueError or OSError, whose traceback tells the user nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from stflow.data.formats.h5ad import read_h5ad_counts
from stflow.data.formats.hest_bench import HestBench
from stflow.data.slide import read_slide, write_slide
from stflow.data.tile_images import TileImages
from stflow.embedding.features import Features, read_features, write_features
from stflow.errors import StflowError
from stflow.evaluation.aggregate import read_metrics
from stflow.evaluation.evaluate import COLUMNS, evaluate_group
from stflow.evaluation.predictions import read_predictions
from stflow.evaluation.refinement import read_refinement
from stflow.layout import Group, Layout
from stflow.report.maps.canvas import read_canvas
from stflow.report.runs_page import runs_in
from stflow.wsi.compare import compare_patches
from stflow.wsi.ready import link_ready_tiles
from stflow.wsi.scale import Scale
from stflow.wsi.tiles import Spots
from stflow.wsi.tissue_picture import make_tissue_picture

from . import spoil

N, D, PX = 12, 5, 8
GENES = ("G0", "G1", "G2")
BARCODES = [f"b{index}" for index in range(N)]
GROUP = Group("demo", "IDC", "enc", "ridge", "default", "clean")
RUN = GROUP.run(0, 0)


def counts_file(path: Path) -> None:
    import anndata

    adata = anndata.AnnData(
        X=sparse.csr_matrix(np.random.default_rng(0).poisson(1.0, (N, len(GENES))).astype(np.float32)),
        obs=pd.DataFrame({"kind": pd.Categorical(["a", "b"] * (N // 2))}, index=BARCODES),
        var=pd.DataFrame(index=list(GENES)),
        obsm={"spatial": np.arange(2.0 * N).reshape(N, 2)},
        uns={"spatial": {"ST": {"scalefactors": {"spot_diameter_fullres": 20.0}}}},
    )
    adata.write_h5ad(path)


def slide_file(path: Path) -> None:
    write_slide(
        path, name="S1", patient="P1", barcodes=BARCODES, centres_px=np.arange(2.0 * N).reshape(N, 2), mpp=0.5,
        spot_diameter_um=55, genes=GENES, counts=np.ones((N, len(GENES))), mpp_source="made",
    )  # fmt: skip


def features_file(path: Path) -> None:
    values = np.arange(N * D, dtype=np.float32).reshape(N, D)
    names, corners = np.array(BARCODES, dtype=object), np.zeros((N, 2))
    write_features(path, Features(values, names, corners.astype(np.int64), corners, "enc", "w", "none", "fp32", "t"))


def tiles_file(path: Path) -> None:
    with h5py.File(path, "w") as handle:
        handle["img"] = np.zeros((N, PX, PX, 3), dtype=np.uint8)
        handle["coords"] = np.arange(2 * N).reshape(N, 2)
        handle["coords"].attrs.update(patch_size_src=16, pixel_size=0.5)
        handle.create_dataset("barcode", data=BARCODES, dtype=h5py.string_dtype())
        handle["centres"] = np.arange(2.0 * N).reshape(N, 2) + 8
        handle["thumbnail"] = np.zeros((6, 6, 3), dtype=np.uint8)
        handle["thumbnail"].attrs["downsample"] = 4.0
        handle["mask"] = np.ones((6, 6), dtype=np.uint8)
        handle["mask"].attrs["downsample"] = 4.0
        handle.attrs.update(mpp=0.5, n_expected=N)


def predictions_file(path: Path) -> None:
    import anndata

    values = np.arange(N * len(GENES), dtype=np.float32).reshape(N, -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    anndata.AnnData(
        X=values,
        obs=pd.DataFrame(
            {"slide": pd.Categorical(["S1"] * N), "patient": "P1", "barcode": BARCODES},
            index=[f"S1_{barcode}" for barcode in BARCODES],
        ),
        var=pd.DataFrame(index=list(GENES)),
        layers=dict.fromkeys(("measured", "std", "lower", "upper", "crps"), values),
        obsm={"spatial": np.arange(2.0 * N).reshape(N, 2)},
        uns={
            "stflow": {
                "schema": 1, "run": str(RUN), "trained_as": "default", "status": "ok", "reason": "", "n_spots": N,
                "samples": 2, "interval": 0.9,
            }
        },
    ).write_h5ad(path)  # fmt: skip


def refinement_file(path: Path) -> None:
    with h5py.File(path, "w") as handle:
        handle["guesses"], handle["times"] = np.zeros((2, N, len(GENES))), np.zeros(2)
        handle["measured"], handle["centres"] = np.zeros((N, len(GENES))), np.zeros((N, 2))
        handle["genes"] = list(GENES)
        handle.attrs.update(schema=1, run=str(RUN), slide="S1", n_spots=N, status="ok", reason="")


def link_tiles(path: Path) -> None:
    spots = Spots("S1", np.array(BARCODES, dtype=object), np.zeros((N, 2)), 0.5, 55.0)
    link_ready_tiles(path, spots, path.with_name("linked.h5"), PX)


#: What is written, and everything that reads it.
HDF5: dict[str, tuple[Callable[[Path], None], list[Callable[[Path], Any]]]] = {
    "counts.h5ad": (counts_file, [lambda path: read_h5ad_counts(path, "S1", Scale(0.5, "made"))]),
    "slide.h5ad": (slide_file, [read_slide, Spots.read]),
    "features.h5": (features_file, [read_features]),
    "tiles.h5": (
        tiles_file,
        [
            link_tiles,
            lambda path: TileImages.of(path).read(np.array([3, 1])),
            lambda path: read_canvas(path, "S1", np.zeros((N, 2))),
            lambda path: make_tissue_picture(path, path.with_suffix(".png")),
            lambda path: compare_patches(path, path.with_name("whole-tiles.h5")),
            lambda path: HestBench(path.parent)._of_patches(path, "S1"),
        ],
    ),
    "predictions.h5ad": (predictions_file, [read_predictions]),
    "refinement.h5": (refinement_file, [read_refinement]),
}


@pytest.mark.parametrize("name", HDF5)
def test_hdf5_with_any_part_spoilt_is_read_or_refused_by_name(tmp_path: Path, name: str) -> None:
    write, readers = HDF5[name]
    whole, path = tmp_path / f"whole-{name}", tmp_path / name
    write(whole)
    for read in readers:
        assert not spoil.fault(read, whole)
        read(whole)
    told, count = [], 0
    for what in spoil.spoilt_h5(whole, path):
        count += 1
        told += [f"{what}: {problem}" for read in readers if (problem := spoil.fault(read, path))]
    content = whole.read_bytes()
    for what, data in spoil.noise(content):
        path.write_bytes(data)
        told += [f"{what}: {problem}" for read in readers if (problem := spoil.fault(read, path))]
    assert count > 30
    assert not told, "\n".join(told)


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    predictions_file(Layout(tmp_path).predictions(RUN))
    path = tmp_path / "metrics.parquet"
    evaluate_group(tmp_path, str(GROUP), [0], [0], path)
    return path


def test_spoilt_metrics_are_refused_by_name(metrics: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    readers: list[Callable[[Path], Any]] = [lambda path: read_metrics([path]), lambda path: list(runs_in(path))]
    whole, content = pq.read_table(metrics), metrics.read_bytes()
    assert len(read_metrics([metrics])) > 10
    assert [str(run) for run, _, _ in runs_in(metrics)] == [str(RUN)]
    told, n = [], len(whole)
    for what, data in spoil.noise(content):
        metrics.write_bytes(data)
        told += [f"{what}: {problem}" for read in readers if (problem := spoil.fault(read, metrics))]
    for place, name in enumerate(COLUMNS):
        columns = {
            "missing": None,
            "null": pa.nulls(n, whole[name].type),
            "of no type": pa.nulls(n),
            "of lists": pa.array([[1]] * n),
            "of bytes": pa.array([b"\xff"] * n),
            "of structs": pa.array([{"a": 1}] * n),
            "of times": pa.array([0] * n, pa.timestamp("s")),
        }
        for what, column in columns.items():
            bare = whole.remove_column(place)
            pq.write_table(bare if column is None else bare.add_column(place, name, column), metrics)
            told += [f"{name} is {what}: {problem}" for read in readers if (problem := spoil.fault(read, metrics))]
    assert not told, "\n".join(told)


@pytest.mark.parametrize("name", ["../../x", "..", "/etc", "a/b", "-rf", "", "a\nb"])
@pytest.mark.parametrize("column", Group.__slots__)
def test_metrics_of_a_run_elsewhere_are_refused(metrics: Path, column: str, name: str) -> None:
    """The name of a run is a path below the results folder, of records and logs that a report shows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(metrics)
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array([name] * len(table))), metrics)
    with pytest.raises(StflowError, match=rf"column {column}"):
        list(runs_in(metrics))
    with pytest.raises(StflowError, match=rf"column {column}"):
        read_metrics([metrics])


@pytest.mark.parametrize("part", ["..", "a\\b", "-rf", "a b", "."])
def test_the_name_of_a_run_leads_nowhere_else(tmp_path: Path, part: str) -> None:
    path = tmp_path / "predictions.h5ad"
    predictions_file(path)
    with h5py.File(path, "r+") as handle:
        del handle["uns/stflow/run"]
        handle["uns/stflow/run"] = f"{part}/IDC/enc/ridge/default/clean/fold0/seed0"
    with pytest.raises(StflowError, match="is not a"):
        read_predictions(path)


@pytest.mark.parametrize("text", ["[]", "null", "1", '"x"', "[" * 100_000, "{", "\x00", '{"a": 1}'])
def test_json_of_another_form_is_refused_by_name(tmp_path: Path, text: str) -> None:
    from stflow.data.hub.lock import NAME, read_lock
    from stflow.data.hub.request import read_request
    from stflow.verify import LEDGER, read_ledger

    readers = {"request.json": read_request, NAME: read_lock, LEDGER: read_ledger}
    for name, read in readers.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        argument = path if name == "request.json" else tmp_path
        with pytest.raises(StflowError, match=path.name):
            read(argument)


def test_the_command_line_says_it_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from stflow.cli import main

    path = Layout(tmp_path).predictions(RUN)
    predictions_file(path)
    with h5py.File(path, "r+") as handle:
        del handle["obs/slide"]
        handle["obs/slide"] = 1
    arguments = SimpleNamespace(results=str(tmp_path), group=str(GROUP), out=str(tmp_path / "m.parquet"))
    with pytest.raises(SystemExit) as stopped:
        main(
            ["evaluate", "--results", arguments.results, "--group", arguments.group, "--folds", "0", "--seeds", "0",
             "--out", arguments.out]
        )  # fmt: skip
    told = capsys.readouterr().err
    assert stopped.value.code == 3
    assert str(path) in told
    assert "Traceback" not in told
