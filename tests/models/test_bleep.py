"""BLEEP: equal to the published code, retrieval by rule, and free of what went wrong for that code's users.

``golden/bleep.safetensors`` holds inputs and what the authors' public code (commit 2395967) makes of them with weights
that `seeded_weights` makes: embeddings, loss and gradients at two temperatures (its ResNet-50 model with the image
network taken out), and what its inference notebook retrieves from 90 spots by its three rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from stflow.data.slide import Slide
from stflow.errors import RunFailed
from stflow.models.base import Fit, Task
from stflow.models.bleep import BLEEP, BLEEPSettings, retrieval
from stflow.models.bleep.learner import RetrievalLearner
from stflow.models.bleep.network import Heads, contrastive_loss, uniform_loss
from stflow.models.bleep.retrieval import Reference
from stflow.models.check import GENES, made_slides
from stflow.training.score import mean_pearson

GOLDEN = Path(__file__).parent / "golden" / "bleep.safetensors"
QUICK = {"batch_spots": 64, "embedding": 32, "retrieved": 10, "learning_rate": 5e-3}


def seeded_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Weights by parameter name; norms make embeddings short enough for the softmax not to be all or nothing."""
    draw = np.random.RandomState(2025).standard_normal
    made = {}
    for name, shape in sorted(shapes.items()):
        values = draw(shape)
        if "norm" in name and name.endswith("weight"):
            values = 0.3 + 0.1 * values
        elif name.endswith("bias"):
            values = 0.1 * values
        else:
            values = values / np.sqrt(shape[1])
        made[name] = torch.from_numpy(values.astype(np.float32))
    return made


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in load_file(GOLDEN).items()}


@pytest.fixture
def heads(golden: dict[str, torch.Tensor]) -> Heads:
    made = Heads(golden["features"].shape[1], golden["expression"].shape[1], golden["image"].shape[1], 0.1)
    made.load_state_dict(seeded_weights({name: tuple(value.shape) for name, value in made.state_dict().items()}))
    return made.eval()


