"""The denoiser gives what the authors' public code gives.

``golden/stflow_denoiser.safetensors`` holds inputs and the answers of the released denoiser (commit 880c2ee, "add
model", August 2025) at the paper's sizes, with weights that `seeded_weights` makes: one slide of 40 spots, a batch of
two slides at two times, and a slide of just k + 1 spots.

The batch holds slides of one size. Of two sizes, the released code fills up the smaller one with zeros and looks for
them after the image layer and the time have made them something else: the filling then stands at the origin as spots
that others attend to. Ours joins slides without filling.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from stflow.models.stflow import STFlowSettings
from stflow.models.stflow.architectures import build
from stflow.models.stflow.denoiser import Denoiser
from stflow.models.stflow.graph import Graph, join

GOLDEN = Path(__file__).parent / "golden" / "stflow_denoiser.safetensors"


def seeded_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights by parameter name, as of a trained network: no norm is at its initial ones and zeros."""
    draw = np.random.RandomState(2025).standard_normal  # its stream is frozen for all NumPy versions
    made = {}
    for name, shape in sorted(shapes.items()):
        values = draw(shape)
        if "norm" in name and name.endswith("weight"):
            values = 1 + 0.3 * values
        elif name.endswith("bias"):
            values = 0.1 * values
        else:
            values = values / np.sqrt(shape[1])
        made[name] = values.astype(np.float32)
    return made


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return load_file(GOLDEN)


@pytest.fixture(scope="module")
def network(golden: dict[str, np.ndarray]) -> Denoiser:
    made = build(STFlowSettings(), golden["slide.features"].shape[1], golden["slide.x_t"].shape[1]).eval()
    shapes = {name: tuple(value.shape) for name, value in made.state_dict().items()}
    made.load_state_dict({name: torch.from_numpy(value) for name, value in seeded_weights(shapes).items()})
    return made


@pytest.mark.parametrize("encoded", [False, True], ids=["as in training", "as in sampling"])
@pytest.mark.parametrize("case", ["slide", "batch", "few"])
def test_equal_to_the_released_denoiser(
    golden: dict[str, np.ndarray], network: Denoiser, case: str, encoded: bool
) -> None:
    sizes = golden[f"{case}.sizes"]
    places = np.split(golden[f"{case}.coordinates"].astype(np.float64), np.cumsum(sizes)[:-1])
    graph = join([Graph.of(centres, 8, 1.0) for centres in places])
    features, x_t = (torch.from_numpy(golden[f"{case}.{name}"]) for name in ("features", "x_t"))
    t = torch.from_numpy(np.repeat(golden[f"{case}.t"], sizes))[:, None]
    with torch.set_grad_enabled(not encoded):
        encoding = network.encode(features, graph) if encoded else None
        ours = network.denoise(encoding, x_t, t) if encoding else network(features, x_t, t, graph)
    expected = torch.from_numpy(golden[f"{case}.expected"]).float()
    assert expected.std() > 0.1, "a network that says the same everywhere would prove nothing"
    torch.testing.assert_close(ours.detach(), expected, atol=1e-5, rtol=1e-5)


def test_the_comparison_would_notice(golden: dict[str, np.ndarray], network: Denoiser) -> None:
    """A neighbour less, and the answers differ by far more than is tolerated."""
    centres = golden["slide.coordinates"].astype(np.float64)
    features, x_t, t = (torch.from_numpy(golden[f"slide.{name}"]) for name in ("features", "x_t", "t"))
    with torch.no_grad():
        ours = network(features, x_t, t[:, None], Graph.of(centres, 7, 1.0))
    assert (ours - torch.from_numpy(golden["slide.expected"])).abs().max() > 1e-2
