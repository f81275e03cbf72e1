"""STFlow at work: slides as tensors, the training problem (algorithm 1), prediction (algorithm 2), and its state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stflow.data.slide import Slide
from stflow.flow.path import interpolate
from stflow.flow.prior import Prior
from stflow.flow.sampler import sample, times
from stflow.io import sha256_json
from stflow.models.base import Fit, Task
from stflow.models.stflow import STFlowSettings
from stflow.models.stflow.architectures import build
from stflow.models.stflow.graph import Graph, join, nearest_spots
from stflow.provenance import code_hash
from stflow.seeds import entropy, torch_generator
from stflow.training.fit import Schedule, fit_network
from stflow.training.inputs import sha256_slide
from stflow.training.score import mean_pearson

#: Fewest spots that a region is cut down to when memory runs out.
FEWEST_SPOTS = 256

_PREFIX = "denoiser."


@dataclass(frozen=True, slots=True)
class Section:
    """One slide on the device: (N, D) features, its graph, (N, 2) centres in um, and (N, G) log1p expression."""

    name: str
    features: Tensor
    graph: Graph
    centres: Tensor
    expression: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """M spots of one or several regions: everything one step of algorithm 1 needs."""

    features: Tensor
    graph: Graph
    x_0: Tensor
    x_1: Tensor
    t: Tensor


class Learner:
    """A denoiser with what is around it: scaling of features, prior, sampler.

    Parameters
    ----------
    settings, task
        Of the method.
    n_features
        Size D of the features.
    seed
        Seed of the initial weights.
    """

    def __init__(self, settings: STFlowSettings, task: Task, n_features: int, seed: int) -> None:
        self.settings, self.task = settings, task
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(entropy(seed, *task.names, "weights"))
            self.denoiser = build(settings, n_features, len(task.genes))
        self.prior = Prior(
            settings.prior,
            settings.prior_mu,
            settings.prior_phi,
            settings.prior_pi,
            settings.prior_mean,
            settings.prior_transform,
        )
        self.times = times(settings.steps, settings.times)
        self.mean = np.zeros(n_features, dtype=np.float32)
        self.scale = np.ones(n_features, dtype=np.float32)

    def fit(
        self, train: Sequence[Slide], select: Sequence[Slide], *, seed: int, checkpoint: Path | None, device: str
    ) -> Fit:
        """Train on ``train``, keep the best epoch on ``select``; see `stflow.training.fit`."""
        s, names = self.settings, self.task.names
        if s.standardise_features:
            self._measure_features(train)
        generators = {
            "regions": torch_generator(seed, *names, "regions"),
            "dropout": torch_generator(seed, *names, "dropout"),
        }
        self.denoiser.to(device).use_generator(generators["dropout"])
        problem = Regions(self, train, select, generators["regions"], seed, device)
        schedule = Schedule(s.epochs, s.patience, s.select_every, s.learning_rate, s.clip_norm)
        fingerprint = ""
        if checkpoint is not None:
            fingerprint = self._fingerprint(train, select, seed, device)
        fit = fit_network(self.denoiser, problem, schedule, generators, fingerprint=fingerprint, checkpoint=checkpoint)
        fit.facts["n_params"] = sum(p.numel() for p in self.denoiser.parameters())
        return fit

    def sample(self, slide: Slide, *, seed: int, device: str) -> Iterator[np.ndarray]:
        """(N, G) float32 log1p expression of all spots at once, draw after draw without end."""
        self.denoiser.to(device).eval()
        generator = torch_generator(seed, *self.task.names, slide.name, "sample")
        return self.draws(self.features(slide, device), self.graph(slide, device), generator)

    def generate(self, features: Tensor, graph: Graph, generator: torch.Generator) -> np.ndarray:
        """Algorithm 2 from one draw of ``generator``; see `draws`."""
        return next(self.draws(features, graph, generator))

    @torch.inference_mode()
    def draws(self, features: Tensor, graph: Graph, generator: torch.Generator) -> Iterator[np.ndarray]:
        """Algorithm 2 from one draw of ``generator`` after the other, for features and graph on the device.

        What depends on the slide alone is computed once, whatever the number of draws and steps.
        """
        encoded = self.denoiser.encode(features, graph)

        def denoise(x_t: Tensor, t: float) -> Tensor:
            return self.denoiser.denoise(encoded, x_t, torch.full((1, 1), t, device=x_t.device))

        while True:
            x_0 = self.prior.sample((len(features), len(self.task.genes)), generator).to(features.device)
            yield sample(denoise, x_0, self.times).cpu().numpy()

    def features(self, slide: Slide, device: str) -> Tensor:
        """(N, D) features as the network takes them."""
        values = np.asarray(slide.features[self.task.encoder], dtype=np.float32)
        return torch.from_numpy((values - self.mean) / self.scale).to(device)

    def graph(self, slide: Slide, device: str) -> Graph:
        """The slide's neighbourhood graph."""
        s = self.settings
        graph = Graph.of(slide.centres_um, s.neighbours, s.edge_scale_um, grid=s.architecture == "e2cnn")
        return graph.to(device)

    def state(self) -> dict[str, np.ndarray]:
        """Everything learned, as named arrays."""
        arrays = {_PREFIX + name: value.cpu().numpy() for name, value in self.denoiser.state_dict().items()}
        return {**arrays, "features.mean": self.mean, "features.scale": self.scale}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `state`."""
        self.mean, self.scale = state["features.mean"], state["features.scale"]
        weights = {
            name.removeprefix(_PREFIX): torch.from_numpy(value)
            for name, value in state.items()
            if name.startswith(_PREFIX)
        }
        self.denoiser.load_state_dict(weights)

    def _measure_features(self, slides: Sequence[Slide]) -> None:
        """Mean and standard deviation a feature over all training spots; constant features keep their size."""
        values = np.concatenate([slide.features[self.task.encoder] for slide in slides]).astype(np.float64)
        deviation = values.std(axis=0)
        constant = deviation <= 1e-6 * np.abs(values).max(axis=0)
        self.mean = values.mean(axis=0).astype(np.float32)
        self.scale = np.where(constant, 1.0, deviation).astype(np.float32)

    def _fingerprint(self, train: Sequence[Slide], select: Sequence[Slide], seed: int, device: str) -> str:
        """What makes this training this one: a checkpoint of any other is of no use."""
        return sha256_json(
            {
                "settings": self.settings.model_dump(mode="json"),
                "genes": self.task.genes,
                "names": self.task.names,
                "seed": seed,
                "device": device,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "code": code_hash("stflow.models.stflow"),
                "train": [sha256_slide(slide, self.task) for slide in train],
                "select": [sha256_slide(slide, self.task) for slide in select],
            }
        )


class Regions:
    """Algorithm 1 as a `stflow.training.fit.Problem`.

    A sample is a contiguous region: a random spot and its nearest floor(u N) spots, u ~ U(0, 1), at least two.
    Several regions of a step are concatenated, never padded.
    """

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
        self.limit: int | None = None
        made: dict[int, Section] = {}  # paper protocol: the same slide may be on several lists
        for slide in (*train, *select):
            if id(slide) not in made:
                made[id(slide)] = self._section(slide)
        self.train = [made[id(slide)] for slide in train]
        self.select = [made[id(slide)] for slide in select]

    def _section(self, slide: Slide) -> Section:
        return Section(
            slide.name,
            self.learner.features(slide, self.device),
            self.learner.graph(slide, self.device),
            torch.from_numpy(slide.centres_um).to(self.device),
            torch.from_numpy(slide.expression(self.learner.task.genes)).to(self.device),
        )

    def batches(self) -> Iterator[Batch]:
        """One epoch: ``regions_per_slide`` regions of every slide in random order, ``regions_per_step`` a batch."""
        s = self.learner.settings
        order = torch.randperm(len(self.train) * s.regions_per_slide, generator=self.generator) % len(self.train)
        for step in order.split(s.regions_per_step):
            yield _join([self._region(self.train[slide]) for slide in step.tolist()])

    def _region(self, section: Section) -> Batch:
        n = len(section.features)
        u, t = torch.rand(2, generator=self.generator).tolist()
        t = t if self.learner.settings.flow_time == "uniform" else 0.0
        m = max(int(u * n), min(2, n))
        if self.limit is not None:
            m = min(m, self.limit)
        centre = int(torch.randint(n, (1,), generator=self.generator))
        spots = nearest_spots(section.centres, centre, m)
        x_1 = section.expression[spots]
        x_0 = self.learner.prior.sample(tuple(x_1.shape), self.generator).to(self.device)
        return Batch(section.features[spots], section.graph.region(spots), x_0, x_1, x_1.new_full((m, 1), t))

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
        for section in self.select:
            generator = torch_generator(self.seed, *self.learner.task.names, section.name, "select")
            predicted.append(self.learner.generate(section.features, section.graph, generator))
        measured = np.concatenate([section.expression.cpu().numpy() for section in self.select])
        return mean_pearson(measured, np.concatenate(predicted))

    def shrink(self) -> bool:
        """Halve the most spots a region may hold."""
        largest = max(len(section.features) for section in self.train)
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
