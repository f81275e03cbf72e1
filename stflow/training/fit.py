"""The training loop of a neural method: steps, selection, early stopping, checkpoints. Any network can use it.

What differs from method to method is a `Problem`: where batches come from, their loss, and the score that chooses the
epoch. The loop keeps the best epoch's weights in the module when it ends, and with them what its buffers held then:
the running statistics of batch normalisation are moved by training as weights are.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from stflow.device import is_out_of_memory, keep_freed_memory, ordered_sums
from stflow.errors import RunFailed
from stflow.io import reading
from stflow.models.base import Fit
from stflow.training.adam import FlatAdam
from stflow.training.checkpoint import (
    generator_states,
    load_checkpoint,
    restore_generators,
    save_checkpoint,
)
from stflow.training.stop import EarlyStopping
from stflow.training.stopwatch import Stopwatch

#: A checkpoint is written after an epoch that ends this long after the last one was written (s).
CHECKPOINT_EVERY_S = 5.0

#: A line is logged every so many epochs.
LOG_EVERY_EPOCHS = 10


class Problem(Protocol):
    """What is trained.

    Attributes
    ----------
    limit
        Most spots a batch may hold, None without a limit; halved when memory runs out.
    limit_of
        What holds that many, in words: ``a batch``, ``a region``.
    """

    limit: int | None
    limit_of: str

    def batches(self) -> Iterator[Any]:
        """The batches of one epoch, drawn from the generators given to `fit_network`."""

    def loss(self, batch: Any) -> Tensor:
        """Scalar loss of a batch, with gradient."""

    def score(self) -> float | None:
        """Selection score of the present weights, higher is better; None where nothing selects."""

    def shrink(self) -> bool:
        """Make later batches smaller; False if they cannot be."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast: settings of the loop.

    ``patience`` is in epochs; a score is taken every ``select_every`` epochs and after the last.
    """

    epochs: int
    patience: int
    select_every: int
    learning_rate: float
    clip_norm: float


def fit_network(
    module: nn.Module,
    problem: Problem,
    schedule: Schedule,
    generators: Mapping[str, torch.Generator],
    *,
    fingerprint: str = "",
    checkpoint: Path | None = None,
) -> Fit:
    """Train ``module`` and leave the best epoch's weights in it.

    Parameters
    ----------
    module
        The network, on its device.
    problem
        Batches, loss and score.
    schedule
        Epochs, patience, learning rate, clipping.
    generators
        Every generator that batches, loss and dropout draw from, by name; a checkpoint keeps their states.
    fingerprint
        What the training is; a checkpoint of another is not used.
    checkpoint
        Where to keep the state after epochs; a training killed at any moment resumes from it, to the same bits.

    Raises
    ------
    RunFailed
        The loss is no longer finite, or memory runs out with the smallest batches.
    """
    keep_freed_memory()
    training = _Training(module, problem, schedule, generators)
    with ordered_sums(training.adam.values.device.type):
        _run(training, fingerprint, checkpoint)
    return training.finish()


def _run(training: _Training, fingerprint: str, checkpoint: Path | None) -> None:
    """All epochs that are left."""
    schedule = training.schedule
    if checkpoint and (found := load_checkpoint(checkpoint, fingerprint)):
        with reading(checkpoint, "Delete it: the training then starts anew."):
            training.restore(*found)
        _log(f"resumes after epoch {training.epoch} of {schedule.epochs}")
    written = time.monotonic()
    while training.epoch < schedule.epochs and not training.is_over():
        training.run_epoch()
        if checkpoint and time.monotonic() - written >= CHECKPOINT_EVERY_S:
            with training.clock("checkpoints"):
                save_checkpoint(checkpoint, fingerprint, training.tensors(), training.state())
            written = time.monotonic()


class _Training:
    """The state of one training between two epochs."""

    def __init__(
        self,
        module: nn.Module,
        problem: Problem,
        schedule: Schedule,
        generators: Mapping[str, torch.Generator],
    ) -> None:
        self.module, self.problem, self.schedule, self.generators = module, problem, schedule, generators
        self.adam = FlatAdam(module, schedule.learning_rate, schedule.clip_norm)
        self.best = self.adam.values.clone()
        self.buffers = _buffers(module)
        self.best_buffers = {name: value.clone() for name, value in self.buffers.items()}
        self.stopping = EarlyStopping(schedule.patience)
        self.epoch = self.backed_off = 0
        self.history: list[dict[str, float]] = []
        self.clock = Stopwatch()

    def is_over(self) -> bool:
        return self.stopping.best_epoch > 0 and self.stopping.is_over(self.epoch)

    def run_epoch(self) -> None:
        self.epoch += 1
        with self.clock("steps"):
            loss = self._steps()
        row: dict[str, float] = {
            "epoch": self.epoch,
            "loss": loss,
            "learning_rate": self.schedule.learning_rate,
        }
        is_last = self.epoch == self.schedule.epochs
        if is_last or self.epoch % self.schedule.select_every == 0:
            self.module.eval()
            with self.clock("selection"):
                score = self.problem.score()
            if score is not None:
                row["score"] = score
                if self.stopping.update(self.epoch, score):
                    self.best.copy_(self.adam.values)
                    _copy(self.buffers, self.best_buffers)
        self.history.append(row)
        if is_last or self.epoch == 1 or self.epoch % LOG_EVERY_EPOCHS == 0:
            shown = f", score {row['score']:.4f}" if "score" in row else ""
            _log(f"epoch {self.epoch} of {self.schedule.epochs}: loss {loss:.4f}{shown}")

    def _steps(self) -> float:
        """One epoch of steps; the mean loss."""
        self.module.train()
        losses, backed_off = [], self.backed_off
        for batch in self.problem.batches():
            self.adam.zero_grad()
            try:
                loss = self.problem.loss(batch)
                loss.backward()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._back_off()
                continue
            self.adam.step()
            losses.append(loss.detach())
        if not losses and self.backed_off > backed_off:
            # Few steps an epoch, and none fitted: again with smaller ones, until the smallest fails.
            return self._steps()
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise RunFailed(
                f"the loss became {mean} in epoch {self.epoch}. Lower learning_rate, or standardise the features."
            )
        if not math.isfinite(float(self.adam.norms)):
            raise RunFailed(
                f"a gradient in epoch {self.epoch} was too large for a number, and nothing is learned from it. "
                "Standardise the features, or lower learning_rate."
            )
        return mean

    def _back_off(self) -> None:
        """Leave out the step that did not fit, and make the next ones smaller."""
        if not self.problem.shrink():
            raise RunFailed(
                f"out of memory with {self.problem.limit} spots in {self.problem.limit_of}, the fewest tried. "
                "Use a GPU with more memory, or set a smaller network."
            )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.backed_off += 1
        _log(
            f"out of memory: a step is left out, and from now on {self.problem.limit_of} has at most "
            f"{self.problem.limit} spots"
        )

    def tensors(self) -> dict[str, Tensor]:
        return {
            **self.adam.tensors(),
            "best": self.best,
            **{f"buffers.{name}": value for name, value in self.buffers.items()},
            **{f"best_buffers.{name}": value for name, value in self.best_buffers.items()},
        }

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "steps": self.adam.steps,
            "best_score": self.stopping.best_score if self.stopping.best_epoch else None,
            "best_epoch": self.stopping.best_epoch,
            "limit": self.problem.limit,
            "backed_off": self.backed_off,
            "history": self.history,
            "generators": generator_states(self.generators),
        }

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
        self.epoch, self.adam.steps = state["epoch"], state["steps"]
        self.problem.limit, self.backed_off = state["limit"], state["backed_off"]
        self.history = list(state["history"])
        if state["best_epoch"]:
            self.stopping.best_score, self.stopping.best_epoch = state["best_score"], state["best_epoch"]
        restore_generators(self.generators, state["generators"])

    def finish(self) -> Fit:
        if self.stopping.best_epoch:
            self.adam.values.copy_(self.best)
            _copy(self.best_buffers, self.buffers)
        self.module.eval()
        facts: dict[str, object] = {
            "epochs": self.epoch,
            "steps": self.adam.steps,
            "best_epoch": self.stopping.best_epoch or self.epoch,
            "best_score": self.stopping.best_score if self.stopping.best_epoch else None,
            "spots_limit": self.problem.limit,
            "out_of_memory": self.backed_off,
        }
        _log(f"stopped after epoch {self.epoch}; epoch {facts['best_epoch']} is kept")
        return Fit(self.history, facts, self.clock.rounded())


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    """What a model file holds of a module beside its parameters, by name; the tensors themselves."""
    kept = module.state_dict().keys()
    return {name: value for name, value in module.named_buffers() if name in kept}


def _copy(source: Mapping[str, Tensor], to: Mapping[str, Tensor]) -> None:
    for name, value in to.items():
        value.copy_(source[name])


def _log(message: str) -> None:
    print(f"stflow train: {message}", file=sys.stderr, flush=True)
