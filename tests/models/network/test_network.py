"""The base of neural methods: batches, regions, seeds, memory that runs out, and what a model file holds."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from stflow.data.slide import Slide
from stflow.models.base import Method, Task
from stflow.models.check import GENES, made_slides
from stflow.models.network import SectionNetwork, SpotNetwork
from stflow.models.network import regions as regions_module
from stflow.models.network import spots as spots_module
from stflow.models.network.learner import own_generators
from stflow.models.network.regions import RegionBatches, SectionLearner
from stflow.models.network.section import Section, draw_region, nearest_spots
from stflow.models.network.spots import SpotBatches, SpotLearner

ENCODER = "made"
TASK = Task(GENES, ENCODER, ("test",))


class Spots(SpotNetwork):
    """A perceptron with dropout."""

    name = "spots"

    def network(self, n_features: int, n_genes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(n_features, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, n_genes))


class Mixes(nn.Module):
    """Every spot sees the mean of all."""

    def __init__(self, n_features: int, n_genes: int) -> None:
        super().__init__()
        self.own, self.all = nn.Linear(n_features, n_genes), nn.Linear(n_features, n_genes)
        self.dropout = nn.Dropout(0.3)

    def forward(self, section: Section) -> torch.Tensor:
        return self.own(self.dropout(section.features)) + self.all(section.features.mean(dim=0))


class Sections(SectionNetwork):
    name = "sections"

    def network(self, n_features: int, n_genes: int) -> nn.Module:
        return Mixes(n_features, n_genes)


KINDS = (Spots, Sections)
QUICK: dict[str, object] = {"epochs": 4, "learning_rate": 1e-2}


@pytest.fixture
def slides(tmp_path: Path) -> list[Slide]:
    return list(made_slides(tmp_path, ENCODER, tiles=False))


def make(cls: type[Method], **settings: object) -> Method:
    return cls(cls.Settings.model_validate({**QUICK, **settings}), TASK)


@pytest.mark.parametrize("cls", KINDS)
def test_the_same_seed_gives_the_same_bits_whatever_was_drawn_before(cls: type[Method], slides: list[Slide]) -> None:
    states = []
    for seed, drawn in ((0, 0), (0, 7), (1, 0)):
        torch.rand(drawn)
        method = make(cls)
        method.fit(slides[:2], slides[2:3], seed=seed)
        states.append(np.concatenate([value.ravel() for value in method.state().values()]))
    np.testing.assert_array_equal(states[0], states[1])
    assert not np.array_equal(states[0], states[2])


def test_a_fit_leaves_torchs_generator_as_it_was(slides: list[Slide]) -> None:
    before = torch.get_rng_state()
    make(Spots).fit(slides[:2], [], seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    with own_generators("cpu", 5) as generators:
        first = torch.rand(3)
        generators["torch"].manual_seed(5)
        assert torch.equal(torch.rand(3), first)


@pytest.mark.parametrize("cls", KINDS)
def test_the_best_epoch_is_kept_and_the_history_has_its_score(cls: type[Method], slides: list[Slide]) -> None:
    method = make(cls, epochs=12)
    fit = method.fit(slides[:2], slides[2:3], seed=0)
    scores = [row["score"] for row in fit.history]
    assert fit.facts["best_epoch"] == 1 + int(np.argmax(scores))
    assert fit.facts["best_score"] == max(scores) > 0.1
    assert fit.facts["n_params"] == cls.n_params(method.settings, 12, len(GENES))


@pytest.mark.parametrize("cls", KINDS)
def test_features_are_scaled_as_the_training_slides_were(
    cls: type[Method], slides: list[Slide], tmp_path: Path
) -> None:
    method = make(cls, standardise_features=True)
    method.fit(slides[:2], [], seed=0)
    values = np.concatenate([slide.features[ENCODER] for slide in slides[:2]])
    np.testing.assert_allclose(method.state()["features.mean"], values.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(method.state()["features.scale"], values.std(axis=0), rtol=1e-5)
    method.save(tmp_path / "m.safetensors")
    again = cls.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict(slides[3], seed=0), method.predict(slides[3], seed=0))


# -- batches of spots ------------------------------------------------------------------------------------------


def spot_batches(slides: list[Slide], **settings: object) -> SpotBatches:
    learner = SpotLearner(make(Spots, **settings), 12, 0)
    return SpotBatches(learner, slides[:2], slides[2:3], torch.Generator().manual_seed(0), "cpu")


@pytest.mark.parametrize(("batch_spots", "sizes"), [(128, [81, 81]), (50, [41, 41, 40, 40]), (1000, [162])])
def test_an_epoch_takes_every_spot_once_in_batches_of_nearly_one_size(
    slides: list[Slide], batch_spots: int, sizes: list[int]
) -> None:
    batches = list(spot_batches(slides, batch_spots=batch_spots).batches())
    assert [len(batch) for batch in batches] == sizes
    assert sorted(torch.cat(batches).tolist()) == list(range(162))
    assert torch.cat(batches).tolist() != list(range(162))


def test_batches_yet_to_come_shrink_when_memory_runs_out(slides: list[Slide]) -> None:
    problem = spot_batches(slides, batch_spots=100)
    batches = problem.batches()
    first = next(batches)
    assert problem.shrink()
    rest = list(batches)
    assert len(first) == 81
    assert max(map(len, rest)) <= problem.limit == 50
    assert sorted([*first.tolist(), *torch.cat(rest).tolist()]) == list(range(162))
    while problem.shrink():
        pass
    assert problem.limit == spots_module.FEWEST_SPOTS


def test_predictions_go_on_with_fewer_spots_at_once(slides: list[Slide], monkeypatch: pytest.MonkeyPatch) -> None:
    method = make(Spots)
    method.fit(slides[:2], [], seed=0)
    whole = method.predict(slides[3], seed=0)
    plain, sizes = SpotLearner.answer, []

    def answer(self: SpotLearner, inputs: torch.Tensor) -> torch.Tensor:
        sizes.append(len(inputs))
        if len(inputs) > 30:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, inputs)

    monkeypatch.setattr(SpotLearner, "answer", answer)
    np.testing.assert_allclose(method.predict(slides[3], seed=0), whole, rtol=1e-5)
    assert max(size for size in sizes if size <= 30) == 16
    monkeypatch.setattr(SpotLearner, "answer", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    with pytest.raises(torch.OutOfMemoryError):
        method.predict(slides[3], seed=0)


# -- regions ---------------------------------------------------------------------------------------------------


def region_batches(slides: list[Slide], **settings: object) -> RegionBatches:
    learner = SectionLearner(make(Sections, **settings), 12, 0)
    return RegionBatches(learner, slides[:2], slides[2:3], torch.Generator().manual_seed(0), "cpu")


def test_an_epoch_takes_as_many_regions_of_every_slide(slides: list[Slide]) -> None:
    problem = region_batches(slides, regions_per_slide=3, regions_per_step=2)
    batches = list(problem.batches())
    assert [len(batch) for batch in batches] == [2, 2, 2]
    for region, expression in (pair for batch in batches for pair in batch):
        assert len(region.places) == len(expression) >= 2


def test_regions_hold_no_more_than_region_spots(slides: list[Slide]) -> None:
    problem = region_batches(slides, regions_per_slide=20, region_spots=10)
    sizes = [len(expression) for batch in problem.batches() for _, expression in batch]
    assert max(sizes) == 10 < len(slides[0])
    assert min(sizes) < 10


def test_a_region_is_a_spot_and_its_nearest(slides: list[Slide]) -> None:
    places = torch.from_numpy(slides[0].centres_um)
    generator = torch.Generator().manual_seed(3)
    sizes = []
    for _ in range(200):
        rows = draw_region(places, generator, None)
        sizes.append(len(rows))
        inside = torch.zeros(len(places), dtype=torch.bool)
        inside[rows] = True
        radii = torch.cdist(places[rows], places)
        furthest_in = radii[:, inside].max(dim=1).values
        nearest_out = radii[:, ~inside].min(dim=1).values if (~inside).any() else torch.full((len(rows),), np.inf)
        assert (furthest_in <= nearest_out).any(), "some spot of the region is its centre"
    assert min(sizes) == 2
    assert 0.4 < np.mean(sizes) / len(places) < 0.6
    assert max(len(draw_region(places, generator, 10)) for _ in range(50)) == 10


def test_equally_near_spots_are_taken_in_row_order() -> None:
    places = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert nearest_spots(places, 0, 3).tolist() == [0, 1, 2]


def test_regions_of_a_step_count_by_their_spots(slides: list[Slide]) -> None:
    problem = region_batches(slides, regions_per_step=2)
    problem.learner.module.eval()
    batch = next(islice(problem.batches(), 1))
    assert len({len(expression) for _, expression in batch}) == 2
    errors = torch.cat([(problem.learner.module(region) - y).square().mean(dim=1) for region, y in batch])
    torch.testing.assert_close(problem.loss(batch), errors.mean())


class Starved(Sections):
    """Runs out of memory with more than so many spots."""

    fits: ClassVar[int] = 30

    def learner(self, n_features: int, seed: int) -> SectionLearner:
        class Learner(SectionLearner):
            def loss(self, region: Section, expression: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
                if len(expression) > Starved.fits:
                    raise torch.OutOfMemoryError("CUDA out of memory")
                return super().loss(region, expression, generator)

        return Learner(self, n_features, seed)


def test_regions_shrink_until_they_fit_and_it_is_recorded(slides: list[Slide], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions_module, "FEWEST_SPOTS", 8)
    fit = make(Starved).fit(slides[:2], slides[2:3], seed=0)
    assert fit.facts["spots_limit"] == 20
    assert fit.facts["out_of_memory"] == 2
    assert len(fit.history) == 4
