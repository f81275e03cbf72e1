"""ST-Net: equal to the public code, starts at the mean, learns, and both forms keep what training moved.

``golden/stnet.safetensors`` holds two tiles of 64 px and what the authors' public code (commit 43022c1) makes of them
with weights that `seeded_weights` makes: torchvision's DenseNet-121 with its last layer replaced, on each of the eight
symmetries that the code averages, their mean, and its loss. Normalisation is ImageNet's, an argument of that code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from stflow.config import validate
from stflow.data.slide import Slide
from stflow.encoders.dihedral import symmetries
from stflow.encoders.views import N_VIEWS, split_views
from stflow.errors import RunFailed, WeightsError
from stflow.layout import TILES
from stflow.models.base import Fit, Task
from stflow.models.check import GENES, made_slides
from stflow.models.network.turning import turned_each
from stflow.models.stnet import STNet, STNetSettings
from stflow.models.stnet.learner import TileLearner, Tiles, ViewLearner
from stflow.models.stnet.network import FineTuned
from stflow.training.score import mean_pearson

GOLDEN = Path(__file__).parent / "golden" / "stnet.safetensors"
VIEWS = "made+views"
#: Of the form that trains DenseNet-121, on a handful of tiles.
TUNED = {"backbone": "finetuned", "initial": "random", "epochs": 2, "batch_spots": 4}


def seeded_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Weights and statistics by name, as of a trained network."""
    draw = np.random.RandomState(2025).standard_normal
    made = {}
    for name, shape in sorted(shapes.items()):
        values = draw(shape)
        if name.endswith("running_var"):
            values = 1 + 0.3 * np.abs(values)
        elif "norm" in name and name.endswith("weight"):
            values = 1 + 0.1 * values
        elif name.endswith(("bias", "running_mean")):
            values = 0.1 * values
        elif name.endswith("num_batches_tracked"):
            values = np.zeros(shape)
        else:
            values = values * np.sqrt(2 / np.prod(shape[1:]))
        counter = name.endswith("num_batches_tracked")
        made[name] = torch.from_numpy(np.asarray(values).astype(np.int64 if counter else np.float32))
    return made


def test_equal_to_the_public_network(tmp_path: Path) -> None:
    golden = {name: torch.from_numpy(value) for name, value in load_file(GOLDEN).items()}
    tiles, expression = golden["tiles"], golden["expression"]
    learner = TileLearner(STNet(STNetSettings(backbone="finetuned"), Task(tuple("ABCDEF"), TILES)), 0, 0)
    shapes = {name: tuple(value.shape) for name, value in learner.module.state_dict().items()}
    learner.module.load_state_dict(seeded_weights(shapes))
    learner.module.eval()
    with torch.no_grad():
        each = torch.stack(
            [learner.module(turned_each(tiles, torch.tensor([view] * 2))) for view in range(N_VIEWS)], dim=1
        )
        mean = learner.answer(tiles)
    torch.testing.assert_close(mean, golden["mean"], atol=1e-5, rtol=1e-5)
    # The public code lists the symmetries in another order.
    torch.testing.assert_close(each.sort(dim=1).values, golden["each"].sort(dim=1).values, atol=1e-5, rtol=1e-5)
    assert golden["each"].std(dim=1).min() > 1e-3, "symmetries that are all alike would prove nothing"
    # Its loss is a sum over the batch; ours is the mean, so that it does not grow with the batch.
    ours = torch.nn.functional.mse_loss(mean, expression) * len(tiles)
    torch.testing.assert_close(ours[None], golden["summed_loss"], atol=1e-5, rtol=1e-5)


def test_each_tile_is_turned_as_its_view_says() -> None:
    tiles = torch.randint(0, 255, (16, 5, 5, 3), dtype=torch.uint8)
    views = [*range(8), *reversed(range(8))]
    expected = list(symmetries(tiles.numpy()))
    found = turned_each(tiles, torch.tensor(views)).numpy()
    for tile, view in enumerate(views):
        assert np.array_equal(found[tile], expected[view][tile])


def test_parameter_counts() -> None:
    """0.051 M is what the paper prints: the linear layer alone."""
    assert STNet.n_params(STNetSettings(), 1024, 50) == 51_250
    assert STNet.n_params(STNetSettings(backbone="finetuned"), 0, 50) == 6_953_856 + 51_250
    of_views = STNet(STNetSettings(), Task(GENES, "densenet121+views")).network(8 * 1024, 50)
    assert sum(p.numel() for p in of_views.parameters()) == 51_250