def test_embeddings_are_the_published_ones(golden: dict[str, torch.Tensor], heads: Heads) -> None:
    for ours, name in zip(heads(golden["features"], golden["expression"]), ("image", "spot"), strict=True):
        torch.testing.assert_close(ours.detach(), golden[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_loss_and_gradients_are_the_published_ones(
    golden: dict[str, torch.Tensor], heads: Heads, temperature: float
) -> None:
    loss = contrastive_loss(*heads(golden["features"], golden["expression"]), temperature)
    loss.backward()
    torch.testing.assert_close(loss.detach()[None], golden[f"loss.{temperature}"], atol=1e-5, rtol=1e-5)
    for name, parameter in heads.named_parameters():
        expected = golden[f"gradient.{temperature}.{name}"]
        torch.testing.assert_close(parameter.grad, expected, atol=1e-5, rtol=1e-5)
        assert expected.abs().max() > 1e-3, "a gradient of zero would prove nothing"


@pytest.mark.parametrize(
    ("rule", "published"), [("simple", "simple"), ("average", "average"), ("weighted", "weighted_average")]
)
def test_what_is_retrieved_is_what_the_published_code_retrieves(
    golden: dict[str, torch.Tensor], rule: str, published: str
) -> None:
    reference = Reference(golden["reference"].numpy(), golden["reference_expression"].numpy(), "cpu")
    rows = golden[f"rows.{published}"].long()
    assert torch.equal(reference.nearest(golden["queries"], rows.shape[1]), rows)
    found = reference.predict(golden["queries"], 50, rule)
    torch.testing.assert_close(found, golden[f"retrieved.{published}"], atol=1e-5, rtol=1e-5)


def test_temperature_divides(golden: dict[str, torch.Tensor]) -> None:
    """Some of the published models multiply the targets' similarities by it."""
    image, spot = golden["image"], golden["spot"]
    divided = contrastive_loss(image, spot, 4.0)
    torch.testing.assert_close(divided, contrastive_loss(image / 2, spot / 2, 1.0))
    assert abs(divided - contrastive_loss(image * 2, spot * 2, 1.0)) > 0.1


@pytest.mark.parametrize("n_spots", [1, 2, 7, 128])
def test_equal_embeddings_have_the_uniform_loss_of_their_batch(n_spots: int) -> None:
    """ln B: 4.85 of 128 spots, less of a smaller last batch."""
    same = torch.randn(1, 16).expand(n_spots, 16)
    assert uniform_loss(n_spots) == pytest.approx(math.log(n_spots))
    assert float(contrastive_loss(same, same, 1.0)) == pytest.approx(math.log(n_spots), abs=1e-4)


def test_parameter_counts_are_those_printed() -> None:
    assert BLEEP.n_params(BLEEPSettings(), 2048, 50) == 670_208
    assert BLEEP.n_params(BLEEPSettings(), 1024, 50) == 408_064


# -- retrieval -----------------------------------------------------------------------------------------------


def directions(n: int, seed: int = 0) -> np.ndarray:
    """(n, 3) vectors whose products have no rounding; several of one direction."""
    return np.random.default_rng(seed).integers(0, 2, (n, 3)).astype(np.float32) * 4


@pytest.mark.parametrize("at_once", [1, 100, 1 << 24])
def test_of_equally_near_spots_the_first_are_taken(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "_SIMILARITIES", at_once)
    embeddings, queries = directions(40), torch.from_numpy(directions(9, seed=1))
    reference = Reference(embeddings, np.random.default_rng(2).normal(size=(40, 4)).astype(np.float32), "cpu")
    similarity = torch.nn.functional.normalize(queries) @ torch.nn.functional.normalize(torch.from_numpy(embeddings)).T
    for k in (1, 3, 17, 40):
        expected = np.argsort(-similarity.numpy().round(5), axis=1, kind="stable")[:, :k]
        found = reference.nearest(queries, k).numpy()
        assert np.array_equal(np.sort(found, axis=1), np.sort(expected, axis=1))
        assert np.array_equal(found[:, 0], expected[:, 0])


def test_spots_of_one_expression_tie_to_the_last_bit() -> None:
    """Where a matrix product would give the same column other last bits by its place."""
    rng = np.random.default_rng(0)
    embedding, other = rng.normal(size=(2, 31)).astype(np.float32)
    n = 1000
    embeddings, expression = np.tile(embedding, (n, 1)), np.zeros((n, 5), dtype=np.float32)
    embeddings[500], expression[500] = other, 1
    reference = Reference(embeddings, expression, "cpu")
    queries = torch.from_numpy((embedding + 0.1 * rng.normal(size=(20, 31))).astype(np.float32))
    assert torch.equal(reference.nearest(queries, 50), torch.arange(50).expand(20, 50))


def test_length_does_not_matter_when_spots_are_retrieved() -> None:
    """It does in the loss, as published; what is near is by direction alone."""
    rng = np.random.default_rng(0)
    embeddings, expression = (rng.normal(size=(60, size)).astype(np.float32) for size in (8, 4))
    queries = torch.from_numpy(rng.normal(size=(20, 8)).astype(np.float32))
    lengths = rng.integers(0, 4, 60)[:, None]
    stretched = Reference(embeddings * (2.0**lengths).astype(np.float32), expression, "cpu")
    assert torch.equal(
        stretched.nearest(queries * 8, 10), Reference(embeddings, expression, "cpu").nearest(queries, 10)
    )
    spot = torch.from_numpy(embeddings[:20])
    assert abs(contrastive_loss(queries, spot, 1.0) - contrastive_loss(queries * 2, spot * 2, 1.0)) > 0.1


def test_more_spots_than_there_are_is_all_of_them() -> None:
    expression = np.arange(12, dtype=np.float32).reshape(4, 3)
    reference = Reference(np.eye(4, dtype=np.float32), expression, "cpu")
    found = reference.predict(torch.randn(5, 4), 50, "average")
    torch.testing.assert_close(found, torch.from_numpy(expression.mean(axis=0)).expand(5, 3))
    assert reference.predict(torch.zeros(0, 4), 50, "average").shape == (0, 3)


def test_embeddings_that_are_not_finite_fail_the_run() -> None:
    bad = np.full((4, 4), np.nan, dtype=np.float32)
    with pytest.raises(RunFailed, match=r"not finite.*Lower learning_rate"):
        Reference(bad, np.eye(4, dtype=np.float32), "cpu")
    with pytest.raises(RunFailed, match="not finite"):
        Reference(np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32), "cpu").predict(
            torch.from_numpy(bad), 2, "average"
        )


# -- the method ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Slide]:
    """Four slides whose genes follow their features."""
    return list(made_slides(tmp_path_factory.mktemp("slides"), "made", tiles=False))


def fitted(slides: list[Slide], checkpoint: Path | None = None, **settings: object) -> tuple[BLEEP, Fit]:
    method = BLEEP(BLEEPSettings.model_validate({**QUICK, **settings}), Task(GENES, "made", ("t",)))
    return method, method.fit(slides[:2], slides[2:3], seed=0, checkpoint=checkpoint)


@pytest.fixture(scope="module")
def learned(slides: list[Slide]) -> tuple[BLEEP, Fit]:
    return fitted(slides, epochs=40)


def test_learns_what_is_there(slides: list[Slide], learned: tuple[BLEEP, Fit]) -> None:
    measured, found = slides[3].expression(GENES), learned[0].predict(slides[3], seed=0)
    mean = np.concatenate([slide.expression(GENES) for slide in slides[:2]]).mean(axis=0)
    assert mean_pearson(measured[:, :4], found[:, :4]) > 0.4
    assert ((found - measured) ** 2).mean() < 0.95 * ((mean - measured) ** 2).mean()


def test_records_whether_anything_was_learned(
    slides: list[Slide], learned: tuple[BLEEP, Fit], capsys: pytest.CaptureFixture[str]
) -> None:
    facts = learned[1].facts
    assert facts["collapsed"] is False
    assert facts["uniform_train"] == pytest.approx(math.log(54))  # 162 spots are three batches
    assert facts["uniform_select"] == pytest.approx((math.log(41) + math.log(40)) / 2)
    assert facts["contrast_train"] < facts["uniform_train"] - 0.5  # type: ignore[operator]
    capsys.readouterr()
    ones = np.ones((len(slides[0]), 3), np.float32)
    flat = [replace(slide, features={"made": ones}, counts=slide.counts * 0) for slide in slides]
    facts = fitted(flat, epochs=1)[1].facts
    assert facts["collapsed"] is True
    assert facts["contrast_train"] == pytest.approx(facts["uniform_train"], abs=1e-4)
    assert (
        "bleep has learned nothing yet: its loss on the training spots is 3.989, and 3.989" in capsys.readouterr().err
    )


def test_the_reference_is_the_training_spots_alone(slides: list[Slide], learned: tuple[BLEEP, Fit]) -> None:
    state = learned[0].state()
    trained = np.concatenate([slide.expression(GENES) for slide in slides[:2]])
    assert np.array_equal(state["reference.expression"], trained)
    with torch.no_grad():
        expected = learned[0]._learner.module.spot(torch.from_numpy(trained))  # type: ignore[union-attr]
    np.testing.assert_allclose(state["reference.embeddings"], expected.numpy(), atol=1e-4)


def test_the_score_is_of_the_weights_of_its_epoch(slides: list[Slide], learned: tuple[BLEEP, Fit]) -> None:
    """Had the reference been embedded once, another epoch's score would stand here."""
    again = mean_pearson(slides[2].expression(GENES), learned[0].predict(slides[2], seed=0))
    assert again == pytest.approx(learned[1].facts["best_score"], abs=1e-6)


def test_rules_share_a_trained_model(slides: list[Slide], learned: tuple[BLEEP, Fit], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    learned[0].save(path)
    found = {rule: BLEEP.load(path, {"rule": rule}).predict(slides[3], seed=0) for rule in ("simple", "weighted")}
    reference = {row.tobytes() for row in learned[0].state()["reference.expression"]}
    assert all(row.tobytes() in reference for row in found["simple"])
    average = learned[0].predict(slides[3], seed=0)
    assert np.array_equal(average, BLEEP.load(path).predict(slides[3], seed=0))
    assert not any(np.allclose(average, other) for other in found.values())
    assert not np.allclose(average, BLEEP.load(path, {"retrieved": 3}).predict(slides[3], seed=0))


def test_resumes_to_the_same_bits(slides: list[Slide], tmp_path: Path, interrupted: Callable) -> None:
    whole, history = fitted(slides, epochs=4)
    with interrupted(2):
        fitted(slides, tmp_path / "checkpoint", epochs=4)
    resumed, again = fitted(slides, tmp_path / "checkpoint", epochs=4)
    assert again.history == history.history
    for name, value in whole.state().items():
        assert np.array_equal(value, resumed.state()[name]), name


def test_backs_off_when_memory_runs_out(slides: list[Slide], monkeypatch: pytest.MonkeyPatch) -> None:
    plain, sizes = RetrievalLearner.loss, []

    def loss(self: RetrievalLearner, inputs: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        if len(inputs) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(inputs))
        return plain(self, inputs, *rest)

    monkeypatch.setattr(RetrievalLearner, "loss", loss)
    _, fit = fitted(slides, epochs=2)
    assert fit.facts["spots_limit"] == 16
    assert max(sizes) <= 16
    assert fit.facts["uniform_train"] < math.log(17)  # type: ignore[operator]


def test_a_loss_that_diverges_fails_the_run(slides: list[Slide]) -> None:
    wild = [replace(slide, features={"made": slide.features["made"] * np.float32(1e30)}) for slide in slides]
    with pytest.raises(RunFailed, match="the loss became nan"):
        fitted(wild, epochs=2)
