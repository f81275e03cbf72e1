"""Files of which every part in turn is missing, of another form, or noise: read, or refused with the file's name.

What must not come is a bare KeyError, ValueError or OSError, whose traceback tells the user nothing.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
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
from stflow.data.slide import Slide, read_slide, write_slide
from stflow.data.tile_images import TileImages
from stflow.embedding.features import Features, read_features, write_features
from stflow.errors import StflowError
from stflow.evaluation.aggregate import read_metrics
from stflow.evaluation.evaluate import COLUMNS, evaluate_group
from stflow.evaluation.predictions import read_predictions
from stflow.evaluation.refinement import read_refinement
from stflow.layout import Group, Layout
from stflow.models import METHODS
from stflow.models.base import Method, Task
from stflow.report.maps.canvas import read_canvas
from stflow.report.runs_page import runs_in
from stflow.training.checkpoint import load_checkpoint, save_checkpoint
from stflow.wsi.ready import link_ready_tiles
from stflow.wsi.scale import Scale
from stflow.wsi.tiles import Spots
from stflow.wsi.tissue_picture import make_tissue_picture

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
            lambda path: HestBench(path.parent)._of_patches(path, "S1"),
        ],
    ),
    "predictions.h5ad": (predictions_file, [read_predictions]),
    "refinement.h5": (refinement_file, [read_refinement]),
}


def odd(parent: h5py.Group, name: str, form: str) -> None:
    """Put something else in the place of what is called ``name``."""
    root = parent.file
    if form == "group":
        parent.create_group(name)
    elif form == "reference":
        parent.create_dataset(name, data=np.array([root.ref] * N, dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)
    elif form == "rows of any length":
        dataset = parent.create_dataset(name, (N,), dtype=h5py.vlen_dtype(np.int32))
        for row in range(N):
            dataset[row] = np.arange(row)
    elif form != "nothing":
        parent[name] = {
            "number": -7,
            "text": "text",
            "text that is not UTF-8": np.bytes_(b"\xff\xfe"),
            "short row": np.arange(3),
            "no rows": np.zeros((0,)),
            "complex": np.full((N, len(GENES)), 1j),
            "records": np.zeros(N, dtype=[("a", "i4"), ("b", "f8")]),
            "empty": h5py.Empty("f"),
            "enormous": np.full((N, 2), 2**62),
        }[form]


FORMS = (
    *("nothing", "group", "reference", "rows of any length", "number", "text", "text that is not UTF-8", "short row"),
    *("no rows", "complex", "records", "empty", "enormous"),
)


def spoilt_h5(whole: Path, path: Path) -> Iterator[str]:
    """Write the file again and again, each time with one other part of it spoilt; what that is."""
    names: list[str] = []
    attributes: list[tuple[str, str]] = []
    with h5py.File(whole) as handle:
        handle.visititems(lambda name, _: names.append(name))
        for name in ("/", *names):
            attributes += [(name, key) for key in handle[name].attrs]
    for name in names:
        for form in FORMS:
            shutil.copy(whole, path)
            with h5py.File(path, "r+") as handle:
                attrs = dict(handle[name].attrs)
                parent = handle[name].parent
                del handle[name]
                odd(parent, name.rpartition("/")[2], form)
                if form != "nothing":
                    handle[name].attrs.update(attrs)  # it still says that it is what it was
            yield f"{name} is {form}"
    for name, key in attributes:
        for value in (None, "text", np.array([1.5, 2.5])):
            shutil.copy(whole, path)
            with h5py.File(path, "r+") as handle:
                del handle[name].attrs[key]
                if value is not None:
                    handle[name].attrs[key] = value
            yield f"attribute {key} of {name} is {value!r}"


def noise(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Bytes that are cut short, or are no such file at all."""
    rng = np.random.default_rng(0)
    for share in (0.0, 0.01, 0.3, 0.9, 0.999):
        yield f"cut to {share}", whole[: int(share * len(whole))]
    yield "noise", rng.bytes(len(whole))
    yield "its first bytes, then noise", whole[:64] + rng.bytes(len(whole) - 64)
    yield "a text", b"version https://git-lfs.github.com/spec/v1\n"
    yield "a web page", b"<!doctype html><html></html>"


