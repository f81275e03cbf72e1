"""The denoiser is the published architecture, invariant to how a slide lies, and blind to other slides of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stflow.models.base import Task
from stflow.models.stflow import STFlow, STFlowSettings, edge_attention
from stflow.models.stflow.architectures import build
from stflow.models.stflow.attention import NeighbourAttention
from stflow.models.stflow.denoiser import Denoiser, Layer
from stflow.models.stflow.graph import Graph
from stflow.models.stflow.section import nearest_spots

N, D, G, K = 40, 12, 7, 8


def centres(n: int = N, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 700, (n, 2))


def graph(points: np.ndarray) -> Graph:
    return Graph.of(points, K, 100.0)


@pytest.fixture(scope="module")
def network() -> Denoiser:
    torch.manual_seed(0)
    made = build(STFlowSettings(hidden=16, edge_hidden=8, layers=3), D, G).eval()
    for module in made.modules():  # trained norms are not at their initial ones and zeros
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
    return made


def inputs(n: int = N, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, D, generator=generator),
        torch.rand(n, G, generator=generator),
        torch.rand(n, 1, generator=generator),
    )


# -- the plain definition, written out edge by edge ----------------------------------------------------------


def plain_swiglu(mlp: nn.Module, x: Tensor) -> Tensor:
    a, b = mlp.fc1(x).chunk(2, dim=-1)
    return mlp.fc2(mlp.norm(F.silu(a) * b))


def plain_attention(block: NeighbourAttention, z: Tensor, y: Tensor, g: Graph) -> Tensor:
    """Message to every spot, with everything computed on the edges as the definition reads."""
    H = block.heads
    q, k, v = (part.view(len(z), H, -1) for part in block.qkv(block.norm(z)).chunk(3, dim=-1))
    contexts = []
    for i in range(len(z)):
        logits, values, edges = [], [], []
        for slot in torch.nonzero(g.present[i]).flatten().tolist():
            j = int(g.index[i, slot])
            views = [plain_swiglu(block.edge, view) for view in g.edges[i, slot]]
            c = torch.stack(views).mean(dim=0).view(H, -1)
            difference = (y[j] - y[i]).expand(H, -1)
            logits.append(plain_swiglu(block.logit, torch.cat([q[i], k[j], c, difference], dim=-1)).squeeze(-1))
            values.append(v[j])
            edges.append(c)
        if not logits:
            contexts.append(torch.zeros(block.out.fc1.in_features))
            continue
        weights = torch.softmax(torch.stack(logits), dim=0)[..., None]
        of_v, of_c = ((weights * torch.stack(part)).sum(dim=0).flatten() for part in (values, edges))
        contexts.append(torch.cat([of_v, of_c]))
    return plain_swiglu(block.out, torch.stack(contexts))


def plain_denoiser(network: Denoiser, features: Tensor, x_t: Tensor, t: Tensor, g: Graph) -> Tensor:
    z, y, guesses = network.image(features) + network.time(t), x_t, []
    for layer in network.layers:
        assert isinstance(layer, Layer)
        z = z + plain_attention(layer.mixer, z, y, g)
        z = z + plain_swiglu(layer.mlp, z)
        y = layer.head.fc2(layer.head.norm(F.gelu(layer.head.fc1(z))))
        guesses.append(y)
    return torch.stack(guesses).mean(dim=0)


@pytest.mark.parametrize("n", [1, 3, N])
def test_fast_form_is_the_plain_definition(network: Denoiser, n: int) -> None:
    features, x_t, t = inputs(n)
    g = graph(centres(n))
    fast = network(features, x_t, t, g)
    torch.testing.assert_close(fast, plain_denoiser(network, features, x_t, t, g), atol=1e-5, rtol=1e-5)


def test_fast_form_has_the_plain_gradient(network: Denoiser) -> None:
    features, x_t, t = inputs(12)
    g = graph(centres(12))
    weights = torch.linspace(-1, 1, G)
    gradients = []
    for forward in (network, lambda *x: plain_denoiser(network, *x)):
        network.zero_grad()
        (forward(features, x_t, t, g) * weights).sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    network.zero_grad()
    assert len(gradients[0]) == len(gradients[1]) == len(list(network.parameters()))
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, atol=2e-4, rtol=2e-4)


def test_blocks_change_nothing(network: Denoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    features, x_t, t = inputs()
    g = graph(centres())
    with torch.inference_mode():
        whole = network(features, x_t, t, g)
        monkeypatch.setattr(edge_attention, "BLOCK_SPOTS", 7)
        torch.testing.assert_close(network(features, x_t, t, g), whole, atol=1e-6, rtol=1e-5)


# -- symmetries -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mirror", [1.0, -1.0])
@pytest.mark.parametrize("degrees", [17.0, 90.0, 200.0])
def test_moving_turning_and_mirroring_change_nothing(network: Denoiser, degrees: float, mirror: float) -> None:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([1.0, mirror])
    points = centres()
    seen: list[tuple[Tensor, Tensor]] = []
    hooks = [layer.register_forward_hook(lambda _, __, out: seen.append(out)) for layer in network.layers]
    with torch.inference_mode():
        here = network(*inputs(), graph(points))
        there = network(*inputs(), graph(points @ turn.T + [4000.0, -900.0]))
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(there, here, atol=1e-4, rtol=1e-4)
    n_layers = len(network.layers)
    for (z, y), (z_there, y_there) in zip(seen[:n_layers], seen[n_layers:], strict=True):
        torch.testing.assert_close(z_there, z, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(y_there, y, atol=1e-4, rtol=1e-4)


def test_positions_matter(network: Denoiser) -> None:
    """Else the invariances above would hold of a network that ignores them."""
    with torch.inference_mode():
        stretched = network(*inputs(), graph(centres() * [1.0, 1.5]))
        assert (stretched - network(*inputs(), graph(centres()))).abs().max() > 1e-3


def test_a_neighbour_beyond_the_region_has_no_influence(network: Denoiser) -> None:
    features, x_t, t = inputs()
    points = centres()
    spots = nearest_spots(torch.from_numpy(points), 3, 15)
    part = graph(points).region(spots)
    assert 0 < int(part.present.sum()) < part.present.numel()
    assert int(part.index.max()) < 15
    own = torch.arange(15)[:, None].expand_as(part.index)
    assert torch.equal(part.index[~part.present], own[~part.present])
    position = {spot: row for row, spot in enumerate(spots.tolist())}
    whole = graph(points)
    for row, spot in enumerate(spots.tolist()):
        kept = [position[j] for j in whole.index[spot].tolist() if j in position]
        assert part.index[row][part.present[row]].tolist() == kept
    out = network(features[spots], x_t[spots], t[spots], part)
    assert torch.isfinite(out).all()


def test_a_region_is_the_nearest_spots(network: Denoiser) -> None:
    points = torch.from_numpy(centres())
    spots = nearest_spots(points, 5, 12)
    assert 5 in spots.tolist()
    assert spots.tolist() == sorted(spots.tolist())
    distance = (points - points[5]).norm(dim=1)
    outside = torch.ones(N, dtype=torch.bool)
    outside[spots] = False
    assert distance[spots].max() <= distance[outside].min()


@pytest.mark.parametrize("points", [np.zeros((1, 2)), np.zeros((5, 2)), np.outer(np.arange(6.0), [90, 0])])
def test_degenerate_slides_give_finite_answers(network: Denoiser, points: np.ndarray) -> None:
    features, x_t, t = inputs(len(points))
    assert torch.isfinite(network(features, x_t, t, graph(points))).all()


def test_time_and_expression_matter(network: Denoiser) -> None:
    features, x_t, t = inputs()
    g = graph(centres())
    with torch.inference_mode():
        base = network(features, x_t, t, g)
        assert (network(features, x_t, (t + 0.4) % 1, g) - base).abs().max() > 1e-4
        assert (network(features, x_t + torch.randn(N, G), t, g) - base).abs().max() > 1e-4


# -- the method -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_features", "expected"), [(1024, 1_147_724), (512, 1_082_188), (1536, 1_213_260)])
def test_parameter_counts_are_the_printed_ones(n_features: int, expected: int) -> None:
    assert STFlow.n_params(STFlowSettings(), n_features, 50) == expected


def test_initial_weights_come_from_the_seed_and_the_names_alone() -> None:
    from stflow.models.stflow.learner import Learner

    def first(seed: int, name: str) -> Tensor:
        learner = Learner(STFlow(STFlowSettings(hidden=16, edge_hidden=8), Task(("A", "B"), "e", (name,))), 4, seed)
        return learner.denoiser.image.weight.detach()

    before = torch.get_rng_state()
    weights = first(0, "x")
    assert torch.equal(before, torch.get_rng_state()), "global random state must not move"
    torch.manual_seed(99)
    assert torch.equal(weights, first(0, "x"))
    assert not torch.equal(weights, first(1, "x"))
    assert not torch.equal(weights, first(0, "y"))


@pytest.mark.parametrize("changes", [{"heads": 3}, {"hidden": 10}, {"edge_hidden": 31}])
def test_sizes_that_heads_do_not_divide_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        STFlowSettings(**changes)


def test_every_setting_is_described() -> None:
    for name, node in STFlowSettings.model_json_schema()["properties"].items():
        assert node.get("description"), name
