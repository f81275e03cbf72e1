"""The prior's draws have the moments of the distribution they are said to come from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from stflow.flow.prior import Prior
from stflow.models.stflow import STFlowSettings


def draw(prior: Prior, n: int = 200_000) -> torch.Tensor:
    return prior.sample((n,), torch.Generator().manual_seed(1))


@pytest.mark.parametrize("mean", ["paper", "released"])
@pytest.mark.parametrize("phi", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("mu", [0.1, 0.2, 0.4])
def test_zinb_moments_over_the_grid(mu: float, phi: float, mean: str) -> None:
    """Mean, variance and share of zeros in closed form; each within four standard errors of the sample's."""
    pi, n = 0.5, 200_000
    prior = Prior("zinb", mu, phi, pi, mean, "paper")
    counts = draw(prior, n).double()
    m = phi * math.exp(mu) if mean == "released" else mu
    expected = (1 - pi) * m
    variance = (1 - pi) * (m + m**2 / phi + pi * m**2)
    zeros = pi + (1 - pi) * (phi / (phi + m)) ** phi
    assert (prior.nb_mean, prior.count_mean, prior.count_variance) == pytest.approx((m, expected, variance))
    # The variance of a sample variance takes the fourth central moment, here from SciPy's mass function.
    c = np.arange(400)
    mass = (1 - pi) * stats.nbinom.pmf(c, phi, phi / (phi + m)) + pi * (c == 0)
    fourth = float(mass @ (c - expected) ** 4)
    assert counts.mean().item() == pytest.approx(expected, abs=4 * math.sqrt(variance / n))
    assert counts.var().item() == pytest.approx(variance, abs=4 * math.sqrt((fourth - variance**2) / n))
    share = (counts == 0).double().mean().item()
    assert share == pytest.approx(zeros, abs=4 * math.sqrt(zeros * (1 - zeros) / n))


def test_the_transform_alone_is_between_the_readings_of_a_draw() -> None:
    counts = draw(Prior("zinb", 3.0, 2.0, transform="paper"), 2_000)
    assert torch.equal(counts, counts.round())
    assert counts.max() > 5
    assert torch.equal(draw(Prior("zinb", 3.0, 2.0, transform="released"), 2_000), torch.log1p(counts))
    for kind in ("zero", "gaussian"):
        assert torch.equal(draw(Prior(kind, transform="paper"), 100), draw(Prior(kind, transform="released"), 100))


def test_the_readings_of_mu_differ_as_the_released_code_differs_from_the_paper() -> None:
    assert Prior(mu=0.1, phi=1.0).nb_mean == 0.1
    assert Prior(mu=0.1, phi=1.0, mean="released").nb_mean == pytest.approx(1.105, abs=1e-3)


def test_by_default_mu_is_the_mean_and_draws_are_in_the_state_s_unit() -> None:
    settings = STFlowSettings()
    assert (settings.prior_mean, settings.prior_transform) == (Prior().mean, Prior().transform) == ("paper", "released")


def test_zero_and_gaussian() -> None:
    assert not draw(Prior("zero")).any()
    gaussian = draw(Prior("gaussian"))
    assert gaussian.mean().item() == pytest.approx(0, abs=0.01)
    assert gaussian.std().item() == pytest.approx(1, abs=0.01)
    assert gaussian.min() < 0, "log1p must not be applied to the Gaussian"


@pytest.mark.parametrize("kind", ["zinb", "gaussian"])
def test_only_the_generator_decides(kind: str) -> None:
    prior = Prior(kind)
    torch.manual_seed(0)
    first = draw(prior, 100)
    torch.manual_seed(5)
    assert torch.equal(first, draw(prior, 100))


def test_all_extra_zeros() -> None:
    assert not draw(Prior("zinb", 0.4, 1.0, 1.0), 100).any()
