"""Every architecture keeps what a layer promises, and each is the plain definition of what it says it is."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stflow.models.stflow import STFlow, STFlowSettings
from stflow.models.stflow.architectures import ARCHITECTURES, build
from stflow.models.stflow.denoiser import Denoiser, Layer
from stflow.models.stflow.e2cnn import E2CNN
from stflow.models.stflow.egnn import EGNN
from stflow.models.stflow.graph import Graph, join
from stflow.models.stflow.grid import SIDE
from stflow.models.stflow.group_convolution import ORDER, act
from stflow.models.stflow.plain_attention import DotProductAttention, MLPAttention, PlainAttention
from stflow.models.stflow.section import nearest_spots

N, D, G, K = 40, 12, 7, 8

#: Architectures whose answer an expression state or a position changes.
READS_EXPRESSION = {"frames": True, "no_frames": True, "dot_product": False, "egnn": True, "e2cnn": True}
READS_POSITIONS = {"frames": True, "no_frames": False, "dot_product": False, "egnn": True, "e2cnn": True}

#: Those that a turn by any angle leaves alone; the others allow quarter turns.
ANY_ANGLE = [name for name in ARCHITECTURES if name != "e2cnn"]


def centres(n: int = N, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100 * n**0.5, (n, 2))


def graph(points: np.ndarray) -> Graph:
    return Graph.of(points, K, 100.0, grid=True)


def inputs(n: int = N, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, D, generator=generator),
        torch.rand(n, G, generator=generator),
        torch.rand(n, 1, generator=generator),
    )


def settings(name: str) -> STFlowSettings:
    return STFlowSettings.model_validate({"architecture": name, "hidden": 32, "edge_hidden": 8, "layers": 2})


def network(name: str) -> Denoiser:
    torch.manual_seed(0)
    made = build(settings(name), D, G).eval()
    for module in made.modules():  # trained norms are not at their initial ones and zeros
        if isinstance(module, nn.LayerNorm | nn.GroupNorm):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
    return made


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def case(request: pytest.FixtureRequest) -> tuple[str, Denoiser]:
    """Name and network of every architecture."""
    return request.param, network(request.param)


def mixer_of(name: str) -> nn.Module:
    layer = network(name).layers[0]
    assert isinstance(layer, Layer)
    return layer.mixer


# -- what holds of all ----------------------------------------------------------------------------------------


def test_every_architecture_of_the_settings_is_made_and_told() -> None:
    field = STFlowSettings.model_fields["architecture"]
    assert set(get_args(field.annotation)) == set(ARCHITECTURES)
    for name in ARCHITECTURES:
        assert f"{name}:" in (field.description or "")


@pytest.mark.parametrize(
    ("name", "layers", "expected"),
    [
        ("no_frames", 4, 1_029_964),
        ("dot_product", 4, 970_312),
        ("egnn", 4, 1_092_680),
        ("e2cnn", 4, 3_243_912),
        ("e2cnn", 1, 946_434),
    ],
)
def test_parameter_counts(name: str, layers: int, expected: int) -> None:
    chosen = STFlowSettings.model_validate({"architecture": name, "layers": layers})
    assert STFlow.n_params(chosen, 1024, 50) == expected


def test_counted_without_weights_as_with(case: tuple[str, Denoiser]) -> None:
    name, net = case
    assert STFlow.n_params(settings(name), D, G) == sum(p.numel() for p in net.parameters())


def moved(points: np.ndarray, degrees: float, mirror: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([1.0, mirror])
    return points @ turn.T + np.array([4000.0, -900.0])


@pytest.mark.parametrize("mirror", [1.0, -1.0])
@pytest.mark.parametrize("degrees", [0.0, 90.0, 180.0])
def test_moving_mirroring_and_quarter_turns_change_nothing(
    case: tuple[str, Denoiser], degrees: float, mirror: float
) -> None:
    _, net = case
    with torch.inference_mode():
        here = net(*inputs(), graph(centres()))
        there = net(*inputs(), graph(moved(centres(), degrees, mirror)))
    torch.testing.assert_close(there, here, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_other_turns_change_only_what_lies_on_a_grid(case: tuple[str, Denoiser], mirror: float) -> None:
    name, net = case
    with torch.inference_mode():
        here = net(*inputs(), graph(centres()))
        there = net(*inputs(), graph(moved(centres(), 17.0, mirror)))
    assert bool((there - here).abs().max() < 1e-4) == (name in ANY_ANGLE)


def test_positions_matter_to_those_that_read_them(case: tuple[str, Denoiser]) -> None:
    name, net = case
    here, there = graph(centres()), graph(centres() * [1.0, 1.5])
    there = Graph(here.index, here.present, there.edges, there.grid)  # the same neighbours elsewhere
    with torch.inference_mode():
        difference = (net(*inputs(), there) - net(*inputs(), here)).abs().max()
    assert (difference > 1e-3) == READS_POSITIONS[name]


def test_expression_matters_to_those_that_read_it(case: tuple[str, Denoiser]) -> None:
    name, net = case
    features, x_t, t = inputs()
    g = graph(centres())
    with torch.inference_mode():
        base = net(features, x_t, t, g)
        other = net(features, x_t + torch.rand(N, G), t, g)
        assert (net(features, x_t, (t + 0.4) % 1, g) - base).abs().max() > 1e-4
    assert torch.equal(base, other) != READS_EXPRESSION[name]


def test_a_neighbours_features_matter(case: tuple[str, Denoiser]) -> None:
    _, net = case
    features, x_t, t = inputs()
    g = graph(centres())
    neighbour = int(g.index[0, 0])
    changed = features.clone()
    changed[neighbour] += 1
    with torch.inference_mode():
        difference = net(changed, x_t, t, g)[0] - net(features, x_t, t, g)[0]
    assert difference.abs().max() > 1e-5


def test_order_of_spots_only_orders_the_answer(case: tuple[str, Denoiser]) -> None:
    _, net = case
    features, x_t, t = inputs()
    points = centres()
    order = np.random.default_rng(5).permutation(N)
    with torch.inference_mode():
        here = net(features, x_t, t, graph(points))
        there = net(features[order], x_t[order], t[order], graph(points[order]))
    torch.testing.assert_close(there, here[order], atol=1e-5, rtol=1e-5)


def test_slides_of_a_batch_do_not_meet(case: tuple[str, Denoiser]) -> None:
    _, net = case
    sizes = (25, 1, 30)
    parts = [inputs(n, seed) for seed, n in enumerate(sizes)]
    graphs = [graph(centres(n, seed)) for seed, n in enumerate(sizes)]
    with torch.inference_mode():
        together = net(*(torch.cat(column) for column in zip(*parts, strict=True)), join(graphs))
        alone = [net(*part, g) for part, g in zip(parts, graphs, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_edges_to_absent_neighbours_are_not_read(case: tuple[str, Denoiser]) -> None:
    _, net = case
    features, x_t, t = inputs()
    spots = nearest_spots(torch.from_numpy(centres()), 3, 15)
    region = graph(centres()).region(spots)
    assert not region.present.all()
    assert region.grid is not None
    broken = region.edges.masked_fill(~region.present[..., None, None], 7.0)
    with torch.inference_mode():
        here = net(features[spots], x_t[spots], t[spots], region)
        there = net(features[spots], x_t[spots], t[spots], Graph(region.index, region.present, broken, region.grid))
    torch.testing.assert_close(there, here)


@pytest.mark.parametrize(
    "points",
    [np.zeros((1, 2)), np.zeros((5, 2)), np.outer(np.arange(6.0), [90, 0]), np.repeat(centres(15), 2, axis=0)],
    ids=["one spot", "one place", "a line", "every spot twice"],
)
def test_degenerate_slides_give_finite_answers_and_gradients(case: tuple[str, Denoiser], points: np.ndarray) -> None:
    _, net = case
    out = net(*inputs(len(points)), graph(points))
    assert torch.isfinite(out).all()
    net.zero_grad()
    out.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    net.zero_grad()


def test_every_weight_has_a_gradient(case: tuple[str, Denoiser]) -> None:
    _, net = case
    (net(*inputs(), graph(centres())) * torch.linspace(-1, 1, G)).sum().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().max() > 0, name
    net.zero_grad()


def test_dropout_draws_from_the_given_generator_alone(case: tuple[str, Denoiser]) -> None:
    _, net = case
    g = graph(centres())
    generator = torch.Generator()
    net.use_generator(generator)
    before = torch.get_rng_state()
    made = []
    net.train()
    with torch.inference_mode():
        for seed in (1, 1, 2):
            generator.manual_seed(seed)
            made.append(net(*inputs(), g))
    net.eval()
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["no_frames", "dot_product", "egnn", "e2cnn"])
def test_blocks_change_nothing(name: str) -> None:
    net, g = network(name), graph(centres())
    with torch.inference_mode():
        whole = net(*inputs(), g)
        for layer in net.layers:
            assert isinstance(layer, Layer)
            assert isinstance(layer.mixer, PlainAttention | EGNN | E2CNN)
            layer.mixer.block_spots = 7
        torch.testing.assert_close(net(*inputs(), g), whole, atol=1e-6, rtol=1e-5)


# -- plain definitions, edge by edge --------------------------------------------------------------------------


def spots_with_neighbours(g: Graph) -> list[tuple[int, list[tuple[int, int]]]]:
    """Every spot with the (slot, row) of its neighbours."""
    slots = [torch.nonzero(row).flatten().tolist() for row in g.present]
    return [(i, [(slot, int(g.index[i, slot])) for slot in slots[i]]) for i in range(len(g))]


@pytest.mark.parametrize("n", [1, 3, 20])
def test_egnn_is_the_plain_definition(n: int) -> None:
    block = mixer_of("egnn")
    assert isinstance(block, EGNN)
    points, y = centres(n), inputs(n)[1]
    g = graph(points)
    h = torch.randn(n, 32, generator=torch.Generator().manual_seed(2))
    x = torch.from_numpy(points / 100.0).float()
    expected = []
    for i, neighbours in spots_with_neighbours(g):
        m_i = torch.zeros(32)
        for _, j in neighbours:
            read = torch.cat([h[i], h[j], (x[i] - x[j]).square().sum()[None], y[j] - y[i]])
            m_i = m_i + F.silu(block.edge_out(F.silu(block.edge_in(read))))
        expected.append(block.node_out(F.silu(block.node_in(torch.cat([h[i], m_i])))))
    torch.testing.assert_close(block(h, y, g), torch.stack(expected), atol=1e-5, rtol=1e-5)


def plain_logit(block: PlainAttention, q: Tensor, k: Tensor, difference: Tensor) -> Tensor:
    """(H,) logits of (H, d_head) query and key and (G,) ``Y_j - Y_i``."""
    if isinstance(block, DotProductAttention):
        return (q * k).sum(dim=-1) / math.sqrt(q.shape[1])
    assert isinstance(block, MLPAttention)
    return block.logit(torch.cat([q, k, difference.expand(len(q), -1)], dim=-1)).squeeze(-1)


@pytest.mark.parametrize("name", ["no_frames", "dot_product"])
@pytest.mark.parametrize("n", [1, 3, 20])
def test_attention_without_positions_is_the_plain_definition(name: str, n: int) -> None:
    block = mixer_of(name)
    assert isinstance(block, PlainAttention)
    g, y = graph(centres(n)), inputs(n)[1]
    z = torch.randn(n, 32, generator=torch.Generator().manual_seed(2))
    q, k, v = (part.view(n, block.heads, -1) for part in block.qkv(block.norm(z)).chunk(3, dim=-1))
    contexts = []
    for i, neighbours in spots_with_neighbours(g):
        context = torch.zeros(block.heads, 32 // block.heads)
        if neighbours:
            logits = torch.stack([plain_logit(block, q[i], k[j], y[j] - y[i]) for _, j in neighbours])
            context = (torch.softmax(logits, dim=0)[..., None] * v[[j for _, j in neighbours]]).sum(dim=0)
        contexts.append(context.flatten())
    torch.testing.assert_close(block(z, y, g), block.out(torch.stack(contexts)), atol=1e-5, rtol=1e-5)


# -- group convolutions on the grid -----------------------------------------------------------------------------


@pytest.mark.parametrize("h", range(1, ORDER))
def test_answer_is_the_same_for_a_turned_grid(h: int) -> None:
    block = mixer_of("e2cnn")
    assert isinstance(block, E2CNN)
    flat = torch.randn(3, 32, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    moved = torch.from_numpy(act(h, flat.numpy()).copy())
    with torch.inference_mode():
        torch.testing.assert_close(block.convolve(moved), block.convolve(flat), atol=1e-5, rtol=1e-5)
        assert (block.convolve(flat.roll(1, dims=2)) - block.convolve(flat)).abs().max() > 1e-3


def test_cells_hold_the_state_and_the_difference_of_expression() -> None:
    block = mixer_of("e2cnn")
    assert isinstance(block, E2CNN)
    g, y = graph(centres()), inputs()[1]
    assert g.grid is not None
    assert (g.grid < 0).any()
    z = torch.randn(N, 32, generator=torch.Generator().manual_seed(2))
    made = torch.zeros(N, 32, SIDE, SIDE)
    for i, row in enumerate(g.grid.tolist()):
        for cell, j in enumerate(row):
            if j >= 0:
                made[i, :, cell // SIDE, cell % SIDE] = block.norm(z[j]) + block.expression(y[j] - y[i])
    torch.testing.assert_close(block(z, y, g), block.convolve(made), atol=1e-5, rtol=1e-5)


def test_e2cnn_asks_for_a_grid() -> None:
    with pytest.raises(ValueError, match="needs a graph with a grid"):
        network("e2cnn")(*inputs(), Graph.of(centres(), K, 100.0))
