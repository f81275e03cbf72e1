"""TRIPLEX in its original form: what it reads, a step of at most so many tiles, absent patches, initial weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stflow.data.slide import Slide
from stflow.data.tile_images import TileImages
from stflow.encoders.around import CENTRE, N_CELLS
from stflow.encoders.zoo.ciga import Ciga
from stflow.errors import DataError, RunFailed, WeightsError
from stflow.models.base import Task
from stflow.models.check import CHECKS, GENES, check_method, made_slides
from stflow.models.triplex import Triplex, TriplexSettings
from stflow.models.triplex.original import TileTriplex, feature_map, split_cells
from stflow.models.triplex.tile_learner import TileLearner
from stflow.training.score import mean_pearson

ENCODER = "made+around"
TINY: dict[str, Any] = {
    "form": "tiles", "initial": "random", "hidden": 32, "fusion_heads": 2, "whole_heads": 2, "local_heads": 2,
    "epochs": 1, "regions_per_slide": 1, "batch_spots": 8,
}  # fmt: skip


def settings(**given: Any) -> TriplexSettings:
    return TriplexSettings.model_validate({**TINY, **given})


def method(weights: Path | None = None, **given: Any) -> Triplex:
    return Triplex(settings(**given), Task(GENES, ENCODER, ("test",), weights))


@pytest.fixture
def slides(tmp_path: Path) -> list[Slide]:
    return list(made_slides(tmp_path, ENCODER, tiles=True))


def test_the_variant_reads_tiles_and_patches_and_the_method_itself_features() -> None:
    original = TriplexSettings.model_validate(Triplex.variants["original"])
    assert Triplex.reads_tiles(original)
    assert Triplex.own_encoders(original) == ("ciga+around",)
    assert Triplex.initial_weights(original) == Ciga.weights
    assert Triplex.n_params(original, 512, 250) == 29_294_296
    plain = TriplexSettings()
    assert not Triplex.reads_tiles(plain)
    assert Triplex.own_encoders(plain) == ()
    assert Triplex.initial_weights(plain) is None
    assert Triplex.initial_weights(settings()) is None


def test_it_passes_the_checks_of_every_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Triplex, "own_encoders", classmethod(lambda cls, s: (ENCODER,)))
    outcomes = check_method("triplex", {**TINY, "sample": "section", "standardise_features": True})
    assert len(outcomes) == len(CHECKS)
    assert [f"{outcome.check}: {outcome.problem}" for outcome in outcomes if outcome.problem] == []


def test_a_step_reads_few_tiles_and_sees_the_whole_slide(slides: list[Slide], monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = [], []
    plain_read, plain_whole = TileImages.read, TileTriplex.whole

    def reads(self: TileImages, index: np.ndarray | None = None) -> np.ndarray:
        read.append(np.asarray(index))
        return plain_read(self, index)

    def whole(self: TileTriplex, section: Any) -> torch.Tensor:
        seen.append(len(section))
        return plain_whole(self, section)

    monkeypatch.setattr(TileImages, "read", reads)
    monkeypatch.setattr(TileTriplex, "whole", whole)
    method(sample="section", regions_per_slide=3).fit(slides[:1], [], seed=0)
    assert seen == [81] * 3
    assert [len(rows) for rows in read] == [8] * 3
    assert len(np.unique(np.concatenate(read))) > 16, "other spots at every step"
    seen.clear(), read.clear()
    method(sample="section", regions_per_slide=3, region_spots=30).fit(slides[:1], [], seed=0)
    assert max(seen) <= 30, "region_spots bounds what the network sees, not how many tiles are read"
    assert [len(rows) for rows in read] == [8] * 3


def test_out_of_memory_makes_steps_of_fewer_tiles(slides: list[Slide], monkeypatch: pytest.MonkeyPatch) -> None:
    plain, sizes = TileTriplex.spots, []

    def spots(self: TileTriplex, whole: torch.Tensor, *others: torch.Tensor) -> Any:
        sizes.append(len(whole))
        if len(whole) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, whole, *others)

    monkeypatch.setattr(TileTriplex, "spots", spots)
    fit = method(sample="section", regions_per_slide=4, batch_spots=32).fit(slides[:1], [], seed=0)
    assert sizes == [32, 16, 8, 8]
    assert (fit.facts["out_of_memory"], fit.facts["spots_limit"]) == (2, 8)
    monkeypatch.setattr(TileTriplex, "spots", lambda self, *given: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(RunFailed, match="out of memory with 8 spots in a step"):
        method(sample="section", regions_per_slide=4, batch_spots=32).fit(slides[:1], [], seed=0)


def test_tiles_and_patches_are_those_of_the_spots(slides: list[Slide]) -> None:
    """Of a region of a slide, in its order, spot by spot."""
    learner = TileLearner(method(), N_CELLS * 12, 0)
    section = learner.section(slides[0], "cpu").region(torch.tensor([30, 4, 11]))
    assert section.spots.tolist() == [30, 4, 11]
    seen: dict[str, Any] = {}

    def spots(whole: torch.Tensor, tiles: torch.Tensor, around: torch.Tensor, present: torch.Tensor) -> Any:
        seen.update(tiles=tiles, around=around, present=present)

    learner.module.spots = spots  # type: ignore[method-assign]
    learner._spots(section, torch.zeros(3, 32), torch.tensor([1, 2]), torch.zeros(2, dtype=torch.int64))
    np.testing.assert_array_equal(seen["tiles"].numpy(), slides[0].tiles.read(np.array([4, 11])))  # type: ignore[union-attr]
    np.testing.assert_array_equal(seen["around"].flatten(1).numpy(), slides[0].features[ENCODER][[4, 11]])
    np.testing.assert_array_equal(section.own.numpy(), slides[0].features[ENCODER].reshape(81, 25, 12)[[30, 4, 11], 12])


def test_absent_patches_are_not_seen() -> None:
    features = np.random.default_rng(0).normal(size=(4, N_CELLS * 12)).astype(np.float32)
    features[1, :60] = np.nan
    cells, present = split_cells(features)
    assert present.sum() == 4 * 25 - 5
    assert not cells[1, :5].any()
    net = TileTriplex(settings(), 12, len(GENES)).eval()
    tiles = torch.randint(0, 255, (4, 32, 32, 3), dtype=torch.uint8)
    other = cells.copy()
    other[1, :5] = 3.0  # whatever stands in their place
    with torch.no_grad():
        one, two = (
            net.spots(torch.ones(4, 32), tiles, torch.from_numpy(given), torch.from_numpy(present))
            for given in (cells, other)
        )
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b)


def test_target_tokens_are_the_places_of_the_last_feature_map() -> None:
    resnet = Ciga.build().eval()
    with torch.no_grad():
        images = torch.randn(2, 3, 224, 224)
        tokens = feature_map(resnet, images)
        assert tokens.shape == (2, 49, 512)
        torch.testing.assert_close(tokens.mean(dim=1), resnet(images), atol=1e-5, rtol=1e-5)


def test_standardised_features_are_measured_on_the_tiles_themselves(slides: list[Slide]) -> None:
    fitted = method(standardise_features=True)
    fitted.fit(slides[:2], [], seed=0)
    own = np.concatenate([slide.features[ENCODER].reshape(81, 25, 12)[:, CENTRE] for slide in slides[:2]])
    mean = fitted.state()["features.mean"].reshape(25, 12)
    np.testing.assert_allclose(mean, np.tile(own.mean(axis=0), (25, 1)), atol=1e-5)


def test_it_starts_from_cigas_weights(slides: list[Slide], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ciga, "_published_sha256", lambda self: None)
    torch.manual_seed(3)
    published = Ciga.build().state_dict()
    path = tmp_path / "ciga.ckpt"
    torch.save({"state_dict": {f"model.resnet.{name}": value for name, value in published.items()}}, path)
    learner = TileLearner(method(path, initial="ciga"), N_CELLS * 12, 0)
    learner.prepare(slides[:1], "cpu")
    for name, value in learner.module.backbone.state_dict().items():
        assert torch.equal(value, published[name]), name
    with pytest.raises(WeightsError, match="its weights are missing"):
        method(None, initial="ciga").fit(slides[:1], [], seed=0)


def test_the_best_epoch_keeps_its_running_statistics(slides: list[Slide]) -> None:
    """A model that is chosen early predicts as it did when it was chosen."""
    longer = method(epochs=3, patience=3)
    fit = longer.fit(slides[:1], slides[2:3], seed=0)
    best = int(fit.facts["best_epoch"])  # type: ignore[call-overload]
    scores = [row["score"] for row in fit.history]
    predicted = longer.predict(slides[2], seed=0)
    found = mean_pearson(slides[2].expression(GENES), predicted)
    assert found == pytest.approx(scores[best - 1], abs=1e-4)


def test_what_it_cannot_read_is_told(slides: list[Slide]) -> None:
    with pytest.raises(DataError, match=r"not of encoder 'uni': .*\+around"):
        Triplex(settings(), Task(GENES, "uni")).learner(1024, 0)
    with pytest.raises(DataError, match="comes without tiles"):
        method().fit([replace(slides[0], tiles=None)], [], seed=0)
