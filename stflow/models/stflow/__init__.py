"""STFlow (Huang et al., ICML 2025, arXiv 2506.05361): flow matching over the expression of a whole slide.

Light to import: the settings and the method's face; torch and the network load when it is fitted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from stflow.data.slide import Slide
from stflow.models.base import Fit, Method, SettingsBase, Task
from stflow.models.stflow.variants import VARIANTS
from stflow.training.settings import RegionTraining

if TYPE_CHECKING:
    from stflow.models.stflow.learner import Learner
    from stflow.models.stflow.regions import Batch, Regions


def _unit(name: str) -> dict[str, Any]:
    return {"unit": name}


class STFlowSettings(RegionTraining):
    """Settings of STFlow; the defaults are the paper's."""

    architecture: Literal["frames", "no_frames", "dot_product", "egnn", "e2cnn"] = Field(
        "frames",
        description="how spots learn of each other; frames: the paper's attention, averaged over frames; no_frames: "
        "the same without positions; dot_product: textbook attention, without positions and expression; egnn: messages "
        "by distance (Satorras 2021); e2cnn: group convolutions over a 5 x 5 grid (Weiler & Cesa 2019)",
    )
    hidden: int = Field(128, gt=0, description="size of a spot's state, d")
    edge_hidden: int = Field(128, gt=0, description="size of an edge vector")
    layers: int = Field(4, gt=0, description="attention layers, L")
    heads: int = Field(4, gt=0, description="attention heads; divide hidden and edge_hidden")
    neighbours: int = Field(8, gt=0, description="nearest spots attended to, k", json_schema_extra=_unit("spots"))
    edges: Literal["um", "px"] = Field(
        "um",
        description="unit of positions; um: the same for every scanner; px: as released, raw level-0 pixels",
    )
    edge_scale_um: float = Field(
        100.0,
        gt=0,
        description="distance that becomes 1 in the edge network, where edges are in um",
        json_schema_extra=_unit("um"),
    )
    region_graph: Literal["slide", "region"] = Field(
        "slide",
        description="neighbours and frames of a training region; slide: those of the whole slide that lie in it, made "
        "once; region: as released, searched anew among the region's spots",
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="drop probability of hidden units")
    attention_dropout: float = Field(0.2, ge=0, lt=1, description="drop probability of attention weights")
    prior: Literal["zinb", "zero", "gaussian"] = Field("zinb", description="distribution the flow starts from")
    prior_mu: float = Field(
        0.1, ge=0, description="ZINB mu: mean count (paper) or logit (released)", json_schema_extra=_unit("counts")
    )
    prior_phi: float = Field(1.0, gt=0, description="ZINB phi: total count; variance = mean + mean^2 / phi")
    prior_pi: float = Field(0.5, ge=0, le=1, description="ZINB pi: share of extra zeros")
    prior_mean: Literal["paper", "released"] = Field(
        "paper", description="what mu means: the negative binomial's mean, or as released its logit"
    )
    prior_transform: Literal["paper", "released"] = Field(
        "released",
        description="paper: a ZINB draw starts the flow as it is, a raw count; released: as log1p, the unit of the "
        "expression that the flow carries, and therefore the default",
    )
    flow_time: Literal["uniform", "zero"] = Field(
        "uniform", description="times t that training draws; zero: t = 0 alone, one-step prediction trained as such"
    )
    steps: int = Field(5, gt=0, description="sampling steps, S; 1 is one-step prediction without flow")
    times: Literal["paper", "released"] = Field(
        "paper", description="sampling times: s/S for S calls, or as released S times from 0.01 to 1 for S - 1 calls"
    )
    samples: int = Field(
        1,
        gt=0,
        description="draws from the prior a slide; the prediction is their mean",
        json_schema_extra=_unit("draws"),
    )
    interval: float = Field(
        0.9,
        gt=0,
        lt=1,
        description="share that the interval of several samples should hold; S samples reach (S - 1) / (S + 1)",
        json_schema_extra=_unit("share"),
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> STFlowSettings:
        for name in ("hidden", "edge_hidden"):
            size = getattr(self, name)
            if size % self.heads or size % 2:
                raise ValueError(f"{name} = {size} must be even and a multiple of heads = {self.heads}")
        return self

    @model_validator(mode="after")
    def _samples_reach(self) -> STFlowSettings:
        widest = (self.samples - 1) / (self.samples + 1)  # what lies between the smallest and the largest sample
        if self.samples > 1 and self.interval > widest + 1e-9:
            raise ValueError(
                f"samples = {self.samples} span an interval of at most {widest:.3f}, not {self.interval}: draw more, "
                "or lower interval"
            )
        return self


class STFlow(Method):
    """Flow matching over all spots of a slide, with attention to neighbours that is blind to rotation."""

    name = "stflow"
    Settings: ClassVar[type[SettingsBase]] = STFlowSettings
    stochastic = True
    needs_gpu = True
    selects = True
    variants = VARIANTS
    sampling = frozenset({"steps", "times", "samples", "interval"})
    selection = frozenset({"steps", "times"})

    if TYPE_CHECKING:
        settings: STFlowSettings

    def __init__(self, settings: SettingsBase, task: Task) -> None:
        super().__init__(settings, task)
        self._learner: Learner | None = None

    def fit(
        self,
        train: Sequence[Slide],
        select: Sequence[Slide],
        *,
        seed: int,
        checkpoint: Path | None = None,
        device: str = "cpu",
    ) -> Fit:
        """Algorithm 1 of the paper on random regions of ``train``; the best epoch on ``select`` is kept.

        Raises
        ------
        RunFailed
            The loss diverged, or memory ran out with the smallest regions.
        """
        start = time.perf_counter()
        from stflow.models.stflow.learner import Learner

        imports = time.perf_counter() - start
        self._learner = Learner(self, train[0].features[self.task.encoder].shape[1], seed)
        fit = self._learner.fit(train, select, seed=seed, checkpoint=checkpoint, device=device)
        fit.seconds["imports"] = round(imports, 3)
        return fit

    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        """Algorithm 2 of the paper on the whole slide; the same seed gives the same (N, G) numbers."""
        return next(self.sample(slide, samples=1, seed=seed, device=device))

    def sample(self, slide: Slide, *, samples: int, seed: int, device: str = "cpu") -> Iterator[np.ndarray]:
        """Algorithm 2 from ``samples`` draws of the prior; more of them begin with the same ones."""
        if self._learner is None:
            raise RuntimeError("STFlow.predict needs a fitted or loaded model")
        return islice(self._learner.sample(slide, seed=seed, device=device), samples)

    def refine(self, slide: Slide, *, seed: int, device: str = "cpu") -> Iterator[np.ndarray]:
        """The network's guess of (N, G) at every sampling step of ``predict``; the last is what ``predict`` gives."""
        if self._learner is None:
            raise RuntimeError("STFlow.refine needs a fitted or loaded model")
        return self._learner.refine(slide, seed=seed, device=device)

    def one_step(self, slide: Slide, device: str) -> tuple[Regions, Batch]:
        """The training problem of a slide, and a sample of it that is all of its spots: the most a step can cost."""
        import torch

        from stflow.models.stflow.learner import Learner
        from stflow.models.stflow.regions import Regions

        generator = torch.Generator().manual_seed(0)
        learner = Learner(self, slide.features[self.task.encoder].shape[1], 0)
        learner.denoiser.to(device).train().use_generator(generator)
        problem = Regions(learner, [slide], [], generator, 0, device)
        return problem, problem.sample(problem.train[0], torch.arange(len(slide)), 0.5)

    def state(self) -> Mapping[str, np.ndarray]:
        """Weights of the denoiser, and the features' mean and scale where they are standardised."""
        return self._learner.state() if self._learner else {}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        from stflow.models.stflow.learner import Learner

        self._learner = Learner(self, state["denoiser.image.weight"].shape[1], 0)
        self._learner.load_state(state)
        width, scaled = state["denoiser.image.weight"].shape[1], len(self._learner.scaling.mean)
        if width != scaled:
            raise ValueError(f"its network takes {width} features, {scaled} are scaled")

    @classmethod
    def n_params(cls, settings: SettingsBase, n_features: int, n_genes: int) -> int | None:
        """Trainable parameters: 1,147,724 at the defaults with 1024-d features and 50 genes, as printed."""
        import torch

        from stflow.models.stflow.architectures import build

        assert isinstance(settings, STFlowSettings)
        with torch.device("meta"):
            return sum(p.numel() for p in build(settings, n_features, n_genes).parameters())
