"""Randomness comes from names, not from order."""

import torch

from stflow.seeds import entropy, numpy_generator, torch_generator


def test_same_names_same_numbers_whatever_came_before() -> None:
    first = numpy_generator(0, "IDC", 1).random(4)
    numpy_generator(5, "other").random(100)
    assert (numpy_generator(0, "IDC", 1).random(4) == first).all()
    one, two = (torch.rand(4, generator=torch_generator(0, "IDC", 1)) for _ in range(2))
    assert torch.equal(one, two)


def test_every_name_counts_and_names_do_not_run_together() -> None:
    seen = {
        entropy(0, "a", "b"),
        entropy(0, "ab"),
        entropy(0, "b", "a"),
        entropy(1, "a", "b"),
        entropy(0, "a", "b", 0),
    }
    assert len(seen) == 5
    assert all(0 <= value < 2**63 for value in seen)