def test_where_it_reads_from() -> None:
    frozen, tuned = STNetSettings(), STNetSettings(backbone="finetuned")
    assert STNet.own_encoders(frozen) == ("densenet121+views",)
    assert STNet.own_encoders(tuned) == (TILES,)
    assert (STNet.reads_tiles(frozen), STNet.reads_tiles(tuned)) == (False, True)
    assert STNet.initial_weights(frozen) is None
    assert STNet.initial_weights(tuned).repository == "timm/densenet121.tv_in1k"  # type: ignore[union-attr]
    assert STNet.initial_weights(STNetSettings(backbone="finetuned", initial="random")) is None
    config = validate({"methods": ["stnet", "stnet/finetuned"], "encoders": ["classical"]})
    assert config.encoders_of("stnet") == ["densenet121+views"]
    assert config.encoders_of("stnet", "finetuned") == [TILES]


# -- frozen --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Slide]:
    """Four slides whose genes follow their features, in eight views."""
    return list(made_slides(tmp_path_factory.mktemp("slides"), VIEWS, tiles=False))


def fitted(
    slides: list[Slide], encoder: str = VIEWS, checkpoint: Path | None = None, weights: Path | None = None,
    **settings: object,
) -> tuple[STNet, Fit]:  # fmt: skip
    method = STNet(STNetSettings.model_validate(settings), Task(GENES, encoder, ("t",), weights))
    return method, method.fit(slides[:2], slides[2:3], seed=0, checkpoint=checkpoint)


def training_mean(slides: list[Slide]) -> np.ndarray:
    return np.concatenate([slide.expression(GENES) for slide in slides[:2]]).mean(axis=0)


def test_frozen_starts_at_the_mean(slides: list[Slide]) -> None:
    method, _ = fitted(slides, epochs=1, learning_rate=1e-12)
    found = method.predict(slides[3], seed=0)
    np.testing.assert_allclose(found, np.tile(training_mean(slides), (len(slides[3]), 1)), atol=1e-6)


def test_frozen_learns_what_is_there(slides: list[Slide]) -> None:
    method, fit = fitted(slides, epochs=40, learning_rate=1e-2)
    measured, found = slides[3].expression(GENES), method.predict(slides[3], seed=0)
    assert mean_pearson(measured[:, :4], found[:, :4]) > 0.5
    assert ((found - measured) ** 2).mean() < 0.8 * ((training_mean(slides) - measured) ** 2).mean()
    assert fit.facts["n_params"] == (12 + 1) * len(GENES)


def test_the_prediction_is_the_mean_over_the_views(slides: list[Slide]) -> None:
    method, _ = fitted(slides, epochs=3)
    state = method.state()
    views = split_views(slides[3].features[VIEWS], VIEWS)
    each = [views[:, view] @ state["network.weight"].T + state["network.bias"] for view in range(N_VIEWS)]
    np.testing.assert_allclose(method.predict(slides[3], seed=0), np.mean(each, axis=0), atol=1e-5)


def test_a_step_sees_one_view_a_spot_and_an_epoch_all() -> None:
    """With a feature that names the view, and a layer that passes it on, the loss tells which were drawn."""
    learner = ViewLearner(STNet(STNetSettings(), Task(("A",), VIEWS)), 8, 0)
    torch.nn.init.ones_(learner.module.weight)  # type: ignore[arg-type]
    views = torch.arange(8.0)[None, :, None].expand(1, 8, 1)
    generator = torch.Generator().manual_seed(0)
    drawn = [float(learner.loss(views, torch.zeros(1, 1), generator).detach().sqrt()) for _ in range(100)]
    assert {round(value, 4) for value in drawn} == {float(view) for view in range(8)}


def test_an_encoder_without_views_is_not_augmented(slides: list[Slide]) -> None:
    plain = [replace(slide, features={"made": split_views(slide.features[VIEWS], VIEWS)[:, 0]}) for slide in slides]
    same = [replace(slide, features={VIEWS: np.tile(slide.features["made"], (1, 8))}) for slide in plain]
    of_one, of_eight = fitted(plain, "made", epochs=2)[0], fitted(same, VIEWS, epochs=2)[0]
    assert of_one.state()["network.weight"].shape == of_eight.state()["network.weight"].shape == (len(GENES), 12)
    weights = of_one.state()["network.weight"]
    found = plain[3].features["made"] @ weights.T + of_one.state()["network.bias"]
    np.testing.assert_allclose(of_one.predict(plain[3], seed=0), found, atol=1e-5)


def interrupted_then_resumed(
    slides: list[Slide],
    path: Path,
    interrupted: Callable,
    encoder: str,
    **settings: object,
) -> tuple[STNet, Fit]:
    """Stopped after the first epoch, and gone on with."""
    with interrupted(1):
        fitted(slides, encoder, path, **settings)
    return fitted(slides, encoder, path, **settings)


def assert_same(one: tuple[STNet, Fit], other: tuple[STNet, Fit]) -> None:
    assert one[1].history == other[1].history
    for name, value in one[0].state().items():
        assert np.array_equal(value, other[0].state()[name]), name


