"""Algorithm 1 of the paper as a training problem: contiguous regions of slides, their loss, and the selection score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stflow import tensors
from stflow.data.slide import Slide
from stflow.flow.path import interpolate
from stflow.models.stflow.graph import Graph, join
from stflow.models.stflow.section import Section
from stflow.seeds import torch_generator
from stflow.training.score import mean_pearson

if TYPE_CHECKING:
    from stflow.models.stflow.learner import Learner

#: Fewest spots that a region is cut down to when memory runs out.
FEWEST_SPOTS = 256


@dataclass(frozen=True, slots=True)
class Batch:
    """M spots of one or several regions: everything one step of algorithm 1 needs."""

    features: Tensor
    graph: Graph
    x_0: Tensor
    x_1: Tensor
    t: Tensor


@dataclass(frozen=True, slots=True)
class Measured:
    """A section with its (N, G) log1p expression, on the device."""

    section: Section
    expression: Tensor


class Regions:
    """Algorithm 1 as a `stflow.training.fit.Problem`.

    A sample is a contiguous region: a random spot and its nearest floor(u N) spots, u ~ U(0, 1), at least two and at
    most ``region_spots``.
    Several regions of a step are concatenated, never padded.
    """

    limit_of = "a region"

    def __init__(
        self,
        learner: Learner,
        train: Sequence[Slide],
        select: Sequence[Slide],
        generator: torch.Generator,
        seed: int,
        device: str,
    ) -> None:
        self.learner, self.generator, self.seed, self.device = learner, generator, seed, device
        self.limit = learner.settings.region_spots
        made: dict[int, Measured] = {}  # paper protocol: the same slide may be on several lists
        for slide in (*train, *select):
            if id(slide) not in made:
                made[id(slide)] = self._measured(slide)
        self.train = [made[id(slide)] for slide in train]
        self.select = [made[id(slide)] for slide in select]

    def _measured(self, slide: Slide) -> Measured:
        section = self.learner.section(slide, self.device)
        expression = slide.expression(self.learner.task.genes)[section.order]
        return Measured(section, tensors.of(expression, self.device))

    def batches(self) -> Iterator[Batch]:
        """One epoch: ``regions_per_slide`` regions of every slide in random order, ``regions_per_step`` a batch."""
        s = self.learner.settings
        order = torch.randperm(len(self.train) * s.regions_per_slide, generator=self.generator) % len(self.train)
        for step in order.split(s.regions_per_step):
            yield _join([self._region(self.train[slide]) for slide in step.tolist()])

    def _region(self, measured: Measured) -> Batch:
        n = len(measured.section)
        u, t = torch.rand(2, generator=self.generator).tolist()
        m = max(int(u * n), min(2, n))
        if self.limit is not None:
            m = min(m, self.limit)
        spots = measured.section.region(int(torch.randint(n, (1,), generator=self.generator)), m)
        return self.sample(measured, spots, t if self.learner.settings.flow_time == "uniform" else 0.0)

    def sample(self, measured: Measured, spots: Tensor, t: float) -> Batch:
        """A training sample of a section's spots, (M,) rows on the CPU, at time ``t``; its noise is drawn here."""
        section, s = measured.section, self.learner.settings
        if s.region_graph == "region":
            graph = self.learner.geometry.graph(section.places[spots].numpy()).to(self.device)
        else:
            graph = section.graph.region(spots.to(self.device))
        spots = spots.to(self.device)
        x_1 = measured.expression[spots]
        x_0 = self.learner.prior.sample(tuple(x_1.shape), self.generator).to(self.device)
        return Batch(section.features[spots], graph, x_0, x_1, x_1.new_full((len(x_1), 1), t))

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error of the guess, over spots and genes."""
        x_t = interpolate(batch.x_0, batch.x_1, batch.t)
        guess = self.learner.denoiser(batch.features, x_t, batch.t, batch.graph)
        return (guess - batch.x_1).square().mean()

    def score(self) -> float | None:
        """Pearson's r over the pooled spots of the select slides, from the same noise at every epoch."""
        if not self.select:
            return None
        predicted = []
        for section in (measured.section for measured in self.select):
            generator = torch_generator(self.seed, *self.learner.task.names, section.name, "select")
            predicted.append(next(self.learner.draws(section, generator))[section.order])
        expression = np.concatenate([measured.expression.cpu().numpy() for measured in self.select])
        return mean_pearson(expression, np.concatenate(predicted))

    def shrink(self) -> bool:
        """Halve the most spots a region may hold."""
        largest = max(len(measured.section) for measured in self.train)
        now = min(largest, self.limit or largest)
        if now <= FEWEST_SPOTS:
            self.limit = now
            return False
        self.limit = max(now // 2, FEWEST_SPOTS)
        return True


def _join(parts: Sequence[Batch]) -> Batch:
    """Regions as one flat batch."""
    if len(parts) == 1:
        return parts[0]
    return Batch(
        torch.cat([part.features for part in parts]),
        join([part.graph for part in parts]),
        torch.cat([part.x_0 for part in parts]),
        torch.cat([part.x_1 for part in parts]),
        torch.cat([part.t for part in parts]),
    )
