"""The classical encoder sees what it says it sees, and gives the same bits for the same tile."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from stflow.encoders import ENCODERS, classical
from stflow.encoders.classical import Classical

PALE, NUCLEUS, BROWN, CLEAR = (222, 178, 208), (70, 40, 125), (120, 75, 35), (246, 244, 247)


def tile(blobs: list[tuple[float, float, float, tuple[int, int, int]]] = (), seed: int = 0) -> np.ndarray:  # type: ignore[assignment]
    """A pale tile of 0.5 um/px with round blobs (x, y, radius in um from the corner, colour)."""
    rng = np.random.default_rng(seed)
    image = np.full((224, 224, 3), PALE, dtype=np.float64)
    y, x = np.mgrid[:224, :224] / 2
    for bx, by, radius, colour in blobs:
        image[np.hypot(x - bx, y - by) < radius] = colour
    return np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def ring_of(count: int, radius: float, size: float, colour: tuple[int, int, int]) -> list:
    angles = np.arange(count) * 2 * np.pi / count
    return [(56 + radius * np.cos(a), 56 + radius * np.sin(a), size, colour) for a in angles]


def encode(*tiles: np.ndarray) -> np.ndarray:
    return Classical().encode(np.stack(tiles))


NOISE = np.random.default_rng(0).integers(0, 255, (40, 224, 224, 3), dtype=np.uint8)


def test_shape_and_numbers() -> None:
    features = Classical().encode(NOISE)
    assert features.shape == (40, Classical.dim)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    extremes = np.stack([np.zeros((224, 224, 3), np.uint8), np.full((224, 224, 3), 255, np.uint8)])
    assert np.isfinite(Classical().encode(extremes)).all()


def test_a_tiles_features_do_not_depend_on_its_batch() -> None:
    whole = Classical().encode(NOISE)
    assert (whole == Classical().encode(NOISE)).all()
    assert (whole[17:18] == Classical().encode(NOISE[17:18])).all()
    assert (whole[30:] == Classical().encode(NOISE[30:])).all()


def test_a_turned_tile_has_nearly_the_same_features() -> None:
    """Tissue has no up: what differs is sampling alone."""
    picture = tile([*ring_of(9, 20, 4, NUCLEUS), *ring_of(5, 40, 6, NUCLEUS), (56, 56, 9, CLEAR)])
    features = encode(picture, np.rot90(picture), picture[:, ::-1], picture.transpose(1, 0, 2))
    scale = np.abs(features).mean(axis=0) + 0.05
    assert (np.abs(features - features[0]) / scale).max() < 0.2


def test_every_kind_of_content_moves_the_features_in_its_own_way() -> None:
    plain = encode(tile())[0]
    contents = {
        "lymphocytes": ring_of(12, 14, 3.2, NUCLEUS),
        "pigment": ring_of(12, 14, 3.2, BROWN),
        "vacuoles": ring_of(12, 14, 3.2, CLEAR),
        "tumour": ring_of(6, 15, 6.5, NUCLEUS),
    }
    moves = {name: encode(tile(blobs))[0] - plain for name, blobs in contents.items()}
    noise = np.abs(encode(*[tile(seed=seed) for seed in range(1, 9)]) - plain).max(axis=0) + 1e-6
    for name, move in moves.items():
        assert (np.abs(move) > 5 * noise).sum() > 10, name
    names = list(moves)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            a, b = moves[one] / noise, moves[other] / noise
            assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) < 0.95, (one, other)


def test_the_middle_is_told_from_the_rim() -> None:
    """The same twelve nuclei, in the spot and outside it."""
    inside, outside, plain = encode(tile(ring_of(12, 14, 3.2, NUCLEUS)), tile(ring_of(12, 48, 3.2, NUCLEUS)), tile())
    rings = slice(30, 35)  # nuclear share of the five rings
    assert inside[rings][:2].max() > 0.05 > inside[rings][3:].max()
    assert outside[rings][3:].max() > 0.03 > outside[rings][:2].max()
    assert plain[rings].max() < 0.01


@pytest.mark.parametrize("count", [3, 7, 10])
def test_nuclei_are_counted_by_size_and_place(count: int) -> None:
    small = encode(tile([*ring_of(count, 16, 3.2, NUCLEUS)]))[0][60:]
    large = encode(tile([*ring_of(count, 42, 5.5, NUCLEUS)]))[0][60:]
    # (small, ordinary, clump) x (all, middle)
    assert small[:6].tolist() == [count, count, 0, 0, 0, 0]
    assert large[:6].tolist() == [0, 0, count, 0, 0, 0]


def test_touching_nuclei_are_counted_apart_by_their_peaks() -> None:
    row = [(30 + 7.0 * index, 56, 3.4, NUCLEUS) for index in range(8)]
    features = encode(tile(row))[0]
    peaks = features[60 + 17]
    assert features[60:66:2].sum() < 8
    assert 6 <= peaks <= 12


def test_it_needs_no_torch() -> None:
    code = (
        "import sys, numpy as np; from stflow.encoders.classical import Classical;"
        "Classical().encode(np.zeros((2, 224, 224, 3), np.uint8)); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert not Classical.uses_torch


def test_its_hash_names_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Classical().weights_sha256
    monkeypatch.setattr(classical, "PARAMETERS", replace(classical.PARAMETERS, dark_density=0.8))
    assert Classical().weights_sha256 != before


def test_registered_encoders_say_what_they_are() -> None:
    for name in ("classical", "efficientnet_lite0"):
        encoder = ENCODERS.get(name)
        assert encoder.name == name
        assert encoder.dim > 0
        assert encoder.licence
        assert encoder.weights is None
