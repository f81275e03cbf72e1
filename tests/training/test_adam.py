"""One vector, same numbers: FlatAdam is torch's clipping and Adam."""

from __future__ import annotations

import torch
from torch import nn

from stflow.training.adam import FlatAdam


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 3))


def test_steps_are_those_of_torch() -> None:
    ours, theirs = network(), network()
    adam = FlatAdam(ours, 1e-2, 0.5)
    reference = torch.optim.Adam(theirs.parameters(), lr=1e-2)
    x = torch.randn(20, 5)
    for scale in (0.1, 10.0, 1.0, 5.0, 0.01):
        adam.zero_grad()
        reference.zero_grad()
        for module in (ours, theirs):
            (scale * module(x)).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        adam.step()
        reference.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_parameters_are_views_of_the_vector() -> None:
    module = network()
    adam = FlatAdam(module, 1e-3, 1.0)
    adam.values.zero_()
    assert all(not p.any() for p in module.parameters())
    module.load_state_dict(network().state_dict())
    assert adam.values.any()


def test_training_does_not_import_the_compiler() -> None:
    """It costs two seconds at the start of every job."""
    import subprocess
    import sys

    code = (
        "import sys, torch\n"
        "from stflow.training.adam import FlatAdam\n"
        "m = torch.nn.Linear(2, 2)\n"
        "a = FlatAdam(m, 1e-3, 1.0)\n"
        "m(torch.ones(1, 2)).sum().backward(); a.step()\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
