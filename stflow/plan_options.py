"""What the jobs of a run are told, as words of the command line, and what they ask of the machine."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from stflow.config_sections import DEFAULT_VARIANT
from stflow.efficiency.printed import NAMES
from stflow.layout import Group, Run
from stflow.models import METHODS
from stflow.shell import relative

if TYPE_CHECKING:
    from stflow.models.base import Method
    from stflow.workflow import Plan


class RunOptions:
    """Words for the trainings and predictions of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def columns(self) -> str:
        """Methods with their encoders, run or not, as the tables' commands take them: ``ridge@uni,stflow@uni``."""
        rows = [row.removesuffix(f"/{DEFAULT_VARIANT}") for row in self._plan.config.methods]
        return ",".join(
            f"{row}@{encoder}"
            for row, pair in zip(rows, self._plan.methods, strict=True)
            for encoder in self._plan.config.encoders_of(*pair)
        )

    def settings_json(self, method: str, variant: str, chosen: Mapping[str, object] = MappingProxyType({})) -> str:
        """Settings that a training of one method and variant depends on, and nothing else: what may rerun it.

        Left out are those which matter only when the method predicts. A training that samples to choose its epoch
        keeps those which it samples with, at its own values. ``chosen`` are those that a search chose.
        """
        cls = METHODS.get(method)
        settings = self._plan.config.settings_of(method, variant, chosen)
        return settings.model_dump_json(exclude=set(cls.sampling - cls.selection))

    def sampling_json(self, method: str, variant: str, chosen: Mapping[str, object] = MappingProxyType({})) -> str:
        """Settings of one method and variant that matter when it predicts; they may differ from its model's."""
        settings = self._plan.config.settings_of(method, variant, chosen)
        return settings.model_dump_json(include=set(METHODS.get(method).sampling))

    def trained_json(self, method: str, variant: str, chosen: Mapping[str, object]) -> str:
        """Settings of a trained model: variants that have the same may share it."""
        settings = self._plan.config.settings_of(method, variant, chosen)
        return settings.model_dump_json(exclude=set(METHODS.get(method).sampling))

    def counted_json(self) -> str:
        """Settings, in this configuration, of the methods whose parameters table 6 counts."""
        settings = {name: self._plan.config.settings_of(name).model_dump(mode="json") for name in NAMES}
        return json.dumps(settings)

    def measured(self) -> dict[str, str]:
        """``method/variant`` -> as the configuration names it, of every method whose time and memory are measured."""
        names = dict.fromkeys(self._plan.config.efficiency.methods)
        return {name if "/" in name else f"{name}/{DEFAULT_VARIANT}": name for name in names}

    def training(self, run: Run) -> str:
        """What `stflow train` is told of a run beside its name, as words of the command line."""
        group = run.group
        settings = self.settings_json(group.method, group.variant, self._plan.chosen.of(run))
        return self.of_method(group, "--settings", settings, *self.weights(group))

    def prediction(self, run: Run) -> str:
        """What `stflow predict` is told of a run beside its name, as words of the command line."""
        group = run.group
        sampling = self.sampling_json(group.method, group.variant, self._plan.chosen.of(run))
        return self.of_method(group, "--settings", sampling, "--trained-as", self._plan.trained_as(run).group.variant)

    def weights(self, group: Group) -> list[str]:
        """The words that name the published weights which a training starts from; none for most methods."""
        paths = self._plan.encoders.method_weights(group.method, group.variant)
        return [word for path in paths for word in ("--weights", relative(path))]

    def of_method(self, group: Group, *words: str) -> str:
        """``words`` and what every job of a group's method is told, as words of the command line."""
        device = self.device(METHODS.get(group.method))
        common = ("--manifest", self._plan.manifest(group.benchmark), *words, "--device", device)
        by_slide = self._plan.by_slide(group.benchmark)
        return shlex.join((*common, by_slide) if by_slide else common)

    def device(self, kind: type[Method]) -> str:
        """The configured device for a method that gains from a GPU, else the CPU."""
        return self._plan.config.training.device if kind.needs_gpu else "cpu"

    def gpus(self, kind: type[Method]) -> int:
        """GPUs that a job of this method asks the scheduler for."""
        return int(self.device(kind) != "cpu")
