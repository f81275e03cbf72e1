"""Training and prediction of a network that looks at many spots of a slide together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stflow import tensors
from stflow.data.slide import Slide
from stflow.models.network import SectionNetwork
from stflow.models.network.learner import Learner
from stflow.models.network.section import Section, SpotSet, draw_region
from stflow.training.score import mean_pearson

#: Fewest spots that a region is cut down to when memory runs out.
FEWEST_SPOTS = 256

#: Regions of one step: what is seen of each, and its (M, G) log1p counts.
Batch = list[tuple[SpotSet, Tensor]]


class SectionLearner(Learner):
    """A `SectionNetwork` with its regions. Methods with other inputs, loss, answer or samples override these four."""

    method: SectionNetwork

    def section(self, slide: Slide, device: str) -> SpotSet:
        """What is seen of a slide, made once: here features and places."""
        return Section(tensors.of(self.features(slide), device), torch.from_numpy(slide.centres_um))

    def loss(self, region: SpotSet, expression: Tensor, generator: torch.Generator) -> Tensor:
        """Scalar loss of a region with (M, G) log1p counts; ``generator`` is for augmentation."""
        del generator
        return F.mse_loss(self.module(region), expression)

    def answer(self, section: SpotSet) -> Tensor:
        """(N, G) predicted log1p counts of all spots of a slide."""
        answer: Tensor = self.module(section)
        return answer

    def draw(self, places: Tensor, generator: torch.Generator, limit: int | None) -> Tensor:
        """Rows of the spots of a training sample, of a slide with (N, 2) places, um; at most ``limit``."""
        return draw_region(places, generator, limit)

    def problem(
        self, train: Sequence[Slide], select: Sequence[Slide], generator: torch.Generator, device: str
    ) -> RegionBatches:
        """Regions of all training slides."""
        return RegionBatches(self, train, select, generator, device)

    def predict(self, slide: Slide, device: str) -> np.ndarray:
        """(N, G) float32 of all spots at once."""
        self.module.to(device).eval()
        return self.predicted(self.section(slide, device))

    @torch.inference_mode()
    def predicted(self, section: SpotSet) -> np.ndarray:
        """(N, G) float32 of a section."""
        return np.asarray(self.answer(section).float().cpu().numpy())


class RegionBatches:
    """Contiguous regions of slides, as a `stflow.training.fit.Problem`; those of a step are weighted by their spots."""

    limit_of = "a region"

    def __init__(
        self,
        learner: SectionLearner,
        train: Sequence[Slide],
        select: Sequence[Slide],
        generator: torch.Generator,
        device: str,
    ) -> None:
        self.learner, self.generator = learner, generator
        self.limit = learner.method.settings.region_spots
        genes = learner.task.genes
        sections: dict[int, SpotSet] = {}  # paper protocol: the same slide may be on several lists
        for slide in (*train, *select):
            if id(slide) not in sections:
                sections[id(slide)] = learner.section(slide, device)
        self.train = [(sections[id(slide)], tensors.of(slide.expression(genes), device)) for slide in train]
        self.select = [sections[id(slide)] for slide in select]
        self.measured = np.concatenate([slide.expression(genes) for slide in select]) if select else np.zeros(0)

    def batches(self) -> Iterator[Batch]:
        """One epoch: ``regions_per_slide`` regions of every slide in random order, ``regions_per_step`` a step."""
        s = self.learner.method.settings
        order = torch.randperm(len(self.train) * s.regions_per_slide, generator=self.generator) % len(self.train)
        for step in order.split(s.regions_per_step):
            yield [self._region(*self.train[slide]) for slide in step.tolist()]

    def _region(self, section: SpotSet, expression: Tensor) -> tuple[SpotSet, Tensor]:
        rows = self.learner.draw(section.places, self.generator, self.limit)
        return section.region(rows), expression[rows.to(expression.device)]

    def loss(self, batch: Batch) -> Tensor:
        """The learner's loss, averaged over the regions by their spots."""
        n_spots = sum(len(expression) for _, expression in batch)
        losses = [
            self.learner.loss(region, expression, self.generator) * (len(expression) / n_spots)
            for region, expression in batch
        ]
        return torch.stack(losses).sum()

    def score(self) -> float | None:
        """Pearson's r over the pooled spots of the select slides."""
        if not self.select:
            return None
        return mean_pearson(self.measured, np.concatenate([self.learner.predicted(section) for section in self.select]))

    def shrink(self) -> bool:
        """Halve the most spots that a region may hold."""
        largest = max(len(section.places) for section, _ in self.train)
        now = min(largest, self.limit or largest)
        if now <= FEWEST_SPOTS:
            self.limit = now
            return False
        self.limit = max(now // 2, FEWEST_SPOTS)
        return True
