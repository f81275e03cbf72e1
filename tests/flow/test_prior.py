"""The prior's draws have the moments of the distribution they are said to come from."""

from __future__ import annotations

import math

import pytest
import torch

from stflow.flow.prior import Prior


def draw(prior: Prior, n: int = 200_000) -> torch.Tensor:
    return prior.sample((n,), torch.Generator().manual_seed(1))


@pytest.mark.parametrize("reading", ["paper", "released"])
@pytest.mark.parametrize(("mu", "phi"), [(0.1, 1.0), (0.2, 2.0), (0.4, 4.0), (3.0, 0.5)])
def test_zinb_moments(mu: float, phi: float, reading: str) -> None:
    prior = Prior("zinb", mu, phi, 0.5, reading)
    counts = torch.expm1(draw(prior).double())
    n = len(counts)
    mean = phi * math.exp(mu) if reading == "released" else mu
    assert prior.nb_mean == pytest.approx(mean)
    assert counts.mean().item() == pytest.approx(0.5 * mean, abs=5 * math.sqrt(prior.count_variance / n))
    assert counts.var().item() == pytest.approx(prior.count_variance, rel=0.08)
    # P(0) = pi + (1 - pi) (phi / (phi + mean)) ** phi
    zero = 0.5 + 0.5 * (phi / (phi + mean)) ** phi
    assert (counts == 0).double().mean().item() == pytest.approx(zero, abs=5 * math.sqrt(0.25 / n))


def test_draws_are_log1p_of_counts() -> None:
    values = torch.expm1(draw(Prior("zinb", 3.0, 2.0, 0.5), 2_000).double())
    torch.testing.assert_close(values, values.round(), atol=1e-4, rtol=1e-5)


def test_the_readings_differ_as_the_released_code_differs_from_the_paper() -> None:
    assert Prior(mu=0.1, phi=1.0).nb_mean == 0.1
    assert Prior(mu=0.1, phi=1.0, reading="released").nb_mean == pytest.approx(1.105, abs=1e-3)


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
