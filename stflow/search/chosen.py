"""The file of chosen settings: what a search writes and what `searched` of the configuration names.

::

    schema: 1
    folds: each                      # or first: one choice on the first fold
    chosen:
      stflow:
        uni:
          hest/IDC:
            all_folds: {learning_rate: 0.001, heads: 4}
            folds:
              0: {learning_rate: 0.0005, heads: 8}

``folds`` are choices on the select slides of that fold of the clean protocol, ``all_folds`` is one for the dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from stflow.errors import ConfigError
from stflow.layout import Group, Run
from stflow.search.space import Scalar

SCHEMA = 1


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    all_folds: dict[str, Scalar]
    folds: dict[int, dict[str, Scalar]] = {}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: int
    folds: Literal["each", "first"]
    chosen: dict[str, dict[str, dict[str, _Entry]]]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Settings by method, encoder and dataset; empty where nothing was searched.

    Attributes
    ----------
    folds
        Whether each fold has a choice of its own.
    entries
        method -> encoder -> ``benchmark/dataset`` -> its choices.
    """

    folds: Literal["each", "first"] = "each"
    entries: Mapping[str, Mapping[str, Mapping[str, _Entry]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None) -> Chosen:
        """Read the file; without a path nothing is chosen.

        Raises
        ------
        ConfigError
            No such file, or one of another form.
        """
        if path is None:
            return cls()
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(f"no chosen settings at {path}. Make them with `snakemake search`.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not yaml: {error}") from error
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            raise ConfigError(f"{path} is not a file of chosen settings of schema {SCHEMA}: run `snakemake search`.")
        try:
            file = _File.model_validate({**{k: v for k, v in values.items() if k != "schema"}, "schema_": SCHEMA})
        except ValidationError as error:
            lines = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            raise ConfigError(f"{path} cannot be used: {lines}") from error
        return cls(file.folds, file.chosen)

    def __iter__(self) -> Iterator[tuple[str, str, dict[str, Scalar]]]:
        """(where, method, settings) of every choice."""
        for method, encoders in self.entries.items():
            for encoder, datasets in encoders.items():
                for dataset, entry in datasets.items():
                    where = f"{method}.{encoder}.{dataset}"
                    yield f"{where}.all_folds", method, entry.all_folds
                    for fold, settings in entry.folds.items():
                        yield f"{where}.folds.{fold}", method, settings

    def of(self, run: Run) -> Mapping[str, Scalar]:
        """Settings that were chosen for a run; none where its dataset or method was not searched.

        A clean run takes the choice of its own fold, which has seen none of the fold's test slides. The paper protocol
        takes the dataset's one choice. An encoder that was not searched on takes the first one's choice.
        """
        entry = self._entry(run.group)
        if entry is None:
            return {}
        if run.group.protocol != "clean" or self.folds == "first":
            return entry.all_folds
        return entry.folds[run.fold]

    def lacking(self, folds: Mapping[tuple[str, str, str], Iterable[int]]) -> list[str]:
        """Folds of searched datasets that have no choice, in words.

        Parameters
        ----------
        folds
            (benchmark, dataset, protocol) -> fold numbers that are run.
        """
        if self.folds == "first":
            return []
        return [
            f"searched: {method}.{encoder}.{benchmark}/{dataset} has no choice for fold {fold}: the folds are others "
            "than those of the search. Run `snakemake search` again"
            for method, encoders in self.entries.items()
            for encoder, datasets in encoders.items()
            for benchmark, dataset, protocol in folds
            if protocol == "clean" and (entry := datasets.get(f"{benchmark}/{dataset}"))
            for fold in folds[benchmark, dataset, protocol]
            if fold not in entry.folds
        ]

    def _entry(self, group: Group) -> _Entry | None:
        encoders = self.entries.get(group.method, {})
        dataset = f"{group.benchmark}/{group.dataset}"
        if group.encoder in encoders:
            return encoders[group.encoder].get(dataset)
        return next(iter(encoders.values()), {}).get(dataset)


def to_yaml(folds: str, chosen: Mapping[str, Any]) -> str:
    """The file's text.

    Parameters
    ----------
    folds
        ``each`` or ``first``.
    chosen
        method -> encoder -> ``benchmark/dataset`` -> ``{"all_folds": settings, "folds": {fold: settings}}``.
    """
    head = "# Settings that a search has chosen on select slides; `searched:` of a configuration takes them.\n"
    if folds == "first":
        head += "# Chosen on the first fold alone: test slides of the other folds had a part in it.\n"
    return head + yaml.safe_dump({"schema": SCHEMA, "folds": folds, "chosen": dict(chosen)}, sort_keys=False)
