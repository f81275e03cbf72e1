"""The sampler is Euler's method on the path's velocity, and its last call is its answer."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from stflow.flow.sampler import sample, times


def recorder(calls: list[float]):
    def denoise(x_t: torch.Tensor, t: float) -> torch.Tensor:
        calls.append(t)
        return torch.cos(x_t) * (1 + t)

    return denoise


@pytest.mark.parametrize("steps", [1, 2, 5, 16])
def test_paper_times_make_s_calls(steps: int) -> None:
    calls: list[float] = []
    sample(recorder(calls), torch.zeros(2, 2), times(steps))
    assert calls == pytest.approx([s / steps for s in range(steps)])


@pytest.mark.parametrize("steps", [2, 5, 16])
def test_released_times_make_one_call_fewer(steps: int) -> None:
    calls: list[float] = []
    sample(recorder(calls), torch.zeros(2, 2), times(steps, "released"))
    expected = torch.linspace(0.01, 1, steps, dtype=torch.float64)[:-1].tolist()
    assert calls == pytest.approx(expected)


def test_one_released_step_is_one_call() -> None:
    assert times(1, "released") == [0.01, 1.0]


@pytest.mark.parametrize("rule", ["paper", "released"])
def test_steps_are_eulers(rule: str) -> None:
    """dx/dt = (f(x, t) - x) / (1 - t), integrated by Euler up to the last time, where f itself is the answer."""
    at = times(5, rule)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    denoise = recorder([])
    expected = x
    for now, then in pairwise(at[:-1]):
        velocity = (denoise(expected, now) - expected) / (1 - now)
        expected = expected + (then - now) * velocity
    torch.testing.assert_close(sample(denoise, x, at), denoise(expected, at[-2]))


def test_a_perfect_network_is_returned_unchanged() -> None:
    truth = torch.randn(3, 2, generator=torch.Generator().manual_seed(3))
    assert torch.equal(sample(lambda x_t, t: truth, torch.zeros(3, 2), times(5)), truth)
