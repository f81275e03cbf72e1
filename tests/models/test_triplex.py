"""TRIPLEX on frozen features: its parts do what they are defined to do, and no trap of the public versions is in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from stflow.data.slide import Slide
from stflow.errors import RunFailed
from stflow.models.base import Task
from stflow.models.ridge import Ridge
from stflow.models.triplex import Triplex, TriplexSettings
from stflow.models.triplex.encoders import APEG
from stflow.models.triplex.geometry import Grid, make_geometry, nearest_with_self
from stflow.models.triplex.learner import FeatureLearner
from stflow.models.triplex.network import FeatureTriplex, Outputs, Section, distilled_loss

TINY: dict[str, Any] = {"hidden": 16, "fusion_heads": 2, "whole_heads": 2, "local_heads": 2}
GENES = ("A", "B", "C")


def settings(**given: Any) -> TriplexSettings:
    return TriplexSettings.model_validate({**TINY, **given})


def square(side: int, pitch: float = 100.0) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2) * pitch


def section(places: np.ndarray, n_features: int = 8, k: int = 25, seed: int = 0) -> Section:
    features = np.random.default_rng(seed).normal(size=(len(places), n_features)).astype(np.float32)
    return Section(torch.from_numpy(features), torch.from_numpy(places), *make_geometry(places, k))


def network(seed: int = 0, **given: Any) -> FeatureTriplex:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = FeatureTriplex(settings(**given), 8, len(GENES))
        for bias in made.local_encoder.biases:
            torch.nn.init.normal_(bias)
    return made.eval()


# -- sizes and loss ------------------------------------------------------------------------------------------


def test_parameters_are_the_printed_ones() -> None:
    """The paper prints 13.767 M. The near count is that of projections with a bias: 13,768,280."""
    count = Triplex.n_params(TriplexSettings(), 1024, 50)
    assert count == 13_767_256
    assert count + 2 * 512 == 13_768_280


def test_the_loss_by_hand() -> None:
    rng = np.random.default_rng(0)
    fused, target, local, whole, truth = rng.normal(size=(5, 7, 3))
    alpha = 0.3
    by_hand = np.mean((fused - truth) ** 2)
    for branch in (target, local, whole):
        by_hand += (1 - alpha) * np.mean((branch - truth) ** 2) + alpha * np.mean((branch - fused) ** 2)
    outputs = Outputs(*map(torch.from_numpy, (fused, target, local, whole)))
    assert distilled_loss(outputs, torch.from_numpy(truth), alpha).item() == pytest.approx(by_hand, rel=1e-12)


def test_heads_must_divide_the_tokens() -> None:
    with pytest.raises(ValueError, match="must be a multiple of whole_heads = 5"):
        settings(whole_heads=5)


# -- the grid ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("added", [True, False])
def test_apeg_is_a_convolution_in_which_empty_cells_are_empty(added: bool) -> None:
    """Against the same sum on a dense grid of zeros; spots that share a cell are one, their mean."""
    torch.manual_seed(0)
    apeg = APEG(4, added=added).double()
    cell = np.array([[0, 0], [0, 1], [1, 1], [3, 0], [3, 3], [3, 3]])
    tokens = torch.randn(6, 4, dtype=torch.float64)
    dense = torch.zeros(1, 4, 4, 4, dtype=torch.float64)
    for row in range(4):
        dense[0, :, *cell[row]] = tokens[row]
    dense[0, :, 3, 3] = tokens[4:].mean(dim=0)
    expected = F.conv2d(dense, apeg.convolution.weight, apeg.convolution.bias, padding=1, groups=4)[0][:, *cell.T].T
    torch.testing.assert_close(apeg(tokens, Grid.of(cell)), expected + tokens if added else expected)


def test_cells_beyond_the_tissue_change_nothing() -> None:
    """More empty cells, a piece of tissue far off: those next to no new spot get the same answer."""
    torch.manual_seed(0)
    apeg, tokens = APEG(4, added=True), torch.randn(26, 4)
    alone = apeg(tokens[:25], Grid.of(np.argwhere(np.ones((5, 5)))))
    with_piece = apeg(tokens, Grid.of(np.append(np.argwhere(np.ones((5, 5))), [[60, 80]], axis=0)))
    torch.testing.assert_close(with_piece[:25], alone)


def test_every_slide_has_its_own_grid() -> None:
    """The public code keeps the size of the first slide's grid for all that follow."""
    net, small, large = network(), section(square(4)), section(square(9), seed=1)
    with torch.no_grad():
        first = net(large).whole
        net(small)
        assert torch.equal(net(large).whole, first)


