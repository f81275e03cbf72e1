"""The one interface of every method. Light to import: torch and scikit-learn load inside ``fit`` and ``predict``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from stflow.data.slide import Slide

if TYPE_CHECKING:
    from stflow.encoders.base import Weights


class Settings(BaseModel):
    """Base of a method's settings: frozen, unknown keys refused, a description (and unit) a field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


#: The same class under a name that `Method.Settings` does not shadow.
SettingsBase = Settings


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be learned: the genes (in order), the encoder whose features are used, and the run's names.

    ``names`` name the random generators (`stflow.seeds`), so that numbers do not depend on the order of jobs.
    ``weights`` is the file of `Method.initial_weights`, which only `Method.fit` reads.
    """

    genes: tuple[str, ...]
    encoder: str
    names: tuple[str | int, ...] = ()
    weights: Path | None = None


@dataclass(slots=True)
class Fit:
    """What a fit leaves beside the model: a row an epoch, facts for run.json, and where its time went (s a phase)."""

    history: list[dict[str, float]] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Method(ABC):
    """A way to predict expression.

    Class attributes say what the workflow must know without fitting: ``stochastic`` (False: one seed is enough),
    ``needs_gpu`` (worth a GPU), ``selects`` (uses the select slides to choose an epoch; a method that does not is
    given them as training slides when they are not the test fold).

    ``variants`` are the method's named settings: name -> the settings that differ. ``sampling`` are the settings that
    matter only when it predicts; variants that differ in nothing else share one trained model. ``selection`` are
    those of them that choosing the epoch uses too: a training depends on its own values of these.

    ``views`` says that it knows what to do with the features of eight views of a tile (`stflow.encoders.views`).
    """

    name: ClassVar[str]
    Settings: ClassVar[type[SettingsBase]]
    stochastic: ClassVar[bool] = True
    needs_gpu: ClassVar[bool] = False
    selects: ClassVar[bool] = False
    views: ClassVar[bool] = False
    variants: ClassVar[Mapping[str, Mapping[str, object]]] = {}
    sampling: ClassVar[frozenset[str]] = frozenset()
    selection: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, settings: SettingsBase, task: Task) -> None:
        self.settings = settings
        self.task = task

    @abstractmethod
    def fit(
        self,
        train: Sequence[Slide],
        select: Sequence[Slide],
        *,
        seed: int,
        checkpoint: Path | None = None,
        device: str = "cpu",
    ) -> Fit:
        """Learn from ``train``; ``select`` chooses the epoch. A killed fit resumes from ``checkpoint``."""

    @abstractmethod
    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        """(N, G) float32 predicted log1p counts of ``task.genes``."""

    def sample(self, slide: Slide, *, samples: int, seed: int, device: str = "cpu") -> Iterator[np.ndarray]:
        """Draws of (N, G) float32 log1p counts, one after the other; the first is what ``predict`` gives.

        A method that can draw more than one overrides this and has the settings ``samples`` and ``interval``; the
        workflow then asks for ``settings.samples`` draws, and their mean is the prediction. Others give the one.
        """
        del samples
        yield self.predict(slide, seed=seed, device=device)

    @classmethod
    def own_encoders(cls, settings: SettingsBase) -> tuple[str, ...]:
        """Encoders that it runs on with these settings, unless the configuration gives it others; none: all of them.

        `stflow.layout.TILES` alone is for a method that reads no features; no configuration gives it any.
        """
        del settings
        return ()

    @classmethod
    def reads_tiles(cls, settings: SettingsBase) -> bool:
        """Whether it reads `Slide.tiles` with these settings, beside or instead of features."""
        del settings
        return False

    @classmethod
    def initial_weights(cls, settings: SettingsBase) -> Weights | Path | None:
        """Published weights that training starts from; their file, got as an encoder's is, becomes `Task.weights`."""
        del settings
        return None

    @classmethod
    def n_params(cls, settings: SettingsBase, n_features: int, n_genes: int) -> int | None:
        """Trainable parameters for features of size ``n_features``; None for what is not a parametric network."""
        del settings, n_features, n_genes
        return None

    @abstractmethod
    def state(self) -> Mapping[str, np.ndarray]:
        """Everything learned, as named arrays (no pickles)."""

    @abstractmethod
    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of ``state``."""

    def save(self, path: Path) -> None:
        """Write ``state`` as safetensors, atomically, with method, settings and task in its metadata.

        The metadata is one JSON entry: safetensors writes several in an order that differs from run to run, and the
        same model must be the same bytes.
        """
        import json

        from safetensors.numpy import save

        from stflow.io import atomic_path

        metadata = {
            "method": self.name,
            "settings": self.settings.model_dump(mode="json"),
            "genes": self.task.genes,
            "encoder": self.task.encoder,
            "names": self.task.names,
        }
        arrays = {key: np.asarray(value, order="C") for key, value in self.state().items()}
        sealed = json.dumps({**metadata, "sha256": _model_sha256(metadata, arrays)})
        with atomic_path(path) as partial:
            partial.write_bytes(save(arrays, metadata={"stflow": sealed}))

    @classmethod
    def load(cls, path: Path, sampling: Mapping[str, object] | None = None) -> Self:
        """Read what ``save`` wrote.

        Parameters
        ----------
        path
            The model file.
        sampling
            Settings to predict with in place of those it was trained with; only those named in ``cls.sampling``. The
            task stays the trained one, and with it the names of the random draws: the same model with other steps
            starts from the same noise.

        Raises
        ------
        IntegrityError
            The file is cut short, of another method, or of a training that failed, or does not hold what this
            method's ``state`` writes.
        ConfigError
            ``sampling`` holds a setting that a trained model cannot change, or that does not fit.
        """
        import json

        from safetensors import SafetensorError, safe_open

        from stflow.device import is_out_of_memory
        from stflow.errors import IntegrityError

        try:
            with safe_open(path, framework="numpy") as handle:
                metadata = json.loads((handle.metadata() or {}).get("stflow", "{}"))
                state = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, TypeError, LookupError, RecursionError) as error:
            raise IntegrityError(f"{path} is not a whole model file ({error}): delete it and train again.") from error
        if not isinstance(metadata, dict):
            raise IntegrityError(f"{path} is a {type(metadata).__name__} model, not {cls.name}: train again.")
        promised = metadata.pop("sha256", None)  # files of earlier versions, and of failed trainings, have none
        if promised is not None and promised != _model_sha256(metadata, state):
            raise IntegrityError(f"{path} is not as it was written: its hash is another. Delete it and train again.")
        if metadata.get("method") != cls.name:
            raise IntegrityError(f"{path} is a {metadata.get('method')} model, not {cls.name}: train again.")
        if "failed" in metadata:
            raise IntegrityError(f"{path} holds no model, as training failed: {metadata['failed']}")
        try:
            genes, names = (tuple(_list(metadata[name])) for name in ("genes", "names"))
            task = Task(genes, _text(metadata["encoder"]), names)
            cls.Settings.model_validate(metadata["settings"])
            method = cls(cls.resampled(metadata["settings"], sampling or {}), task)
            method.load_state(state)
        except (LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise IntegrityError(f"{path} is not a whole {cls.name} model ({reason}): train again.") from error
        return method

    @classmethod
    def resampled(cls, trained: Mapping[str, object], sampling: Mapping[str, object]) -> SettingsBase:
        """The settings of a trained model with those of ``sampling`` in place of its own.

        Raises
        ------
        ConfigError
            See `load`.
        """
        from stflow.errors import ConfigError

        if fixed := sorted(set(sampling) - cls.sampling):
            raise ConfigError(
                f"a trained {cls.name} model cannot change {', '.join(fixed)}: train a variant of its own. "
                f"What may differ when it predicts: {', '.join(sorted(cls.sampling)) or 'nothing'}."
            )
        try:
            return cls.Settings.model_validate({**trained, **sampling})
        except ValidationError as error:
            raise ConfigError(f"settings of {cls.name} cannot be used: {error}") from error


def _model_sha256(metadata: Mapping[str, object], arrays: Mapping[str, np.ndarray]) -> str:
    """Hash of all that a model file says."""
    from stflow.io import sha256_array, sha256_json

    parts = {name: sha256_array(array) for name, array in arrays.items()}
    return sha256_json({"metadata": metadata, "arrays": parts})


def _list(values: object) -> list:
    """A list of a model's metadata; not a text, whose letters would pass for names."""
    if not isinstance(values, list):
        raise TypeError(f"{values!r} is no list")
    return values


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def parse_settings(settings: str) -> dict[str, object]:
    """Settings as the command line gives them.

    Raises
    ------
    ConfigError
        They are not a JSON object.
    """
    import json

    from stflow.errors import ConfigError

    try:
        values = json.loads(settings)
    except json.JSONDecodeError as error:
        raise ConfigError(f"settings {settings!r} are not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f'settings {settings!r} are not a JSON object; write e.g. {{"steps": 2}}')
    return values
