"""What a run learns from: its slides with features, cut to the roles that its fold gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from stflow.data.slide import Slide, read_slide
from stflow.data.splits import Fold, Manifest
from stflow.errors import GeneError, IntegrityError, SplitError
from stflow.io import read_json, reading, sha256_array
from stflow.layout import TILES, Layout, Run
from stflow.models.base import Method, Task

AMethod = TypeVar("AMethod", bound=Method)

#: Share of the spots of a single training slide that selects the epoch.
REGION_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Inputs:
    """A run with what its fold says: the task, the fold, and where the files are."""

    layout: Layout
    run: Run
    fold: Fold
    task: Task

    @classmethod
    def of(cls, results: Path, run: str, manifest: Path, *, by_slide: bool) -> Inputs:
        """Look up fold and genes of a run.

        Raises
        ------
        SplitError, LeakageError
            The fold is missing or cannot be used.
        GeneError
            The gene file has no list for the fold.
        """
        layout = Layout(Path(results))
        try:
            parsed = Run.parse(run)
        except ValueError as error:
            raise SplitError(f"no run {run!r}: {error}. A run is benchmark/dataset/.../fold0/seed0.") from error
        group = parsed.group
        fold = Manifest.read(manifest, by_slide=by_slide).fold(group.dataset, group.protocol, parsed.fold)
        path = layout.genes(group.benchmark, group.dataset, group.protocol)
        values = read_json(path)
        with reading(path, "Run the genes stage again."):
            genes = tuple(map(str, values["folds"].get(str(parsed.fold), ())))
        if not genes:
            raise GeneError(f"{path} lists no genes for fold {parsed.fold}. Run the genes stage again.")
        return cls(layout, parsed, fold, Task(genes, group.encoder, parsed.names))

    def load_model(self, kind: type[AMethod], trained: Run, sampling: Mapping[str, object]) -> AMethod:
        """The model of a trained run, after a check that it was trained on this run's genes and features.

        Raises
        ------
        ConfigError, IntegrityError
            See `stflow.models.base.Method.load`; also a model of other genes or of another encoder.
        """
        path = self.layout.model(trained)
        method = kind.load(path, sampling)
        own, ours = method.task, self.task
        if (own.genes, own.encoder) != (ours.genes, ours.encoder):
            raise IntegrityError(
                f"{path} is a model of {len(own.genes)} genes by {own.encoder}, not of the {len(ours.genes)} of this "
                f"run by {ours.encoder}: train again."
            )
        return method

    def read(self, slides: Sequence[str], *, tiles: bool = False) -> list[Slide]:
        """The named slides with the run's features, and with their tiles where these are asked for."""
        group = self.run.group
        encoders = [] if group.encoder == TILES else [group.encoder]
        return [
            read_slide(
                self.layout.slide(group.benchmark, name),
                {encoder: self.layout.features(encoder, group.benchmark, name) for encoder in encoders},
                self.layout.tiles(group.benchmark, name) if tiles or not encoders else None,
            )
            for name in slides
        ]

    def roles(self, *, selects: bool, tiles: bool = False) -> tuple[list[Slide], list[Slide]]:
        """Slides to learn from, and slides that choose the epoch; with their tiles where these are asked for.

        A method that selects nothing learns from both, unless the test slides do the choosing: those it never sees.
        Where one training slide is all there is, a fifth of it on one side chooses.
        """
        if not selects:
            return self.read(self.fold.development, tiles=tiles), []
        if self.fold.select_by == "region":
            (slide,) = self.read(self.fold.train, tiles=tiles)
            rest, side = split_by_side(slide.centres_um)
            return [slide.subset(rest)], [slide.subset(side)]
        return self.read(self.fold.train, tiles=tiles), self.read(self.fold.select, tiles=tiles)


def split_by_side(centres: np.ndarray, share: float = REGION_SHARE) -> tuple[np.ndarray, np.ndarray]:
    """Rows of (N, 2) spots without, and in, the last ``share`` along the slide's longer axis; each in row order."""
    extent = np.ptp(centres, axis=0)
    long = int(extent[1] > extent[0])
    order = np.lexsort((centres[:, 1 - long], centres[:, long]))
    n_side = max(1, round(share * len(centres)))
    return np.sort(order[:-n_side]), np.sort(order[-n_side:])


def sha256_slide(slide: Slide, task: Task) -> str:
    """Hash of all that a method sees of a slide: spots, positions, features, tiles, expression of the task's genes."""
    seen = [slide.barcodes, slide.centres_um, slide.expression(task.genes)]
    if task.encoder in slide.features:
        seen.insert(2, slide.features[task.encoder])
    if slide.tiles is not None:
        seen += [slide.tiles.rows, np.array([slide.tiles.sha256], dtype=object)]
    return sha256_array(*seen)
