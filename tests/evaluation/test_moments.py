"""The pooled Pearson from slides' moments is that of their spots in one heap, whatever the slides and however often."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stflow.evaluation.metrics import pearson
from stflow.evaluation.moments import MOMENTS, moments, pooled_pearson

Slides = list[tuple[np.ndarray, np.ndarray]]


def of_slides(slides: Slides) -> list[np.ndarray]:
    """Spots of each slide, and their moments as `pooled_pearson` takes them."""
    each = [moments(measured, predicted) for measured, predicted in slides]
    return [np.array([len(y) for y, _ in slides]), *(np.array([m[name] for m in each]) for name in MOMENTS)]


def heap(slides: Slides, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The spots themselves, a slide's as often as its weight says."""
    drawn = np.repeat(np.arange(len(slides)), weights)
    return np.concatenate([slides[s][0] for s in drawn]), np.concatenate([slides[s][1] for s in drawn])


@st.composite
def slides_and_weights(draw: st.DrawFn) -> tuple[Slides, np.ndarray]:
    """Up to five slides of three genes; a gene may be constant on a slide, or the same constant on several."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    slides = []
    for n in draw(st.lists(st.integers(1, 12), min_size=1, max_size=5)):
        measured, predicted = (rng.normal(rng.normal(0, 5, 3), 1, (n, 3)).astype(np.float32) for _ in range(2))
        for values in (measured, predicted):
            flat = np.array(draw(st.lists(st.booleans(), min_size=3, max_size=3)))
            values[:, flat] = draw(st.sampled_from([0.0, 0.1, 0.7]))
        slides.append((measured, predicted))
    times = st.lists(st.integers(0, 3), min_size=len(slides), max_size=len(slides))
    return slides, np.array(draw(times.filter(any)))


@given(slides_and_weights())
def test_pooled_from_moments_is_pearson_of_the_concatenated_spots(case: tuple[Slides, np.ndarray]) -> None:
    slides, weights = case
    expected = pearson(*heap(slides, weights))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pooled_pearson(*of_slides(slides), weights=weights)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (np.isnan(found) == np.isnan(expected)).all()


def test_the_moments_are_numpys() -> None:
    rng = np.random.default_rng(0)
    measured, predicted = rng.normal(3, 1, (40, 2)), rng.normal(-2, 2, (40, 2))
    found = moments(measured, predicted)
    assert tuple(found) == MOMENTS
    for g in range(2):
        expected = np.cov(measured[:, g], predicted[:, g], ddof=0)
        np.testing.assert_allclose(found["cov"][g], expected[0, 1], rtol=1e-12)
        np.testing.assert_allclose([found["var_measured"][g], found["var_predicted"][g]], np.diag(expected))
        np.testing.assert_allclose(found["mean_predicted"][g], predicted[:, g].mean())


def test_a_constant_gene_has_no_variance_to_the_last_bit() -> None:
    values = np.full((7, 1), np.float32(0.1))
    found = moments(values, np.random.default_rng(0).normal(size=(7, 1)))
    assert found["mean_measured"][0] == np.float32(0.1)
    assert found["var_measured"][0] == found["cov"][0] == 0


def test_many_heaps_at_once_are_one_after_the_other() -> None:
    rng = np.random.default_rng(1)
    slides = [(rng.normal(size=(n, 4)), rng.normal(size=(n, 4))) for n in (5, 9, 20)]
    arrays, weights = of_slides(slides), rng.integers(0, 3, (6, 3))
    weights[0] = 0
    found = pooled_pearson(*arrays, weights=weights)
    assert found.shape == (6, 4)
    for row, times in zip(found, weights, strict=True):
        np.testing.assert_array_equal(row, pooled_pearson(*arrays, weights=times))
    assert np.isnan(found[0]).all()  # a heap without spots
    np.testing.assert_array_equal(pooled_pearson(*arrays), pooled_pearson(*arrays, weights=np.ones(3)))


def test_two_equal_slides_are_as_one_and_a_slide_left_out_may_be_unknown() -> None:
    rng = np.random.default_rng(2)
    slide = rng.normal(size=(9, 3)), rng.normal(size=(9, 3))
    n, *arrays = of_slides([slide, slide])
    np.testing.assert_allclose(pooled_pearson(n, *arrays), pearson(*slide), rtol=1e-12)
    for values in arrays:
        values[1] = np.nan
    np.testing.assert_allclose(pooled_pearson(n, *arrays, weights=np.array([1, 0])), pearson(*slide), rtol=1e-12)
    assert np.isnan(pooled_pearson(n, *arrays)).all()


def test_slides_of_opposite_means_pool_to_what_no_slide_shows() -> None:
    # Within each slide r = -1; between them measured and predicted rise together (Simpson's paradox).
    up = np.arange(4.0)[:, None]
    slides = [(up, -up), (up + 100, 100 - up)]
    assert pooled_pearson(*of_slides(slides))[0] == pytest.approx(pearson(*heap(slides, np.array([1, 1])))[0])
    assert pooled_pearson(*of_slides(slides))[0] > 0.99


def test_shapes_that_do_not_fit_are_refused() -> None:
    n, *arrays = of_slides([(np.eye(3), np.eye(3))] * 2)
    with pytest.raises(ValueError, match=r"must be \(S, G\) each, S = 2"):
        pooled_pearson(n, *(values[:1] for values in arrays))
    with pytest.raises(ValueError, match="none below 0"):
        pooled_pearson(n, *arrays, weights=np.array([1, -1]))
    with pytest.raises(ValueError, match=r"\(S,\) or \(B, S\)"):
        pooled_pearson(n, *arrays, weights=np.ones(3))
