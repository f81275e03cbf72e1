"""Training and prediction of a network that looks at one spot at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stflow import tensors
from stflow.data.slide import Slide
from stflow.device import is_out_of_memory
from stflow.models.network import SpotNetwork
from stflow.models.network.learner import Learner
from stflow.training.score import mean_pearson

#: Fewest spots that a batch is cut down to when memory runs out.
FEWEST_SPOTS = 8


class SpotInputs(Protocol):
    """What a network reads of many spots."""

    def __len__(self) -> int: ...

    def take(self, rows: Tensor) -> Any:
        """Of the spots ``rows``, (B,) int64 on the CPU, what the network takes, on its device."""


class InMemory:
    """Inputs that are one tensor with a row a spot."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Tensor) -> Tensor:
        """The rows of these spots."""
        return self.values[rows.to(self.values.device)]


class SpotLearner(Learner):
    """A `SpotNetwork` with its batches. Methods with other inputs, loss or answer override these three."""

    method: SpotNetwork
    #: Spots that are predicted at once, as a multiple of a training batch: without gradients they need less.
    predicted_batches: ClassVar[int] = 8

    def inputs(self, slides: Sequence[Slide], device: str) -> SpotInputs:
        """What is read of all spots of ``slides``, one slide after the other: their features."""
        return InMemory(tensors.of(np.concatenate([self.features(slide) for slide in slides]), device))

    def loss(self, inputs: Any, expression: Tensor, generator: torch.Generator) -> Tensor:
        """Scalar loss of B spots with (B, G) log1p counts; ``generator`` is for augmentation."""
        del generator
        return F.mse_loss(self.module(inputs), expression)

    def answer(self, inputs: Any) -> Tensor:
        """(B, G) predicted log1p counts."""
        answer: Tensor = self.module(inputs)
        return answer

    def problem(
        self, train: Sequence[Slide], select: Sequence[Slide], generator: torch.Generator, device: str
    ) -> SpotBatches:
        """Batches of ``settings.batch_spots`` spots of all training slides."""
        return SpotBatches(self, train, select, generator, device)

    def predict(self, slide: Slide, device: str) -> np.ndarray:
        """(N, G) float32, batch by batch."""
        self.module.to(device).eval()
        return self.answers(self.inputs([slide], device), self.method.settings.batch_spots)

    @torch.inference_mode()
    def answers(self, inputs: SpotInputs, batch_spots: int) -> np.ndarray:
        """(N, G) float32 of all spots; half as many spots at once each time that memory runs out."""
        size, start, parts = batch_spots * self.predicted_batches, 0, []
        while start < len(inputs):
            try:
                rows = torch.arange(start, min(start + size, len(inputs)))
                parts.append(self.answer(inputs.take(rows)).float().cpu().numpy())
            except (RuntimeError, MemoryError) as error:
                if size <= FEWEST_SPOTS or not is_out_of_memory(error):
                    raise
                size = max(size // 2, FEWEST_SPOTS)
                continue
            start += len(rows)
        return np.concatenate(parts) if parts else np.zeros((0, len(self.task.genes)), dtype=np.float32)


class SpotBatches:
    """Batches of spots drawn from all training slides, as a `stflow.training.fit.Problem`.

    An epoch takes every spot once. Batches are of nearly equal size, at most ``batch_spots``, so that none is a
    remainder of one or two spots.
    """

    limit_of = "a batch"

    def __init__(
        self,
        learner: SpotLearner,
        train: Sequence[Slide],
        select: Sequence[Slide],
        generator: torch.Generator,
        device: str,
    ) -> None:
        self.learner, self.generator = learner, generator
        self.limit: int | None = None
        genes = learner.task.genes
        self.inputs = learner.inputs(train, device)
        self.expression = tensors.of(np.concatenate([slide.expression(genes) for slide in train]), device)
        self.select = learner.inputs(select, device) if select else None
        self.measured = np.concatenate([slide.expression(genes) for slide in select]) if select else np.zeros(0)

    @property
    def batch_spots(self) -> int:
        """Spots of a batch at most, now."""
        asked = self.learner.method.settings.batch_spots
        return asked if self.limit is None else min(asked, self.limit)

    def batches(self) -> Iterator[Tensor]:
        """One epoch: rows of the spots of every batch. Batches that are yet to come shrink with the limit."""
        rest = torch.randperm(len(self.inputs), generator=self.generator)
        while len(rest):
            n_batches = -(-len(rest) // self.batch_spots)
            size = -(-len(rest) // n_batches)
            yield rest[:size]
            rest = rest[size:]

    def loss(self, batch: Tensor) -> Tensor:
        """The learner's loss of these spots."""
        expression = self.expression[batch.to(self.expression.device)]
        return self.learner.loss(self.inputs.take(batch), expression, self.generator)

    def score(self) -> float | None:
        """Pearson's r over the pooled spots of the select slides."""
        if self.select is None:
            return None
        return mean_pearson(self.measured, self.learner.answers(self.select, self.batch_spots))

    def shrink(self) -> bool:
        """Halve the most spots that a batch may hold."""
        now = min(self.batch_spots, len(self.inputs))
        if now <= FEWEST_SPOTS:
            self.limit = now
            return False
        self.limit = max(now // 2, FEWEST_SPOTS)
        return True