def fault(read: Callable[[Path], Any], path: Path) -> str:
    """What is wrong with how a file is refused, in words; empty if it is read, or refused as it should be."""
    try:
        read(path)
    except StflowError as error:
        if error.exit_code != 3:
            return f"exit code {error.exit_code}"
        return (
            ""
            if path.name in str(error) or "slide S1 has" in str(error)
            else f"the message does not name the file: {error}"
        )
    except Exception as error:  # noqa: BLE001 - any of them is what this looks for
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("name", HDF5)
def test_hdf5_with_any_part_spoilt_is_read_or_refused_by_name(tmp_path: Path, name: str) -> None:
    write, readers = HDF5[name]
    whole, path = tmp_path / f"whole-{name}", tmp_path / name
    write(whole)
    for read in readers:
        assert not fault(read, whole)
        read(whole)
    told, count = [], 0
    for what in spoilt_h5(whole, path):
        count += 1
        told += [f"{what}: {problem}" for read in readers if (problem := fault(read, path))]
    content = whole.read_bytes()
    for what, data in noise(content):
        path.write_bytes(data)
        told += [f"{what}: {problem}" for read in readers if (problem := fault(read, path))]
    assert count > 50
    assert not told, "\n".join(told)


def safetensors(metadata: Any, tensors: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    return save(tensors, metadata={"stflow": text})


def model_state(name: str) -> dict[str, np.ndarray]:
    rng, G = np.random.default_rng(0), len(GENES)
    if name == "mean":
        return {"mean": rng.random(G).astype(np.float32)}
    if name == "ridge":
        shapes: dict[str, tuple[int, ...]] = {
            "centre": (D,), "scale": (D,), "axes": (2, D), "weights": (2, G), "intercept": (G,)
        }  # fmt: skip
        return {key: rng.random(shape) for key, shape in shapes.items()}
    if name == "knn":
        shapes = {"centre": (D,), "scale": (D,), "axes": (2, D)}
        return {key: rng.random(shape) for key, shape in shapes.items()} | {
            "reference": rng.random((9, 2)).astype(np.float32),
            "expression": rng.random((9, G)).astype(np.float32),
        }
    # One split a tree: node 0 looks at feature 1, nodes 1 and 2 are its leaves.
    trees = 2 * G
    return {
        "edges": np.sort(rng.random((D, 3)), axis=1).astype(np.float32),
        "roots": (3 * np.arange(trees)).reshape(G, 2),
        "leaves": (2 * np.arange(trees)).reshape(G, 2),
        "feature": np.tile(np.array([1, -1, -1], dtype=np.int16), trees),
        "cut": np.tile(np.array([1, 0, 0], dtype=np.uint8), trees),
        "next": np.tile(np.array([2, 0, 1], dtype=np.int32), trees),
        "value": rng.random(2 * trees).astype(np.float32),
    }


def made_slide() -> Slide:
    rng = np.random.default_rng(1)
    return Slide(
        "S1", "P1", np.array(BARCODES, dtype=object), rng.random((N, 2)) * 500, 0.5, GENES,
        sparse.csc_matrix(np.ones((N, len(GENES)))), {"enc": rng.random((N, D)).astype(np.float32)},
    )  # fmt: skip


MODELS = ("mean", "ridge", "knn", "random_forest")


def metadata_of(cls: type[Method]) -> dict[str, Any]:
    settings = cls.Settings().model_dump(mode="json")
    return {"method": cls.name, "settings": settings, "genes": list(GENES), "encoder": "enc", "names": ["a", 0]}


def spoilt_models(cls: type[Method]) -> Iterator[tuple[str, bytes]]:
    metadata, state = metadata_of(cls), model_state(cls.name)
    yield from noise(safetensors(metadata, state))
    yield "a header as long as memory", struct.pack("<Q", 2**62) + b"{}"
    yield "brackets without end", safetensors("[" * 100_000, state)
    for value in ("{", "[]", "null", "1", '"text"', "{}"):
        yield f"metadata are {value}", safetensors(value, state)
    for key in metadata:
        yield f"metadata lack {key}", safetensors({k: v for k, v in metadata.items() if k != key}, state)
        for value in (None, 1, "text", [], [[]], {"hidden": "x"}, {"trees": -1}):
            yield f"{key} is {value!r}", safetensors({**metadata, key: value}, state)
    for name, array in state.items():
        others = {
            "missing": None,
            "empty": array[:0],
            "short": array[:1],
            "long": np.concatenate([array, array]),
            "of one dimension more": array[None],
            "a scalar": array.ravel()[:1].reshape(()),
            "of truth values": array.astype(bool),
            "of half numbers": array.astype(np.float16),
            "of far numbers": np.full_like(array, 10**4) if array.dtype.kind in "iu" and array.itemsize > 1 else None,
            "of numbers below zero": np.full_like(array, -5) if array.dtype.kind == "i" else None,
        }
        for what, other in others.items():
            if other is None and what != "missing":
                continue
            changed = {key: value for key, value in state.items() if key != name}
            yield f"{name} is {what}", safetensors(metadata, changed if other is None else {**changed, name: other})
    yield "one array more", safetensors(metadata, {**state, "predict": np.zeros(2), "settings": np.zeros(2)})


@pytest.mark.parametrize("name", MODELS)
def test_a_spoilt_model_is_refused_by_name(tmp_path: Path, name: str) -> None:
    cls, path, slide = METHODS.get(name), tmp_path / "model.safetensors", made_slide()
    path.write_bytes(safetensors(metadata_of(cls), model_state(name)))

    def loaded(path: Path) -> np.ndarray | None:
        method = cls.load(path)
        return method.predict(slide, seed=0) if method.task.encoder == "enc" else None

    found = loaded(path)
    assert found is not None
    assert found.shape == (N, len(GENES))
    told = []
    for what, data in spoilt_models(cls):
        path.write_bytes(data)
        problem = fault(loaded, path)
        told += [f"{what}: {problem}"] if problem else []
    assert not told, "\n".join(told)


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("next", 0, 10**8),  # out of all nodes
        ("next", 0, 0),  # to itself: a walk without end
        ("next", 0, 1),
        ("next", 3, -1),
        ("next", 1, 10**8),  # a leaf's value out of all values
        ("next", 1, -(10**8)),
        ("feature", 0, 30_000),  # of a feature that no spot has
        ("feature", 1, 1),  # a leaf that is none
        ("roots", 0, 10**9),
        ("roots", 3, -1),
        ("leaves", 0, 10**9),
        ("leaves", 5, -(10**9)),
    ],
)
def test_a_forest_that_leads_out_of_itself_is_refused(tmp_path: Path, name: str, index: int, value: int) -> None:
    """Its compiled walk would read other memory of the process, or never end."""
    cls, state, path = METHODS.get("random_forest"), model_state("random_forest"), tmp_path / "model.safetensors"
    state[name].ravel()[index] = value
    path.write_bytes(safetensors(metadata_of(cls), state))
    with pytest.raises(StflowError, match=r"model.safetensors is not a whole random_forest model"):
        cls.load(path)


