"""BLEEP at work: the contrastive loss, the reference, and whether anything was learned."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stflow import tensors
from stflow.data.slide import Slide
from stflow.models.base import Fit
from stflow.models.bleep import BLEEP
from stflow.models.bleep.network import Heads, contrastive_loss, uniform_loss
from stflow.models.bleep.retrieval import Reference
from stflow.models.network.spots import SpotBatches, SpotLearner
from stflow.seeds import torch_generator

#: How far below that of equal embeddings a loss must be to say that something was learned, as a share.
_BELOW = 1e-3
_EMBEDDINGS, _EXPRESSION = "reference.embeddings", "reference.expression"


class RetrievalLearner(SpotLearner):
    """Two heads, and the training spots that predictions are made of.

    Attributes
    ----------
    expression
        (N, G) float32 log1p counts of the training spots.
    embeddings
        (N, E) float32 embeddings of these, by the present weights.
    """

    method: BLEEP
    module: Heads
    expression: np.ndarray
    embeddings: np.ndarray
    _reference: Reference | None = None
    _device: str = ""

    def prepare(self, train: Sequence[Slide], device: str) -> None:
        """The reference is all spots of the training slides, while epochs are compared as in the end."""
        self._device = device
        self.expression = np.concatenate([slide.expression(self.task.genes) for slide in train])

    def problem(
        self, train: Sequence[Slide], select: Sequence[Slide], generator: torch.Generator, device: str
    ) -> SpotBatches:
        """Batches of spots, and a score for which the reference is embedded anew."""
        return RetrievalBatches(self, train, select, generator, device)

    def loss(self, inputs: Tensor, expression: Tensor, generator: torch.Generator) -> Tensor:
        """The contrastive loss of a batch."""
        del generator
        image, spot = self.module(inputs, expression)
        return contrastive_loss(image, spot, self.method.settings.temperature)

    def answer(self, inputs: Tensor) -> Tensor:
        """(B, G) log1p counts, retrieved."""
        s = self.method.settings
        return self.reference(str(inputs.device)).predict(self.module.image(inputs), s.retrieved, s.rule)

    def reference(self, device: str) -> Reference:
        """The training spots, on a device."""
        if self._reference is None or self._reference.expression.device != torch.device(device):
            self._reference = Reference(self.embeddings, self.expression, device)
        return self._reference

    @torch.inference_mode()
    def embed_reference(self) -> None:
        """Embed the expression of the training spots by the present weights."""
        size = self.method.settings.batch_spots * self.predicted_batches
        parts = tensors.of(self.expression, self._device).split(size)
        self.embeddings = torch.cat([self.module.spot(part) for part in parts]).cpu().numpy()
        self._reference = None

    def fit(
        self, train: Sequence[Slide], select: Sequence[Slide], *, seed: int, checkpoint: Path | None, device: str
    ) -> Fit:
        """As any learner; then the reference is embedded by the kept weights, and the loss compared to no learning."""
        fit = super().fit(train, select, seed=seed, checkpoint=checkpoint, device=device)
        self.embed_reference()
        limit = fit.facts["spots_limit"]
        assert limit is None or isinstance(limit, int)
        found = self.contrast(train, "train", seed, limit)
        loss, uniform = found["contrast_train"], found["uniform_train"]
        if collapsed := not loss < uniform * (1 - _BELOW):
            print(
                f"stflow train: bleep has learned nothing yet: its loss on the training spots is {loss:.3f}, and "
                f"{uniform:.3f} where all embeddings are the same. Change learning_rate or batch_spots, or set "
                "standardise_features.",
                file=sys.stderr,
                flush=True,
            )
        if select:
            found |= self.contrast(select, "select", seed, limit)
        fit.facts |= {**found, "collapsed": collapsed}
        return fit

    @torch.inference_mode()
    def contrast(self, slides: Sequence[Slide], name: str, seed: int, limit: int | None) -> dict[str, float]:
        """The loss on random batches of spots without dropout, and what it would be if all embeddings were the same.

        A batch's loss depends on its size, so both are means over the same batches, of ``limit`` spots at most.
        """
        batches = SpotBatches(self, slides, [], torch_generator(seed, *self.task.names, "contrast", name), self._device)
        batches.limit = limit
        sizes, losses = [], []
        for batch in batches.batches():
            losses.append(batches.loss(batch))
            sizes.append(len(batch))
        return {
            f"contrast_{name}": float(torch.stack(losses).mean()),
            f"uniform_{name}": float(np.mean([uniform_loss(size) for size in sizes])),
        }

    def extra_state(self) -> dict[str, np.ndarray]:
        """The reference."""
        return {_EMBEDDINGS: self.embeddings, _EXPRESSION: self.expression}

    def load_extra_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `extra_state`."""
        self.embeddings, self.expression = state[_EMBEDDINGS], state[_EXPRESSION]


class RetrievalBatches(SpotBatches):
    """Batches of spots whose score is of what is retrieved."""

    learner: RetrievalLearner

    def score(self) -> float | None:
        """Pearson's r over the pooled spots of the select slides, retrieved from the training spots."""
        if self.select is None:
            return None
        self.learner.embed_reference()
        return super().score()
