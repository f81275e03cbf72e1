"""Methods that are a trained network: what is left to say of one is its settings and its network.

`SpotNetwork` looks at one spot at a time and is trained on batches of spots; `SectionNetwork` looks at all spots of a
slide together and is trained on contiguous regions, as STFlow is. Both are trained by `stflow.training.fit`: Adam,
clipping, the best epoch on the select slides, checkpoints, smaller batches when memory runs out.

Light to import; torch loads when a network is made. Dropout and whatever else draws from torch's own generator is
seeded by the run's names and kept in checkpoints, so ordinary modules of torch will do.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from stflow.data.slide import Slide
from stflow.models.base import Fit, Method, SettingsBase, Task
from stflow.training.settings import RegionTraining, SpotTraining, TrainingSettings

if TYPE_CHECKING:
    from torch import nn

    from stflow.models.network.learner import Learner


class NetworkMethod(Method):
    """Base of `SpotNetwork` and `SectionNetwork`."""

    Settings: ClassVar[type[SettingsBase]] = TrainingSettings
    needs_gpu = True
    selects = True

    if TYPE_CHECKING:
        settings: TrainingSettings

    def __init__(self, settings: SettingsBase, task: Task) -> None:
        super().__init__(settings, task)
        self._learner: Learner | None = None

    @abstractmethod
    def network(self, n_features: int, n_genes: int) -> nn.Module:
        """The network, with initial weights from torch's own generator, which the caller has seeded.

        ``n_features`` is 0 where the method reads tiles alone.
        """

    @abstractmethod
    def learner(self, n_features: int, seed: int) -> Learner:
        """The network with what is around it: what it reads of a slide, its loss, its answer."""

    def fit(
        self,
        train: Sequence[Slide],
        select: Sequence[Slide],
        *,
        seed: int,
        checkpoint: Path | None = None,
        device: str = "cpu",
    ) -> Fit:
        """Train on ``train`` and keep the best epoch on ``select``; see `stflow.training.fit`.

        Raises
        ------
        RunFailed
            The loss diverged, or memory ran out with the smallest batches.
        """
        n_features = train[0].features[self.task.encoder].shape[1] if self.task.encoder in train[0].features else 0
        start = time.perf_counter()
        self._learner = self.learner(n_features, seed)
        made = time.perf_counter() - start  # the first import of torch is most of it
        fit = self._learner.fit(train, select, seed=seed, checkpoint=checkpoint, device=device)
        fit.seconds["imports"] = round(made, 3)
        return fit

    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        """(N, G) float32 predicted log1p counts."""
        if self._learner is None:
            raise RuntimeError(f"{self.name}.predict needs a fitted or loaded model")
        return self._learner.predict(slide, device)

    def state(self) -> Mapping[str, np.ndarray]:
        """Weights of the network, and the features' mean and scale."""
        return self._learner.state() if self._learner else {}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of ``state``."""
        self._learner = self.learner(len(state["features.mean"]), 0)
        self._learner.load_state(state)

    @classmethod
    def n_params(cls, settings: SettingsBase, n_features: int, n_genes: int) -> int | None:
        """Trainable parameters of the network."""
        import torch

        method = cls(settings, Task((), "", ()))
        with torch.device("meta"):
            return sum(p.numel() for p in method.network(n_features, n_genes).parameters() if p.requires_grad)


class SpotNetwork(NetworkMethod):
    """A network from (B, D) features of B spots to their (B, G) log1p counts, trained by squared error."""

    Settings: ClassVar[type[SettingsBase]] = SpotTraining

    if TYPE_CHECKING:
        settings: SpotTraining

    def learner(self, n_features: int, seed: int) -> Learner:
        """Batches of spots; override for other inputs or another loss."""
        from stflow.models.network.spots import SpotLearner

        return SpotLearner(self, n_features, seed)


class SectionNetwork(NetworkMethod):
    """A network from a `stflow.models.network.section.Section` of N spots to their (N, G) log1p counts."""

    Settings: ClassVar[type[SettingsBase]] = RegionTraining

    if TYPE_CHECKING:
        settings: RegionTraining

    def learner(self, n_features: int, seed: int) -> Learner:
        """Contiguous regions; override for other inputs or another loss."""
        from stflow.models.network.regions import SectionLearner

        return SectionLearner(self, n_features, seed)
