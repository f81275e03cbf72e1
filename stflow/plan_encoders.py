"""What the workflow asks about encoders: their weights, their jobs, and which of them cannot run here.

Weights that a method starts from are got as an encoder's are, and are therefore here too.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stflow.data.hub.client import is_offline
from stflow.data.hub.lock import closed_gate
from stflow.data.hub.manifest import repository
from stflow.data.hub.request import Wanted
from stflow.encoders.base import Weights
from stflow.encoders.names import EncoderName
from stflow.errors import WeightsError
from stflow.layout import TILES, Layout
from stflow.models import METHODS
from stflow.shell import relative

if TYPE_CHECKING:
    from stflow.config import _Config
    from stflow.data.splits import Manifest

#: Slides of a job where loading the weights takes as long as encoding a slide.
_SLIDES_PER_GPU_JOB = 8
_GPU_WORKERS = 4
#: Memory of a job beside the weights, MB: tiles read ahead by other processes, CUDA; and without a network.
_MEMORY_MB, _PLAIN_MEMORY_MB = 8000, 2000


class EncoderPlan:
    """The encoders of a configuration that are run, and those whose features they read.

    Attributes
    ----------
    run
        Encoders of all methods or of one, without those that are not run.
    names
        These and the tile encoders of slide encoders, each once; name -> parts.
    """

    def __init__(self, config: _Config, manifests: Mapping[str, Manifest]) -> None:
        self.config, self._manifests = config, manifests
        self._parts: dict[tuple[str, int], dict[str, list[str]]] = {}
        self.run = [name for name in config.all_encoders() if name not in config.not_run]
        wanted = [EncoderName.parse(name) for name in self.run]
        below = [EncoderName.parse(name.tiles) for name in wanted if name.tiles]
        self.names: dict[str, EncoderName] = {name.text: name for name in (*wanted, *below)}

    def rows(self, methods: Iterable[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
        """Encoder that is run, or `TILES` -> the (method, variant) pairs that run on it, in their order."""
        found: dict[str, list[tuple[str, str]]] = {name: [] for name in (*self.run, TILES)}
        for row in methods:
            for encoder in self.config.encoders_of(*row):
                if encoder in found:
                    found[encoder].append(row)
        return found

    def weights(self, encoder: str) -> Path | None:
        """The weights file of an encoder; None if it needs none."""
        weights = self.names[encoder].kind.weights
        return None if weights is None else self.config.weights_path(weights)

    def downloads(self) -> list[Wanted]:
        """Weights that come from the hub or a release: every repository once."""
        if self.config.weights_mirror():
            return []
        methods = ((weights, row) for row, weights in initial_weights(self.config).items())
        return wanted_weights(self.config, [*_of_encoders(self.names.values()), *methods])

    def method_weights(self, method: str, variant: str) -> list[Path]:
        """The weights file that trainings of a method start from; none for most."""
        weights = METHODS.get(method).initial_weights(self.config.settings_of(method, variant))
        return [] if weights is None else [self.config.weights_path(weights)]

    def uses_gpu(self, encoder: str) -> bool:
        """Whether a job of the encoder asks the scheduler for a GPU."""
        return self.names[encoder].kind.needs_gpu and self.config.training.device != "cpu"

    def mem_mb(self, encoder: str) -> int:
        """Memory that a job asks for: tiles read ahead, and the weights twice, as read and as used."""
        parameters = self.names[encoder].kind.n_params
        return _PLAIN_MEMORY_MB if parameters is None else _MEMORY_MB + round(parameters * 8 / 1e6)

    def workers(self, encoder: str) -> int:
        """Processes that read tiles ahead."""
        configured = self.config.embedding.workers
        return configured if configured is not None else _GPU_WORKERS * self.uses_gpu(encoder)

    def cores(self, encoder: str) -> int:
        """Cores that a job takes: threads that compute, and processes that read."""
        return self.config.embedding.threads + self.workers(encoder)

    def slides_per_job(self, encoder: str) -> int:
        """How many slides share a job."""
        configured = self.config.embedding.slides_per_job
        return configured if configured is not None else (_SLIDES_PER_GPU_JOB if self.uses_gpu(encoder) else 1)

    def sharing(self, shared: bool) -> list[str]:
        """Encoders whose slides share jobs, or those whose slides are a job each."""
        return [name for name in self.names if (self.slides_per_job(name) > 1) == shared]

    def parts(self, encoder: str, benchmark: str) -> dict[str, list[str]]:
        """Name -> slides of every job that encodes several: neighbours in their dataset's manifest.

        Which datasets the configuration runs does not matter, so that one more of them makes no features anew.
        """
        size = self.slides_per_job(encoder)
        if (benchmark, size) not in self._parts:
            self._parts[benchmark, size] = _parts(self._manifests[benchmark], size)
        return self._parts[benchmark, size]

    def part_of(self, encoder: str, benchmark: str, slide: str) -> Path:
        """The mark of the job that encodes a slide with others."""
        name = next(name for name, slides in self.parts(encoder, benchmark).items() if slide in slides)
        return Layout(self.config.results).features_part(encoder, benchmark, name)

    def options(self, encoder: str, benchmark: str, slides: Iterable[str], images: Iterable[Path] = ()) -> str:
        """What `stflow embed` is told, as words of the command line; ``images``: see `Plan.embedded_images`."""
        settings, weights = self.config.embedding, self.weights(encoder)
        words = ["--results", self.config.results, "--benchmark", benchmark, "--encoder", encoder]
        words += [word for slide in slides for word in ("--slide", slide)]
        words += [word for image in images for word in ("--image", relative(image))]
        words += [] if weights is None else ["--weights", weights]
        words += [] if settings.batch_size is None else ["--batch-size", settings.batch_size]
        words += ["--precision", settings.precision, "--workers", self.workers(encoder)]
        words += ["--device", self.config.training.device if self.names[encoder].kind.needs_gpu else "cpu"]
        return shlex.join(map(str, words))


def _parts(manifest: Manifest, size: int) -> dict[str, list[str]]:
    """Slides of a manifest by the dataset that holds their files, ``size`` together."""
    homes: dict[str, list[str]] = {}
    for slide in dict.fromkeys(slide for dataset in manifest.datasets() for slide in manifest.slides(dataset)):
        homes.setdefault(manifest.dataset_of(slide), []).append(slide)
    return {
        f"{dataset}.{start // size}": slides[start : start + size]
        for dataset, slides in homes.items()
        for start in range(0, len(slides), size)
    }


def initial_weights(config: _Config) -> dict[str, Weights | Path]:
    """Row of the tables -> the published weights that its trainings start from."""
    found: dict[str, Weights | Path] = {}
    for row in config.methods:
        method, _, variant = row.partition("/")
        settings = config.settings_of(method, variant) if variant else config.settings_of(method)
        if (weights := METHODS.get(method).initial_weights(settings)) is not None:
            found[row] = weights
    return found


def _of_encoders(names: Iterable[EncoderName]) -> list[tuple[Weights | Path | None, str]]:
    return [(name.kind.weights, name.text) for name in names]


def wanted_weights(config: _Config, wanted: Iterable[tuple[Weights | Path | None, str]]) -> list[Wanted]:
    """Weights files by repository, with the encoders and methods that need them."""
    files: dict[str, dict[str, list[str]]] = {}
    for weights, name in wanted:
        if isinstance(weights, Weights):
            file = repository(weights.repository).files[weights.file]
            files.setdefault(weights.repository, {}).setdefault(file, []).append(name)
    return [
        Wanted(
            place,
            (config.weights_mirror() or config.results / "weights") / repository(place).folder,
            tuple(sorted(found)),
            tuple(dict.fromkeys(name for names in found.values() for name in names)),
        )
        for place, found in files.items()
    ]


def refuse_missing_weights(config: _Config) -> None:
    """Check that weights which are not downloaded are where they are looked for.

    Raises
    ------
    WeightsError
        They are not; every encoder and method is named.
    """
    problems = [why for name in config.all_encoders() if name not in config.not_run and (why := _missing(config, name))]
    starts = initial_weights(config).items()
    problems += [why for row, weights in starts if (why := _missing_file(config, weights, f"method {row}"))]
    if problems:
        lines = "\n".join(f"  - {line}" for line in problems)
        raise WeightsError(
            f"weights of {len(problems)} encoder(s) or method(s) are missing:\n{lines}\nCopy them there, set "
            "weights_root to the folder that holds them, leave data_root and weights_root out to download them, or add "
            "--keep-going to go on without these encoders."
        )


def closed_encoders(config: _Config) -> dict[str, str]:
    """Encoder -> why its weights cannot be had here: not in the mirror, a closed gate, or offline.

    Asks the hub, one question a repository of which a file is not here yet.

    Raises
    ------
    DataError
        The hub is not reached.
    WeightsError
        Nothing would be left to run.
    """
    found: dict[str, str] = {}
    gates: dict[str, str] = {}
    for text in config.all_encoders():
        if text in config.not_run:
            continue
        if why := _missing(config, text):
            found[text] = why
        elif config.weights_mirror() is None:
            for item in wanted_weights(config, _of_encoders(_with_tiles(text))):
                if all((item.root / file).is_file() for file in item.files):
                    continue
                if item.repository not in gates:
                    offline = f"HF_HUB_OFFLINE=1, and the weights of {item.repository} are not in {item.root}."
                    plain = Wanted(item.repository, item.root, item.files)
                    gates[item.repository] = offline if is_offline() else closed_gate(plain)
                if why := gates[item.repository]:
                    found[text] = why
    if len(found) + len(config.not_run) >= len(config.all_encoders()):
        lines = "\n".join(f"  - {name}: {why}" for name, why in found.items())
        raise WeightsError(f"no encoder of this configuration can run:\n{lines}")
    return found


def _with_tiles(text: str) -> list[EncoderName]:
    name = EncoderName.parse(text)
    return [name, *([EncoderName.parse(name.tiles)] if name.tiles else [])]


def _missing(config: _Config, text: str) -> str:
    """Which file of a mirror, or of the user's own, is not there; empty if none."""
    reasons = (_missing_file(config, name.kind.weights, f"encoder {name.text}") for name in _with_tiles(text))
    return next(filter(None, reasons), "")


def _missing_file(config: _Config, weights: Weights | Path | None, whose: str) -> str:
    if weights is None or (isinstance(weights, Weights) and config.weights_mirror() is None):
        return ""
    path = config.weights_path(weights)
    if path.is_file() and path.stat().st_size:
        return ""
    where = f"; {repository(weights.repository).page}" if isinstance(weights, Weights) else ""
    return f"{whose}: its weights are not at {path}{where}"
