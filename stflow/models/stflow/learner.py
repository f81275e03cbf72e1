"""STFlow at work: training, prediction (algorithm 2 of the paper), and what a model file holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stflow.data.slide import Slide
from stflow.flow.prior import Prior
from stflow.flow.sampler import guesses, sample, times
from stflow.models.base import Fit
from stflow.models.scaling import Scaling
from stflow.models.stflow import STFlow
from stflow.models.stflow.architectures import build
from stflow.models.stflow.regions import Regions
from stflow.models.stflow.section import Geometry, Section
from stflow.seeds import entropy, torch_generator
from stflow.training.fingerprint import fingerprint
from stflow.training.fit import Schedule, fit_network
from stflow.training.stopwatch import Stopwatch

_PREFIX = "denoiser."


class Learner:
    """A denoiser with what is around it: scaling of features, prior, sampler.

    Parameters
    ----------
    method
        Whose network it is.
    n_features
        Size D of the features.
    seed
        Seed of the initial weights.
    """

    def __init__(self, method: STFlow, n_features: int, seed: int) -> None:
        settings, task = method.settings, method.task
        self.method, self.settings, self.task = method, settings, task
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
        scale = settings.edge_scale_um if settings.edges == "um" else 1.0
        self.geometry = Geometry(settings.edges, scale, settings.neighbours, settings.architecture == "e2cnn")
        self.scaling = Scaling.none(n_features)

    def fit(
        self, train: Sequence[Slide], select: Sequence[Slide], *, seed: int, checkpoint: Path | None, device: str
    ) -> Fit:
        """Train on ``train``, keep the best epoch on ``select``; see `stflow.training.fit`."""
        s, names, clock = self.settings, self.task.names, Stopwatch()
        with clock("preparation"):
            if s.standardise_features:
                self.scaling = Scaling.measured([slide.features[self.task.encoder] for slide in train])
            generators = {
                "regions": torch_generator(seed, *names, "regions"),
                "dropout": torch_generator(seed, *names, "dropout"),
            }
            self.denoiser.to(device).use_generator(generators["dropout"])
            problem = Regions(self, train, select, generators["regions"], seed, device)
            schedule = Schedule(s.epochs, s.patience, s.select_every, s.learning_rate, s.clip_norm)
            who = "" if checkpoint is None else fingerprint(self.method, train, select, seed, device)
        fit = fit_network(self.denoiser, problem, schedule, generators, fingerprint=who, checkpoint=checkpoint)
        fit.seconds |= clock.rounded()
        fit.facts["n_params"] = sum(p.numel() for p in self.denoiser.parameters())
        return fit

    def sample(self, slide: Slide, *, seed: int, device: str) -> Iterator[np.ndarray]:
        """(N, G) float32 log1p expression of all spots at once, draw after draw without end."""
        return self.draws(*self._ready(slide, seed, device))

    @torch.inference_mode()
    def refine(self, slide: Slide, *, seed: int, device: str) -> Iterator[np.ndarray]:
        """The guesses, (N, G) float32, that lead to the first draw of `sample`, which is the last of them."""
        section, generator = self._ready(slide, seed, device)
        for x_1 in guesses(self._denoise(section), self._x_0(section, generator), self.times):
            yield section.restored(x_1.cpu().numpy())

    @torch.inference_mode()
    def draws(self, section: Section, generator: torch.Generator) -> Iterator[np.ndarray]:
        """Algorithm 2 from one draw of ``generator`` after the other, in the slide's order.

        What depends on the slide alone is computed once, whatever the number of draws and steps.
        """
        denoise = self._denoise(section)
        while True:
            x_1 = sample(denoise, self._x_0(section, generator), self.times)
            yield section.restored(x_1.cpu().numpy())

    def _ready(self, slide: Slide, seed: int, device: str) -> tuple[Section, torch.Generator]:
        """A slide to be predicted, and the generator of its draws from the prior."""
        self.denoiser.to(device).eval()
        return self.section(slide, device), torch_generator(seed, *self.task.names, slide.name, "sample")

    def _denoise(self, section: Section) -> Callable[[Tensor, float], Tensor]:
        """The network on a section, whose features it reads once."""
        encoded = self.denoiser.encode(section.features, section.graph)

        def denoise(x_t: Tensor, t: float) -> Tensor:
            return self.denoiser.denoise(encoded, x_t, torch.full((1, 1), t, device=x_t.device))

        return denoise

    def _x_0(self, section: Section, generator: torch.Generator) -> Tensor:
        """(N, G) draw from the prior, in the section's order."""
        x_0 = self.prior.sample((len(section), len(self.task.genes)), generator)[section.order]
        return x_0.to(section.features.device)

    def section(self, slide: Slide, device: str) -> Section:
        """The slide as the network sees it."""
        return Section.of(slide, self.geometry, self.scaling.apply(slide.features[self.task.encoder]), device)

    def state(self) -> dict[str, np.ndarray]:
        """Everything learned, as named arrays."""
        arrays = {_PREFIX + name: value.cpu().numpy() for name, value in self.denoiser.state_dict().items()}
        return {**arrays, **self.scaling.state()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `state`."""
        self.scaling = Scaling.of_state(state)
        weights = {
            name.removeprefix(_PREFIX): torch.from_numpy(value)
            for name, value in state.items()
            if name.startswith(_PREFIX)
        }
        self.denoiser.load_state_dict(weights)
