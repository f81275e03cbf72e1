"""A published file is read from its container, and one that does not fit is refused, whichever tensor it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stflow.encoders import network
from stflow.encoders.network import NetworkEncoder
from stflow.errors import WeightsError

from .test_zoo import (
    NAMES,
    SMALL,
    TOLERANCE,
    Shapes,
    State,
    WeightsOf,
    ctranspath_file,
    dinov2_file,
    golden,
    kind_of,
    reduced,
    save,
    shapes_of,
    small_dinov2,
)  # fmt: skip


def file_of(name: str, weights_of: WeightsOf, layout: Callable[..., Shapes]) -> tuple[type[NetworkEncoder], State]:
    """A small encoder of that name and a file that fits it, in the published layout."""
    if name == "ctranspath":
        return kind_of(name), ctranspath_file(weights_of)
    if name == "conch_v1_5":
        shapes, _ = golden(name)
        return reduced(name, **SMALL, hidden=512), weights_of(shapes)
    if name in ("phikon_v2", "hibou_l", "midnight"):
        kind = small_dinov2(name)
        side = kind.input_px // kind.patch_px  # type: ignore[attr-defined]
        return kind, weights_of(dinov2_file(kind, side**2 + 1, layout))
    kind = kind_of(name)
    if name not in ("ciga", "resnet50", "densenet121"):
        kind = reduced(name, **SMALL, hidden=512)
    with torch.device("meta"):
        shapes = shapes_of(kind.build())
    prefix = "model.resnet." if name == "ciga" else ""
    return kind, weights_of({prefix + key: shape for key, shape in shapes.items()})


@pytest.mark.parametrize("name", NAMES)
def test_a_published_file_is_read_from_its_container(
    name: str, tiles: np.ndarray, weights_of: WeightsOf, dinov2_layout: Callable[..., Shapes], tmp_path: Path
) -> None:
    kind, state = file_of(name, weights_of, dinov2_layout)
    path = save(state, name, tmp_path)
    features = kind(weights=path)(tiles[:1])
    assert np.isfinite(features).all()
    if kind is kind_of(name):  # not made smaller
        assert features.shape == (1, kind.dim)
    if kind.key:
        torch.save(state, path)
        with pytest.raises(WeightsError, match=rf"has no '{kind.key}'"):
            kind(weights=path).load()


@pytest.mark.parametrize("name", NAMES)
def test_tensors_that_do_not_fit_are_refused(
    name: str,
    weights_of: WeightsOf,
    dinov2_layout: Callable[..., Shapes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a tensor, with one too many, with one of another shape: whichever of the file's tensors it is."""
    kind, state = file_of(name, weights_of, dinov2_layout)
    (tmp_path / "w").touch()

    def load(changed: State) -> None:
        monkeypatch.setattr(network, "read_state", lambda path, key: changed)
        kind(weights=tmp_path / "w").load()

    idle = ("num_batches_tracked", "mask_token", "attn_mask", "relative_position_index")
    weights = [key for key in state if not key.endswith(idle)]
    for key in (weights[0], weights[len(weights) // 2], weights[-1]):
        without = {other: value for other, value in state.items() if other != key}
        with pytest.raises(WeightsError, match=f"{name}.*missing"):
            load(without)
        with pytest.raises(WeightsError, match=f"{name}.*(of another shape|unexpected|positions are not)"):
            load({**state, key: state[key][..., :-1]})
    with pytest.raises(WeightsError, match=rf"does not fit encoder {name}.*1 unexpected \(encoder\.extra"):
        load({**state, "encoder.extra": torch.ones(2)})
    load(state)


def test_another_encoder_s_file_is_refused(
    weights_of: WeightsOf, dinov2_layout: Callable[..., Shapes], tmp_path: Path
) -> None:
    """UNI's tensors have Phikon-v2's sizes and other names; H-optimus has registers that GigaPath has not."""
    _, state = file_of("uni", weights_of, dinov2_layout)
    path = save(state, "phikon_v2", tmp_path)
    with pytest.raises(WeightsError, match=r"phikon_v2: of 34 tensors, 34 missing .*34 unexpected \(\S+ \(unknown\)"):
        small_dinov2("phikon_v2")(weights=path).load()
    _, state = file_of("h_optimus_0", weights_of, dinov2_layout)
    path = save(state, "gigapath", tmp_path)
    with pytest.raises(
        WeightsError, match=r"1 unexpected \(reg_token\).*pos_embed \(1, 256, 128\) for \(1, 197, 128\)"
    ):
        reduced("gigapath", **SMALL, hidden=512)(weights=path).load()


@pytest.mark.parametrize(
    ("name", "key"), [("midnight", "embeddings.position_embeddings"), ("conch_v1_5", "trunk.pos_embed")]
)
@pytest.mark.parametrize("shape", [(1, 1, 128), (1, 200, 128), (257, 128), (128,), (2, 197, 128)])
def test_positions_of_no_square_are_refused(
    name: str,
    key: str,
    shape: tuple[int, ...],
    weights_of: WeightsOf,
    dinov2_layout: Callable[..., Shapes],
    tmp_path: Path,
) -> None:
    kind, state = file_of(name, weights_of, dinov2_layout)
    path = save({**state, key: torch.ones(shape)}, name, tmp_path)
    with pytest.raises(WeightsError, match=rf"{name}: .* positions are not those of a class token and a square"):
        kind(weights=path).load()


def test_half_precision_files_are_read_as_float32(
    tiles: np.ndarray, weights_of: WeightsOf, dinov2_layout: Callable[..., Shapes], tmp_path: Path
) -> None:
    kind, state = file_of("midnight", weights_of, dinov2_layout)
    halves = {key: value.half() for key, value in state.items()}
    encoder = kind(weights=save(halves, "midnight", tmp_path))
    features = encoder(tiles)
    assert {parameter.dtype for parameter in encoder.network.parameters()} == {torch.float32}
    whole = kind(weights=save({key: value.float() for key, value in halves.items()}, "midnight", tmp_path))
    np.testing.assert_allclose(features, whole(tiles), rtol=0, atol=TOLERANCE)
