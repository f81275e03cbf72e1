"""A network with what is around it, whatever its batches are: seeds, scaling, training, the arrays of a model file."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from stflow.data.slide import Slide
from stflow.models.base import Fit
from stflow.models.network import NetworkMethod
from stflow.models.scaling import Scaling
from stflow.seeds import entropy, torch_generator
from stflow.training.fingerprint import fingerprint
from stflow.training.fit import Problem, Schedule, fit_network
from stflow.training.stopwatch import Stopwatch

_PREFIX = "network."


class Learner(ABC):
    """Base of learners.

    Parameters
    ----------
    method
        Whose network it is.
    n_features
        Size D of the features; 0 where the method reads tiles alone.
    seed
        Seed of the initial weights.

    Attributes
    ----------
    module
        The network.
    scaling
        Of the features; measured on the training slides where the settings say so.
    """

    def __init__(self, method: NetworkMethod, n_features: int, seed: int) -> None:
        self.method, self.task = method, method.task
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(entropy(seed, *method.task.names, "weights"))
            self.module = method.network(n_features, len(method.task.genes))
        self.scaling = Scaling.none(n_features)

    @abstractmethod
    def problem(
        self, train: Sequence[Slide], select: Sequence[Slide], generator: torch.Generator, device: str
    ) -> Problem:
        """The training: batches drawn from ``generator``, loss, score."""

    @abstractmethod
    def predict(self, slide: Slide, device: str) -> np.ndarray:
        """(N, G) float32 predicted log1p counts."""

    def prepare(self, train: Sequence[Slide], device: str) -> None:
        """What is set from the training slides before the first step; the module is on its device. Nothing here."""
        del train, device

    def extra_state(self) -> dict[str, np.ndarray]:
        """What is learned beside weights and scaling, as named arrays; nothing here."""
        return {}

    def load_extra_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `extra_state`."""
        del state

    def fit(
        self, train: Sequence[Slide], select: Sequence[Slide], *, seed: int, checkpoint: Path | None, device: str
    ) -> Fit:
        """Train on ``train``, keep the best epoch on ``select``; see `stflow.training.fit`."""
        s, names, clock = self.method.settings, self.task.names, Stopwatch()
        with own_generators(device, entropy(seed, *names, "dropout")) as generators:
            with clock("preparation"):
                if s.standardise_features and len(self.scaling.mean):
                    self.scaling = self.measured([slide.features[self.task.encoder] for slide in train])
                generators["batches"] = torch_generator(seed, *names, "batches")
                self.module.to(device)
                self.prepare(train, device)
                problem = self.problem(train, select, generators["batches"], device)
                schedule = Schedule(s.epochs, s.patience, s.select_every, s.learning_rate, s.clip_norm)
                who = "" if checkpoint is None else fingerprint(self.method, train, select, seed, device)
            fit = fit_network(self.module, problem, schedule, generators, fingerprint=who, checkpoint=checkpoint)
        fit.seconds |= clock.rounded()
        fit.facts["n_params"] = sum(p.numel() for p in self.module.parameters() if p.requires_grad)
        return fit

    def measured(self, features: Sequence[np.ndarray]) -> Scaling:
        """The scaling by (N, D) features of the training slides."""
        return Scaling.measured(features)

    def features(self, slide: Slide) -> np.ndarray:
        """(N, D) float32 features as the network takes them."""
        return self.scaling.apply(slide.features[self.task.encoder])

    def state(self) -> dict[str, np.ndarray]:
        """Everything learned, as named arrays."""
        arrays = {_PREFIX + name: value.cpu().numpy() for name, value in self.module.state_dict().items()}
        return {**arrays, **self.scaling.state(), **self.extra_state()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `state`."""
        self.scaling = Scaling.of_state(state)
        self.load_extra_state(state)
        weights = {
            name.removeprefix(_PREFIX): torch.from_numpy(value)
            for name, value in state.items()
            if name.startswith(_PREFIX)
        }
        self.module.load_state_dict(weights)


@contextlib.contextmanager
def own_generators(device: str, seed: int) -> Iterator[dict[str, torch.Generator]]:
    """torch's own generators, seeded, by name; as they were when the block ends.

    Ordinary dropout draws from them. A checkpoint that keeps their states resumes to the same bits.
    """
    gpus = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        generators = {"torch": torch.default_generator}
        if gpus:
            generators["cuda"] = torch.cuda.default_generators[gpus[0]]
        for generator in generators.values():
            generator.manual_seed(seed)
        yield generators