def test_frozen_resumes_to_the_same_bits(slides: list[Slide], tmp_path: Path, interrupted: Callable) -> None:
    whole = fitted(slides, epochs=3, batch_spots=32)
    resumed = interrupted_then_resumed(slides, tmp_path / "checkpoint", interrupted, VIEWS, epochs=3, batch_spots=32)
    assert_same(whole, resumed)


def test_frozen_backs_off_when_memory_runs_out(slides: list[Slide], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ViewLearner.loss

    def loss(self: ViewLearner, inputs: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        if len(inputs) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, inputs, *rest)

    monkeypatch.setattr(ViewLearner, "loss", loss)
    assert fitted(slides, epochs=2, batch_spots=64)[1].facts["spots_limit"] == 16


def test_a_loss_that_diverges_fails_the_run(slides: list[Slide]) -> None:
    with pytest.raises(RunFailed, match=r"the loss became (nan|inf)"):
        fitted(slides, epochs=3, batch_spots=32, learning_rate=1e25)


# -- finetuned -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> list[Slide]:
    """The same with tiles of 32 px and no features, cut down to six spots."""
    made = made_slides(tmp_path_factory.mktemp("tiles"), TILES, tiles=True)
    return [slide.subset(np.arange(0, 81, 14)) for slide in made]


@pytest.fixture(scope="module")
def tuned(tiled: list[Slide]) -> tuple[STNet, Fit]:
    return fitted(tiled, TILES, **TUNED)


def test_finetuned_end_to_end(tiled: list[Slide], tuned: tuple[STNet, Fit], tmp_path: Path) -> None:
    method, fit = tuned
    assert fit.facts["n_params"] == 6_953_856 + 1025 * len(GENES)
    found = method.predict(tiled[3], seed=0)
    assert found.shape == (6, len(GENES))
    assert np.isfinite(found).all()
    method.save(tmp_path / "model.safetensors")
    assert np.array_equal(STNet.load(tmp_path / "model.safetensors").predict(tiled[3], seed=0), found)


def test_training_moves_every_layer_and_the_statistics(tiled: list[Slide], tuned: tuple[STNet, Fit]) -> None:
    before = TileLearner(STNet(STNetSettings(**TUNED), Task(GENES, TILES, ("t",))), 0, 0).state()  # type: ignore[arg-type]
    after = tuned[0].state()
    still = [name for name, value in before.items() if len(value.shape) and np.array_equal(value, after[name])]
    assert still == ["features.mean", "features.scale"]
    # 12 spots in batches of 4, so three steps an epoch until the best one.
    best = tuned[1].facts["best_epoch"]
    assert int(after["network.backbone.features.norm0.num_batches_tracked"]) == 3 * best  # type: ignore[operator]


def test_finetuned_resumes_to_the_same_bits(
    tiled: list[Slide], tuned: tuple[STNet, Fit], tmp_path: Path, interrupted: Callable
) -> None:
    assert_same(tuned, interrupted_then_resumed(tiled, tmp_path / "checkpoint", interrupted, TILES, **TUNED))


def test_finetuned_starts_at_the_mean_from_published_weights(tiled: list[Slide], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = {name: value.numpy() for name, value in FineTuned(1).backbone.state_dict().items()}
    classes = {"classifier.weight": np.zeros((1000, 1024), np.float32), "classifier.bias": np.zeros(1000, np.float32)}
    save_file({**made, **classes}, path)
    settings = {**TUNED, "initial": "imagenet", "epochs": 1, "learning_rate": 1e-12}
    method, _ = fitted(tiled, TILES, weights=path, **settings)
    state, name = method.state(), "features.denseblock2.denselayer3.conv2.weight"
    np.testing.assert_allclose(state[f"network.backbone.{name}"], made[name], atol=1e-9)
    found = method.predict(tiled[3], seed=0)
    np.testing.assert_allclose(found, np.tile(training_mean(tiled), (6, 1)), atol=1e-5)


def test_finetuned_without_its_weights_says_so(tiled: list[Slide], tmp_path: Path) -> None:
    settings = {**TUNED, "initial": "imagenet"}
    with pytest.raises(WeightsError, match=r"densenet121: its weights are missing: no file was given"):
        fitted(tiled, TILES, **settings)
    with pytest.raises(WeightsError, match="is not there"):
        fitted(tiled, TILES, weights=tmp_path / "none", **settings)


def test_tiles_of_many_slides_come_in_the_order_asked_for(tiled: list[Slide]) -> None:
    tiles = Tiles(tiled, "cpu")
    every = np.concatenate([slide.tiles.read() for slide in tiled if slide.tiles])
    rows = torch.tensor([20, 3, 12, 23, 3, 0, 6])
    assert len(tiles) == len(every) == 24
    assert np.array_equal(tiles.take(rows).numpy(), every[rows])
