"""Models and checkpoints of which every part in turn is missing or of another form: refused with the file's name."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from stflow.data.slide import Slide
from stflow.errors import StflowError
from stflow.models import METHODS
from stflow.models.base import Method, Task
from stflow.training.checkpoint import load_checkpoint, save_checkpoint

from . import spoil

N, D = 12, 5
GENES = ("G0", "G1", "G2")
BARCODES = [f"b{index}" for index in range(N)]


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
    yield from spoil.noise(safetensors(metadata, state))
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
        problem = spoil.fault(loaded, path)
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
        *spoil.noise(whole),
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