def test_the_unit_of_places_does_not_matter_to_the_grid() -> None:
    for places in (square(6), square(6) / 100, square(6) * 57.3):
        _, grid = make_geometry(places, 25)
        assert grid.around.shape == (36, 9)


# -- what lies around a spot ---------------------------------------------------------------------------------


def test_25_spots_of_a_square_grid_are_the_5_x_5_field() -> None:
    surroundings, _ = make_geometry(square(9), 25)
    middle = 4 * 9 + 4
    steps = surroundings.steps[middle].numpy()
    np.testing.assert_array_equal(np.unique(steps, axis=0), np.argwhere(np.ones((5, 5))) - 2)
    np.testing.assert_array_equal(steps[0], [0, 0])
    assert surroundings.index[middle, 0] == middle


def test_the_spot_itself_is_first_even_among_others_at_its_place() -> None:
    index, present = nearest_with_self(np.zeros((100, 2)), 5)
    np.testing.assert_array_equal(index[:, 0], np.arange(100))
    assert present.all()


def test_absent_spots_are_not_seen() -> None:
    """A slide of nine spots: asking for 25 or for nine is the same."""
    with torch.no_grad():
        many, nine = network()(section(square(3), k=25)), network()(section(square(3), k=9))
    for one, other in zip(many, nine, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("jitter", [0.0, 4.0])
def test_the_order_of_the_spots_does_not_matter(jitter: float) -> None:
    """Not even on an exact grid, where most distances are equal."""
    places = square(8) + np.random.default_rng(0).normal(0, jitter, (64, 2))
    order, net = torch.randperm(64, generator=torch.Generator().manual_seed(0)), network()
    whole = section(places)
    shuffled = Section(whole.features[order], whole.places[order], *make_geometry(places[order], 25))
    with torch.no_grad():
        for one, other in zip(net(whole), net(shuffled), strict=True):
            torch.testing.assert_close(one[order], other, atol=1e-5, rtol=1e-5)


def test_what_a_branch_sees() -> None:
    """The target's head its own spot, the local one the 25 nearest, the others everything."""
    net, one = network(), section(square(9))
    features = one.features.clone()
    features[80] += 1.0
    other = Section(features, one.places, one.surroundings, one.grid)
    with torch.no_grad():
        changed = [(a - b).abs().amax(dim=1) > 1e-6 for a, b in zip(net(one), net(other), strict=True)]
    near = (one.surroundings.index == 80).any(dim=1)
    assert changed[1].nonzero().ravel().tolist() == [80]
    assert torch.equal(changed[2], near)
    assert changed[0].all()
    assert changed[3].all()


# -- regions -------------------------------------------------------------------------------------------------


def test_a_region_is_the_subset_of_the_slide() -> None:
    whole = section(square(7))
    rows = torch.tensor([8, 3, 9, 10, 17, 24, 2])
    part = whole.region(rows)
    anew = Grid.of(np.stack(np.divmod(rows.numpy(), 7), axis=1))
    renumbered = {int(old): new for new, old in enumerate(rows)}
    for spot, old in enumerate(rows.tolist()):
        there = [int(j) for j in whole.surroundings.index[old] if int(j) in renumbered]
        found = part.surroundings.index[spot][part.surroundings.present[spot]].tolist()
        assert found == [renumbered[j] for j in there]
        assert _cells_around(part.grid, spot) == _cells_around(anew, spot), "cells without spots are empty"


def _cells_around(grid: Grid, spot: int) -> list[list[int]]:
    """The spots in each of the nine cells around a spot."""
    return [(grid.cell == cell).nonzero().ravel().tolist() for cell in grid.around[grid.cell[spot]].tolist()]


def test_a_region_knows_nothing_of_the_rest() -> None:
    net, one = network(), section(square(7))
    rows = torch.arange(20)
    other = Section(one.features.clone(), one.places, one.surroundings, one.grid)
    other.features[20:] = 7.0
    with torch.no_grad():
        for a, b in zip(net(one.region(rows)), net(other.region(rows)), strict=True):
            assert torch.equal(a, b)
        assert not torch.equal(net(one).fused[:20], net(one.region(rows)).fused)


# -- attention and outputs -----------------------------------------------------------------------------------


def test_all_kernels_read_the_weights_alike() -> None:
    net, one = network(), section(square(6))
    with torch.no_grad():
        fast = net(one)
        with sdpa_kernel(SDPBackend.MATH):
            plain = net(one)
    for a, b in zip(fast, plain, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_nothing_is_dropped_in_prediction() -> None:
    """The public code's attention keeps its dropout in the branch of the whole section, whatever the mode."""
    dropped = {f"{branch}_dropout": 0.5 for branch in ("fusion", "whole", "local")}
    net, one = network(**dropped), section(square(6))
    with torch.no_grad():
        assert torch.equal(net(one).fused, net(one).fused)
        assert torch.equal(net(one).fused, network()(one).fused)
        net.train()
        assert not torch.equal(net(one).fused, net(one).fused)


def test_clamp_cuts_all_heads_off_at_zero() -> None:
    one = section(square(6))
    with torch.no_grad():
        free, cut = network()(one), network(clamp=True).train(False)(one)
    for a, b in zip(free, cut, strict=True):
        assert (a < 0).any()
        assert torch.equal(b, a.clamp(min=0))


# -- training ------------------------------------------------------------------------------------------------


def made_slide(name: str, seed: int, side: int = 12) -> Slide:
    """Gene A follows what is around a spot where the spot itself lets it, B the spot alone; C is noise."""
    rng = np.random.default_rng(seed)
    places = square(side)
    features = rng.normal(size=(side * side, 8)).astype(np.float32)
    grid = np.pad(features[:, 1].reshape(side, side), 1, mode="edge")
    around = sum(grid[1 + a : 1 + a + side, 1 + b : 1 + b + side] for a in (-1, 0, 1) for b in (-1, 0, 1)).ravel() / 3
    level = np.column_stack([1 + 3 * (features[:, 0] > 0) * around, 1 + features[:, 2], np.ones(side * side)])
    counts = rng.poisson(np.exp(np.clip(level, -2, 4)))
    names = np.array([f"{name}-{spot}" for spot in range(side * side)], dtype=object)
    counts = sparse.csc_matrix(counts.astype(np.float32))
    return Slide(name, name, names, places, 1.0, GENES, counts, {"made": features})


def method(**given: Any) -> Triplex:
    return Triplex(settings(**{"epochs": 3, "regions_per_slide": 2, **given}), Task(GENES, "made", ("test",)))


def correlation(predicted: np.ndarray, slide: Slide, gene: int) -> float:
    return float(np.corrcoef(predicted[:, gene], slide.expression(GENES)[:, gene])[0, 1])


def test_it_learns_what_lies_around_a_spot() -> None:
    train = [made_slide(f"T{seed}", seed) for seed in range(3)]
    select, test = made_slide("S", 8), made_slide("X", 9)
    net = method(epochs=15, regions_per_slide=3, learning_rate=5e-3, select_every=5, local_layers=1, local_dropout=0)
    net.fit(train, [select], seed=0)
    linear = Ridge(Ridge.Settings(), Task(GENES, "made", ("test",)))
    linear.fit(train, [], seed=0)
    ours, theirs = net.predict(test, seed=0), linear.predict(test, seed=0)
    assert correlation(theirs, test, 0) < 0.3
    assert correlation(ours, test, 0) > 0.5
    assert correlation(ours, test, 1) > 0.6


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path, interrupted: Callable) -> None:
    slides = [made_slide("T", 0), made_slide("S", 1)]
    whole = method()
    history = whole.fit(slides[:1], slides[1:], seed=0).history
    with interrupted(2):
        method().fit(slides[:1], slides[1:], seed=0, checkpoint=tmp_path / "checkpoint")
    resumed = method()
    assert resumed.fit(slides[:1], slides[1:], seed=0, checkpoint=tmp_path / "checkpoint").history == history
    for name, value in whole.state().items():
        np.testing.assert_array_equal(resumed.state()[name], value, err_msg=name)


def test_out_of_memory_makes_regions_smaller_and_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, sizes = FeatureLearner.loss, []

    def loss(self: FeatureLearner, region: Section, *others: Any) -> torch.Tensor:
        sizes.append(len(region))
        if len(sizes) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, region, *others)

    monkeypatch.setattr(FeatureLearner, "loss", loss)
    slide = made_slide("T", 0, side=24)
    fit = method(epochs=1, regions_per_slide=8, sample="section").fit([slide], [], seed=0)
    assert fit.facts["out_of_memory"] == 1
    assert fit.facts["spots_limit"] == 288
    assert sizes[0] == 576
    assert max(sizes[1:]) <= 288


def test_a_loss_that_is_no_number_fails_the_run() -> None:
    with pytest.raises(RunFailed, match="the loss became"):
        method(learning_rate=1e18, epochs=5).fit([made_slide("T", 0)], [], seed=0)


def test_prediction_in_parts_is_that_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slide, net = made_slide("T", 0), method(epochs=1)
    net.fit([slide], [], seed=0)
    at_once = net.predict(slide, seed=0)
    monkeypatch.setattr("stflow.models.triplex.learner._AT_ONCE", 50)
    np.testing.assert_allclose(net.predict(slide, seed=0), at_once, atol=1e-5)
