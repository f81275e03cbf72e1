"""The loop: best epoch kept, patience, back-off when memory runs out, failure when nothing helps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stflow.errors import RunFailed
from stflow.training import fit as loop
from stflow.training.fit import Schedule, fit_network


class Line:
    """Fit a constant; scores are given, and steps on more than ``fits`` spots run out of memory."""

    def __init__(self, module: nn.Linear, scores: list[float | None], fits: int = 10**6) -> None:
        self.module, self.scores, self.fits = module, scores, fits
        self.limit: int | None = None
        self.limit_of = "a batch"
        self.seen: list[Tensor] = []
        self.sizes: list[int] = []

    def batches(self) -> Iterator[int]:
        for _ in range(3):
            yield min(100, self.limit or 100)

    def loss(self, batch: int) -> Tensor:
        if batch > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(batch)
        return (self.module(torch.ones(batch, 1)) - 3).square().mean()

    def score(self) -> float | None:
        self.seen.append(self.module.weight.detach().clone())
        return self.scores[len(self.seen) - 1]

    def shrink(self) -> bool:
        self.limit = (self.limit or 100) // 2
        return self.limit >= 10


def schedule(epochs: int, patience: int = 100, select_every: int = 1) -> Schedule:
    return Schedule(epochs, patience, select_every, learning_rate=0.1, clip_norm=1.0)


def run(problem: Line, plan: Schedule):
    return fit_network(problem.module, problem, plan, {"g": torch.Generator()})


def test_keeps_the_best_epochs_weights() -> None:
    problem = Line(nn.Linear(1, 1), [0.1, 0.5, 0.2, 0.5])
    fit = run(problem, schedule(4))
    assert fit.facts["best_epoch"] == 2
    assert torch.equal(problem.module.weight, problem.seen[1])
    assert [row["score"] for row in fit.history] == [0.1, 0.5, 0.2, 0.5]
    assert fit.history[3]["loss"] < fit.history[0]["loss"]


def test_stops_after_patience() -> None:
    problem = Line(nn.Linear(1, 1), [0.5] + [0.1] * 20)
    fit = run(problem, schedule(20, patience=3))
    assert len(fit.history) == 4


def test_selects_every_few_epochs_and_at_the_end() -> None:
    problem = Line(nn.Linear(1, 1), [0.1, 0.2, 0.3])
    fit = run(problem, schedule(5, select_every=2))
    assert [row["epoch"] for row in fit.history if "score" in row] == [2, 4, 5]


def test_without_select_slides_the_last_epoch_is_kept() -> None:
    problem = Line(nn.Linear(1, 1), [None] * 3)
    fit = run(problem, schedule(3))
    assert fit.facts["best_epoch"] == 3
    assert fit.facts["best_score"] is None
    assert torch.equal(problem.module.weight, problem.seen[-1])


def test_backs_off_when_memory_runs_out(capsys: pytest.CaptureFixture[str]) -> None:
    problem = Line(nn.Linear(1, 1), [0.1, 0.2], fits=30)
    fit = run(problem, schedule(2))
    assert problem.sizes == [25, 25, 25, 25]
    assert fit.facts["spots_limit"] == 25
    assert "at most 50 spots" in capsys.readouterr().err


def test_an_epoch_of_which_no_step_fitted_is_taken_again_with_smaller_ones() -> None:
    problem = Line(nn.Linear(1, 1), [0.1], fits=13)
    fit = run(problem, schedule(1))
    assert problem.sizes == [12, 12, 12]  # 100, 50 and 25 were one epoch's steps
    assert fit.facts["out_of_memory"] == 3


def test_fails_when_no_size_fits() -> None:
    with pytest.raises(RunFailed, match=r"out of memory .* Use a GPU with more memory"):
        run(Line(nn.Linear(1, 1), [0.1, 0.2], fits=0), schedule(3))


def test_a_loss_that_is_not_finite_fails_the_run() -> None:
    module = nn.Linear(1, 1)
    nn.init.constant_(module.weight, float("inf"))
    with pytest.raises(RunFailed, match=r"the loss became (inf|nan) in epoch 1\. Lower learning_rate"):
        run(Line(module, [0.1]), schedule(1))


def test_a_gradient_that_overflows_fails_the_run_though_the_loss_is_a_number() -> None:
    problem = Line(nn.Linear(1, 1), [0.1])
    problem.loss = lambda batch: problem.module.weight.sum() * 1e30  # its square is no number of float32
    with pytest.raises(RunFailed, match=r"a gradient in epoch 1 was too large for a number"):
        run(problem, schedule(1))


def test_other_errors_are_raised() -> None:
    problem = Line(nn.Linear(2, 1), [0.1])
    with pytest.raises(RuntimeError, match="shapes"):
        run(problem, schedule(1))


def test_resuming_keeps_a_best_epoch_from_before_the_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores: list[float | None] = [0.1, 0.9, 0.2, 0.3, 0.4]

    def go(checkpoint: Path) -> tuple[nn.Linear, list[dict[str, float]]]:
        torch.manual_seed(0)
        module = nn.Linear(1, 1)
        problem = Line(module, scores[resumed_from:])
        fit = fit_network(
            module, problem, schedule(5), {"g": torch.Generator()}, fingerprint="f", checkpoint=checkpoint
        )
        return module, fit.history

    resumed_from = 0
    whole, history = go(tmp_path / "whole")
    plain = loop.save_checkpoint

    def save_and_stop(path: Path, fingerprint: str, tensors: dict, state: dict) -> None:
        plain(path, fingerprint, tensors, state)
        if state["epoch"] == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
        patch.setattr(loop, "save_checkpoint", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "killed")
    resumed_from = 3
    resumed, resumed_history = go(tmp_path / "killed")
    assert torch.equal(resumed.weight, whole.weight)
    assert resumed_history == history


class Normalised(Line):
    """As `Line`, behind batch normalisation of inputs that grow: running statistics tell how far training went."""

    def loss(self, batch: int) -> Tensor:
        self.sizes.append(batch)
        return (self.module(torch.arange(float(batch))[:, None] * len(self.sizes)) - 3).square().mean()

    def score(self) -> float | None:
        self.seen.append(self.module[0].running_mean.clone())
        return self.scores[len(self.seen) - 1]


def normalised() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 1))


def test_keeps_the_best_epochs_running_statistics() -> None:
    problem = Normalised(normalised(), [0.1, 0.5, 0.2])
    run(problem, schedule(3))
    assert torch.equal(problem.module[0].running_mean, problem.seen[1])
    assert not torch.equal(problem.seen[1], problem.seen[2])
    assert int(problem.module[0].num_batches_tracked) == 2 * 3


@pytest.mark.parametrize("best", [1, 3], ids=["best before it", "best after it"])
def test_resuming_keeps_running_statistics(best: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores: list[float | None] = [0.9 if epoch == best else 0.1 for epoch in (1, 2, 3)]

    def go(checkpoint: Path, done: int) -> dict[str, Tensor]:
        problem = Normalised(normalised(), scores[done:])
        problem.sizes = [0] * 3 * done  # inputs go on growing where they were
        fit_network(
            problem.module, problem, schedule(3), {"g": torch.Generator()}, fingerprint="f", checkpoint=checkpoint
        )
        return problem.module.state_dict()

    whole = go(tmp_path / "whole", 0)
    plain = loop.save_checkpoint

    def save_and_stop(path: Path, fingerprint: str, tensors: dict, state: dict) -> None:
        plain(path, fingerprint, tensors, state)
        if state["epoch"] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
        patch.setattr(loop, "save_checkpoint", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "killed", 0)
    resumed = go(tmp_path / "killed", 2)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


def test_a_module_without_buffers_has_no_more_in_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(loop, "save_checkpoint", lambda path, who, tensors, state: saved.extend(tensors))
    problem = Line(nn.Linear(1, 1), [0.1])
    fit_network(problem.module, problem, schedule(1), {"g": torch.Generator()}, checkpoint=tmp_path / "c")
    assert saved == ["values", "first", "second", "best"]
