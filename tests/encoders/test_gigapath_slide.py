"""Tiles go to the network row by row, each at its place, and come back in the caller's order; only its weights do."""

import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stflow.encoders import longnet
from stflow.encoders.longnet import LongNet
from stflow.encoders.zoo.gigapath_slide import GigaPathSlide, load_network
from stflow.errors import DataError, WeightsError

HUB = Path(__file__).parents[2] / "resources" / "hub.json"
PX = 0.5  # um/px of pretraining


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of one layer of the published width, in the published container."""
    torch.manual_seed(0)
    network = LongNet(depth=1)
    torch.nn.init.normal_(network.cls_token)
    for norm in (network.norm, network.encoder.layer_norm):
        torch.nn.init.normal_(norm.weight)
    path = tmp_path_factory.mktemp("weights") / "slide_encoder.pth"
    torch.save({"model": network.state_dict()}, path)
    return path


@pytest.fixture(autouse=True)
def one_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published network without eleven of its layers, to be quick."""
    monkeypatch.setattr(longnet, "LongNet", functools.partial(LongNet, depth=1))


def make_slide(n: int = 60, seed: int = 0, extent_px: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((n, 1536)).astype(np.float32), generator.integers(0, extent_px, (n, 2))


class Spy:
    """Stands in for the network: keeps what it is given, and returns each tile's first feature."""

    def __call__(self, features: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        self.features, self.cells = features.numpy(), cells.numpy()
        states = torch.zeros(1 + len(features), 768)
        states[1:] = features[:, :1]
        return states


def spied(*variants: str) -> tuple[GigaPathSlide, Any]:
    encoder, spy = GigaPathSlide(variants=variants), Spy()
    encoder._network = spy  # type: ignore[assignment]
    return encoder, spy


def test_states_are_the_networks_without_the_class_token(weights: Path) -> None:
    features, corners = make_slide()
    result = GigaPathSlide(weights=weights).encode_slide(features, corners, PX)
    assert result.shape == (60, 768)
    assert result.dtype == np.float32
    cells = torch.from_numpy(corners // 256)
    order = np.lexsort((corners[:, 0], corners[:, 1], cells[:, 0], cells[:, 1]))
    with torch.inference_mode():
        states = load_network(weights)(torch.from_numpy(features[order]), cells[order])
    np.testing.assert_array_equal(result[order], states[1:].numpy())


def test_tiles_in_another_order_are_the_same_tiles(weights: Path) -> None:
    encoder = GigaPathSlide(weights=weights)
    features, corners = make_slide(1100)
    straight = encoder.encode_slide(features, corners, 0.3)
    order = np.random.default_rng(1).permutation(len(features))
    np.testing.assert_array_equal(encoder.encode_slide(features[order], corners[order], 0.3), straight[order])


def test_same_bits_each_time(weights: Path) -> None:
    slide = (*make_slide(1500), PX)
    first, second = (GigaPathSlide(weights=weights) for _ in range(2))
    answers = [first.encode_slide(*slide), first.encode_slide(*slide), second.encode_slide(*slide)]
    assert answers[0].tobytes() == answers[1].tobytes() == answers[2].tobytes()


def test_tiles_are_fed_row_by_row() -> None:
    encoder, spy = spied()
    features, corners = make_slide(200)
    result = encoder.encode_slide(features, corners, PX)
    place = spy.cells[:, 1] * 1000 + spy.cells[:, 0]
    assert (np.diff(place) >= 0).all()
    assert len(np.unique(spy.cells[:, 1])) > 1
    np.testing.assert_array_equal(result[:, 0], features[:, 0])


def test_tiles_of_one_cell_are_fed_by_row_and_column_of_pixels() -> None:
    encoder, spy = spied()
    corners = np.array([[9, 5], [3, 5], [200, 0], [0, 255]])
    features = np.repeat(np.arange(4.0)[:, None], 1536, axis=1)
    encoder.encode_slide(features, corners, PX)
    assert spy.features[:, 0].tolist() == [2, 1, 0, 3]


@pytest.mark.parametrize(
    ("variants", "mpp", "expected"),
    [
        ((), 0.5, [[0, 1], [3, 40]]),
        ((), 0.25, [[0, 0], [1, 20]]),
        ((), 1.0, [[1, 2], [6, 80]]),
        (("level0",), 0.25, [[0, 1], [3, 40]]),
        (("normed", "level0"), 1.0, [[0, 1], [3, 40]]),
    ],
)
def test_places_are_cells_of_128_um_or_of_level0_px(variants, mpp, expected) -> None:
    encoder, spy = spied(*variants)
    spy.norm = lambda states: states
    encoder.encode_slide(np.zeros((2, 1536)), np.array([[255, 256], [800, 10_250]]), mpp)
    assert spy.cells.tolist() == expected


def test_variants_differ_as_they_say(weights: Path) -> None:
    features, corners = make_slide()
    plain, normed, level0 = (GigaPathSlide(weights=weights, variants=v) for v in ((), ("normed",), ("level0",)))
    states = plain.encode_slide(features, corners, 0.3)
    with torch.inference_mode():
        expected = load_network(weights).norm(torch.from_numpy(states)).numpy()
    np.testing.assert_allclose(normed.encode_slide(features, corners, 0.3), expected, atol=1e-5)
    assert np.abs(expected - states).max() > 0.1
    assert np.abs(level0.encode_slide(features, corners, 0.3) - states).max() > 1e-3
    np.testing.assert_array_equal(level0.encode_slide(features, corners, PX), plain.encode_slide(features, corners, PX))
    transforms = {encoder.transform for encoder in (plain, normed, level0)}
    assert len(transforms) == 3
    assert plain.transform == GigaPathSlide.transform


def test_half_precision_stays_near(weights: Path) -> None:
    slide = (*make_slide(), PX)
    full = GigaPathSlide(weights=weights).encode_slide(*slide)
    half = GigaPathSlide(precision="bf16", weights=weights).encode_slide(*slide)
    assert half.dtype == np.float32
    assert 0 < np.linalg.norm(half - full) / np.linalg.norm(full) < 0.02


def test_a_slide_without_tiles_has_no_states() -> None:
    assert GigaPathSlide().encode_slide(np.zeros((0, 1536)), np.zeros((0, 2)), PX).shape == (0, 768)


def test_what_is_said_of_it_is_so() -> None:
    with torch.device("meta"):
        assert sum(own.numel() for own in LongNet().parameters()) == GigaPathSlide.n_params
    entry = json.loads(HUB.read_text())["repositories"][GigaPathSlide.weights.repository]
    assert GigaPathSlide.weights.file in entry["files"]
    assert entry["licence"] == GigaPathSlide.licence


# -- what is refused -----------------------------------------------------------------------------------------


def test_features_of_another_encoder_are_refused() -> None:
    with pytest.raises(DataError, match=r"features of gigapath, of shape \(tiles, 1536\), not \(5, 1024\)"):
        GigaPathSlide().encode_slide(np.zeros((5, 1024)), np.zeros((5, 2)), PX)


def test_corners_of_other_tiles_are_refused() -> None:
    with pytest.raises(DataError, match=r"corners of shape \(4, 2\) for 5 tiles"):
        GigaPathSlide().encode_slide(np.zeros((5, 1536)), np.zeros((4, 2)), PX)


@pytest.mark.parametrize("mpp", [0.0, -0.5, float("nan"), float("inf")])
def test_a_slide_without_a_scale_is_refused(mpp: float) -> None:
    with pytest.raises(DataError, match="is no scale"):
        GigaPathSlide().encode_slide(np.zeros((1, 1536)), np.zeros((1, 2)), mpp)


def test_slides_beyond_the_grid_are_refused() -> None:
    encoder, spy = spied()
    corners = np.array([[0, 700], [300_000, 700]])
    encoder.encode_slide(np.zeros((2, 1536)), corners, 0.25)
    assert spy.cells[:, 0].tolist() == [0, 585]
    level0 = spied("level0")[0]
    limits = r"from \(0, 700\) to \(300,000, 700\) level-0 px.*from 0 to 256,000\. .*without level0"
    with pytest.raises(DataError, match=limits):
        level0.encode_slide(np.zeros((2, 1536)), corners, 0.25)
    with pytest.raises(DataError, match=r"to \(600,000, 1,400\) px of 0\.5 um.*Check the slide's um/px, 1\.0"):
        encoder.encode_slide(np.zeros((2, 1536)), corners, 1.0)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_grids_last_cell_is_in_and_the_next_is_out(axis: int) -> None:
    encoder, spy = spied()
    corners = np.zeros((1, 2))
    corners[0, axis] = 255_999
    encoder.encode_slide(np.zeros((1, 1536)), corners, PX)
    assert spy.cells[0, axis] == 999
    corners[0, axis] = 256_000
    with pytest.raises(DataError, match="grid"):
        encoder.encode_slide(np.zeros((1, 1536)), corners, PX)


def test_tiles_over_the_edge_are_of_the_first_cell_and_those_beyond_are_refused() -> None:
    encoder, spy = spied()
    encoder.encode_slide(np.zeros((1, 1536)), np.array([[-100, -1]]), PX)
    assert spy.cells.tolist() == [[0, 0]]
    with pytest.raises(DataError, match=r"from \(-300, 0\)"):
        encoder.encode_slide(np.zeros((1, 1536)), np.array([[-300, 0]]), PX)


def test_corners_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="grid"):
        spied()[0].encode_slide(np.zeros((1, 1536)), np.array([[np.nan, 0]]), PX)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    slide = (*make_slide(3), PX)
    with pytest.raises(WeightsError, match=r"missing: no file was given"):
        GigaPathSlide().encode_slide(*slide)
    with pytest.raises(WeightsError, match=r"absent\.pth is not there"):
        GigaPathSlide(weights=tmp_path / "absent.pth").encode_slide(*slide)


def changed(weights: Path, out: Path, change: Any) -> Path:
    held = torch.load(weights, weights_only=True)
    change(held["model"])
    torch.save(held, out)
    return out


def test_other_weights_are_refused_by_name(weights: Path, tmp_path: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        del state["norm.bias"]
        state["patch_embed.proj.weight"] = torch.zeros(1536, 1536)
        for index in range(20):
            state[f"decoder.{index:02}"] = torch.zeros(1)

    with pytest.raises(WeightsError) as caught:
        load_network(changed(weights, tmp_path / "w.pth", change))
    message = str(caught.value)
    assert "1 missing (norm.bias)" in message
    assert "1 of another shape (patch_embed.proj.weight (1536, 1536) for (768, 1536))" in message
    assert re.search(r"20 unexpected \(decoder\.00, .*decoder\.07 and 12 more\)", message)
    assert "decoder.08" not in message
    assert "w.pth" in message


def test_weights_in_half_precision_are_held_in_full(weights: Path, tmp_path: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        for name in state:
            state[name] = state[name].half()

    network = load_network(changed(weights, tmp_path / "w.pth", change))
    assert {own.dtype for own in network.parameters()} == {torch.float32}
    assert not network.training


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_a_file_that_brings_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path, marker = tmp_path / "w.pth", tmp_path / "ran"
    torch.save({"model": {"norm.bias": Payload(marker)}}, path)
    with pytest.raises(WeightsError, match="which reading it would run: refused"):
        load_network(path)
    assert not marker.exists()
    call, arguments = Payload(marker).__reduce__()
    call(*arguments)
    assert marker.exists()  # it would have worked


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_weights_cut_short_are_refused(weights: Path, tmp_path: Path, share: float) -> None:
    path, whole = tmp_path / "w.pth", weights.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match=r"w\.pth cannot be read as weights .*cut short"):
        load_network(path)


@pytest.mark.parametrize("held", [{"state_dict": {}}, [1, 2], {"model": {"norm.bias": 3}}])
def test_other_containers_are_refused(held: Any, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"has no 'model'|entries are no tensors"):
        load_network(tmp_path / "w.pth")


def test_network_does_not_hang_on_its_file(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(weights.read_bytes())
    network = load_network(path)
    before = network.patch_embed.proj.weight.clone()
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert torch.equal(network.patch_embed.proj.weight, before)
