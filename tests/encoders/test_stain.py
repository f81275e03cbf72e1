"""Two stainings of one slide come together; the estimate is the library's; glass and blank tiles survive."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest

from stflow.encoders.classical import Classical
from stflow.encoders.create import create
from stflow.encoders.stain import MOST_PIXELS, Macenko, Reinhard, StainNormalised, _strip
from stflow.errors import DataError

KINDS = (Macenko, Reinhard)


@cache
def tissue() -> np.ndarray:
    """(9, 224, 224, 3) uint8 tiles of the demo's tissue."""
    from stflow.data.demo.section import make_section

    picture = make_section("demo_hest", "DEMO1A", size_um=400.0).image()
    rows = [picture[y : y + 224, x : x + 224] for y in (20, 250, 480) for x in (20, 250, 480)]
    return np.stack(rows)


def restained(tiles: np.ndarray) -> np.ndarray:
    """The same tissue with other dyes: densities mixed anew, more eosin, a yellower lamp."""
    density = -np.log((tiles.astype(np.float64) + 1) / 240)
    mix = np.array([[0.80, 0.10, 0.00], [0.05, 1.20, 0.05], [0.00, 0.15, 0.85]])
    return np.clip(240 * np.exp(-density @ mix.T) - 1, 0, 255).astype(np.uint8)


def fitted(kind: type[StainNormalised], tiles: np.ndarray) -> StainNormalised:
    model = kind(Classical())
    model.fit_slide(tiles)
    return model


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference of colours, grey levels."""
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_two_stainings_come_together(kind: type[StainNormalised]) -> None:
    one, other = tissue(), restained(tissue())
    raw = distance(one, other)
    assert raw > 8
    assert distance(fitted(kind, one).normalise(one), fitted(kind, other).normalise(other)) < raw / 3


@pytest.mark.parametrize("kind", KINDS)
def test_other_tiles_of_the_slide_are_normalised_with_the_same_estimate(kind: type[StainNormalised]) -> None:
    model = fitted(kind, tissue()[:6])
    alone, together = model.normalise(tissue()[8:]), model.normalise(tissue())[8:]
    np.testing.assert_array_equal(alone, together)
    assert alone.dtype == np.uint8
    assert distance(alone, tissue()[8:]) > 1


def test_macenko_is_the_librarys_on_what_was_sampled() -> None:
    from torchstain.numpy.normalizers import NumpyMacenkoNormalizer

    strip = tissue().reshape(-1, 224, 3)
    theirs, _, _ = NumpyMacenkoNormalizer().normalize(strip, stains=False)
    ours = fitted(Macenko, tissue()).normalise(tissue()).reshape(theirs.shape)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_reinhard_is_the_librarys_on_what_was_sampled() -> None:
    from torchstain.numpy.normalizers import NumpyReinhardNormalizer

    strip = tissue().reshape(-1, 224, 3)
    library = NumpyReinhardNormalizer()
    library.target_means, library.target_stds = np.array(Reinhard.TARGET_MEANS), np.array(Reinhard.TARGET_STDS)
    theirs = library.normalize(strip)
    ours = fitted(Reinhard, tissue()).normalise(tissue()).reshape(theirs.shape)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_tiles_give_the_same_bytes(kind: type[StainNormalised]) -> None:
    first = fitted(kind, tissue()).prepare(tissue())
    np.testing.assert_array_equal(fitted(kind, tissue().copy()).prepare(tissue()), first)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grey", [0, 240, 255])
def test_blank_tiles_survive(kind: type[StainNormalised], grey: int) -> None:
    """A tile of one colour stays of one colour, and glass stays pale."""
    blank = np.full((2, 224, 224, 3), grey, np.uint8)
    found = fitted(kind, tissue()).prepare(blank)
    assert (found == found[0, 0, 0]).all()
    if grey >= 240:
        assert found.min() > 180
    assert np.isfinite(Classical().encode(found)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_slide_with_next_to_no_tissue_is_refused(kind: type[StainNormalised]) -> None:
    glass = np.full((9, 224, 224, 3), 243, np.uint8)
    glass[0, :40, :40] = tissue()[0, :40, :40]
    with pytest.raises(DataError, match=r"of the 9 sampled tiles is stained, too little .*tiling\.min_tissue"):
        fitted(kind, glass)


def test_stains_that_cannot_be_told_apart_are_refused() -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(40, 200, (4, 64, 64, 1)), 3, axis=3)
    with pytest.raises(DataError, match="two stains cannot be told apart"):
        fitted(Macenko, np.clip(grey + rng.integers(0, 2, grey.shape), 0, 255).astype(np.uint8))


def test_tiles_before_a_fit_are_refused() -> None:
    with pytest.raises(RuntimeError, match="fit_slide was not called"):
        Macenko(Classical()).prepare(tissue())


def test_an_estimate_looks_at_a_bounded_number_of_pixels() -> None:
    assert _strip(np.zeros((9, 224, 224, 3), np.uint8)).shape == (9 * 224, 224, 3)
    many = _strip(np.zeros((64, 224, 224, 3), np.uint8))
    assert MOST_PIXELS / 4 < many[..., 0].size <= MOST_PIXELS


def test_the_stain_comes_before_the_symmetries(corners: Any) -> None:
    model = create("corners+macenko+dihedral")
    model.fit_slide(tissue())
    assert model.transform == (
        "Macenko stain normalisation, one estimate a slide; none; features averaged over 8 symmetries of the tile"
    )
    plain = create("corners+dihedral")
    np.testing.assert_array_equal(model(tissue()), plain(fitted(Macenko, tissue()).normalise(tissue())))
    assert np.abs(model(tissue()) - plain(tissue())).max() > 1


def test_it_needs_no_torch() -> None:
    code = (
        "import sys, numpy as np; from stflow.encoders.create import create;"
        "tiles = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8);"
        "models = [create(f'classical+{stain}') for stain in ('macenko', 'reinhard')];"
        "[model.fit_slide(tiles) or model.prepare(tiles) for model in models]; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