def test_features_of_another_width_than_a_model_s_are_refused(tmp_path: Path) -> None:
    slide = made_slide()
    slide.features["enc"] = slide.features["enc"][:, :1]  # type: ignore[index]
    for name in ("ridge", "knn", "random_forest"):
        cls, path = METHODS.get(name), tmp_path / f"{name}.safetensors"
        path.write_bytes(safetensors(metadata_of(cls), model_state(name)))
        with pytest.raises(StflowError, match="slide S1 has 1 features of enc, the model was trained on 5"):
            cls.load(path).predict(slide, seed=0)


def test_a_spoilt_network_is_refused_by_name(tmp_path: Path) -> None:
    cls, path = METHODS.get("stflow"), tmp_path / "model.safetensors"
    settings = cls.Settings.model_validate({"hidden": 8, "edge_hidden": 4, "layers": 1, "heads": 2, "neighbours": 3})
    method = cls(settings, Task(GENES, "enc", ("a", 0)))
    from stflow.models.stflow.learner import Learner

    method._learner = Learner(method, D, 0)  # type: ignore[attr-defined, arg-type]
    state = {name: np.array(value) for name, value in method.state().items()}
    metadata = {**metadata_of(cls), "settings": settings.model_dump(mode="json")}
    path.write_bytes(safetensors(metadata, state))
    cls.load(path)
    told = []
    for name, array in state.items():
        for changed in ({}, {name: array[None]}, {name: array[..., :0]}):
            rest = {key: value for key, value in state.items() if key != name}
            path.write_bytes(safetensors(metadata, {**rest, **changed}))
            with pytest.raises(StflowError, match=r"model\.safetensors is not a whole stflow model"):
                cls.load(path)
            told.append(name)
    assert len(told) > 20


def test_a_spoilt_checkpoint_is_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, "this", {"a": torch.arange(5.0)}, {"epoch": 1})
    whole = path.read_bytes()
    assert load_checkpoint(path, "this") is not None
    meta = {"schema": 1, "fingerprint": "this", "sha256": "0", "state": {}}
    tensors = {"a": np.arange(5.0)}
    cases = [
        *noise(whole),
        ("a header as long as memory", struct.pack("<Q", 2**62) + b"{}"),
        ("brackets without end", safetensors("[" * 100_000, tensors)),
        *((text, safetensors(text, tensors)) for text in ("{", "[]", "null", "1", "{}", '{"schema": 1}')),
        *((f"no {key}", safetensors({k: v for k, v in meta.items() if k != key}, tensors)) for key in meta),
        *((f"{key} is a list", safetensors({**meta, key: []}, tensors)) for key in meta),
    ]
    for what, data in cases:
        path.write_bytes(data)
        assert load_checkpoint(path, "this") is None, what
        assert not path.exists(), what
        assert "checkpoint.safetensors is not used" in capsys.readouterr().err


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
    for what, data in noise(content):
        metrics.write_bytes(data)
        told += [f"{what}: {problem}" for read in readers if (problem := fault(read, metrics))]
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
            told += [f"{name} is {what}: {problem}" for read in readers if (problem := fault(read, metrics))]
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
