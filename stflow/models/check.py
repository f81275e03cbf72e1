"""What every method must keep, tried on slides made on the spot: ``stflow check-method NAME``.

The checks are those that comparing methods rests on: shapes, the same bits from the same seed, a model file that holds
all that was learned, predictions that do not depend on the order of the spots, nor on what was measured on the slide
that is predicted, a slide of one spot, a gene that is constant. They say nothing about how good a method is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from scipy import sparse

from stflow.data.slide import Slide
from stflow.data.tile_images import TileImages
from stflow.encoders.around import CENTRE, N_CELLS, is_around
from stflow.encoders.views import N_VIEWS
from stflow.encoders.views import SUFFIX as VIEWS
from stflow.errors import ConfigError
from stflow.layout import TILES
from stflow.models import METHODS
from stflow.models.base import Method, SettingsBase, Task, parse_settings

#: Genes of the made slides; the last is never expressed.
GENES = ("G0", "G1", "G2", "G3", "CONSTANT")
_D, _PX, _SIDE = 12, 32, 9
#: What makes a check quick, where a method has such a setting.
_QUICK: Mapping[str, object] = {"epochs": 2, "regions_per_slide": 2, "trees": 3, "batch_spots": 32}
#: Predictions of the same spots in another order may differ by this: sums run in another order.
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Outcome:
    """A check and how it ended; ``problem`` is empty where it passed."""

    check: str
    problem: str


def check_method(name: str, settings: Mapping[str, object] | None = None) -> list[Outcome]:
    """Run every check on a registered method.

    Parameters
    ----------
    name
        Name in the registry.
    settings
        Settings that differ from the defaults; few epochs and trees are set where this names none.

    Raises
    ------
    RegistryError
        No such method.
    ConfigError
        Settings that it does not take.
    """
    cls: type[Method] = METHODS.get(name)
    known = cls.Settings.model_fields
    try:
        values = cls.Settings.model_validate(
            {**{key: value for key, value in _QUICK.items() if key in known}, **(settings or {})}
        )
    except ValidationError as error:
        raise ConfigError(f"settings of {name} cannot be used: {error}") from error
    with tempfile.TemporaryDirectory(prefix="stflow-check-") as folder:
        trial = _Trial(cls, values, Path(folder))
        return [Outcome(check, _problem(run, trial)) for check, run in CHECKS.items()]


def _problem(run: Callable[[_Trial], str], trial: _Trial) -> str:
    """What a check found wrong; whatever it raises is a finding too."""
    try:
        return run(trial)
    except Exception as error:  # noqa: BLE001 (a check reports on foreign code)
        return f"{type(error).__name__}: {error}"


def print_checks(name: str, settings: str) -> int:
    """Print a line a check; 1 if one failed, else 0. ``settings`` are JSON."""
    outcomes = check_method(name, parse_settings(settings))
    for outcome in outcomes:
        print(f"FAILED {outcome.check}: {outcome.problem}" if outcome.problem else f"ok     {outcome.check}")
    return int(any(outcome.problem for outcome in outcomes))


class _Trial:
    """A method with slides to learn from and one to predict."""

    def __init__(self, cls: type[Method], settings: SettingsBase, folder: Path) -> None:
        self.cls, self.settings, self.folder = cls, settings, folder
        encoder = (*cls.own_encoders(settings), "made")[0]
        self.task = Task(GENES, encoder, ("check", cls.name))
        made = list(made_slides(folder, encoder, tiles=cls.reads_tiles(settings) or encoder == TILES))
        self.train, self.select, self.test = made[:2], made[2:3], made[3]
        self._fitted: dict[int, Method] = {}

    def fit(self, seed: int = 0) -> Method:
        """A method that has learned, anew."""
        method = self.cls(self.settings, self.task)
        method.fit(self.train, self.select if self.cls.selects else [], seed=seed)
        return method

    def fitted(self) -> Method:
        """The same, learned once."""
        if 0 not in self._fitted:
            self._fitted[0] = self.fit()
        return self._fitted[0]

    def predict(self, slide: Slide | None = None) -> np.ndarray:
        return self.fitted().predict(self.test if slide is None else slide, seed=0)


def made_slides(folder: Path, encoder: str, *, tiles: bool) -> Iterator[Slide]:
    """Four slides of some 80 spots on a hexagonal grid whose genes follow their features, and their neighbours'."""
    n_views = N_VIEWS if encoder.endswith(VIEWS) else N_CELLS if is_around(encoder) else 1
    row, column = np.mgrid[:_SIDE, :_SIDE]
    centres = np.stack([(column + 0.5 * (row % 2)) * 200.0, row * 200.0 * np.sqrt(0.75)], axis=-1).reshape(-1, 2)
    for index in range(4):
        rng = np.random.default_rng(index)
        n = len(centres)
        view = rng.normal(size=(n, 1, _D)) + 0.1 * rng.normal(size=(n, n_views, _D))
        own = view[:, CENTRE if is_around(encoder) else 0, : len(GENES)].astype(np.float32)
        counts = rng.poisson(np.exp(0.5 + 0.6 * own))
        if is_around(encoder):  # of a spot at the border, patches off the slide are missing
            view[0, : N_CELLS // 5] = np.nan
        features = view.reshape(n, -1).astype(np.float32)
        counts[:, -1] = 0
        names = np.array([f"S{index}-{spot}" for spot in range(n)], dtype=object)
        yield Slide(
            name=f"S{index}",
            patient=f"P{index}",
            barcodes=names,
            centres_px=centres + rng.normal(0, 5, centres.shape),  # no two neighbours are equally far
            mpp=0.5,
            genes=GENES,
            counts=sparse.csc_matrix(counts.astype(np.float32)),
            features={} if encoder == TILES else {encoder: features},
            tiles=_made_tiles(folder / f"S{index}.h5", names, counts, rng) if tiles else None,
        )


def _made_tiles(path: Path, names: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> TileImages:
    """Tiles whose colour follows the first genes."""
    import h5py

    colour = 60 + 120 * np.minimum(np.log1p(counts[:, :3]) / 3, 1)
    img = np.clip(colour[:, None, None] + rng.normal(0, 15, (len(names), _PX, _PX, 3)), 0, 255).astype(np.uint8)
    with h5py.File(path, "w") as handle:
        handle["img"] = img
        handle["barcode"] = [[name] for name in names]
    return TileImages.of(path)


def _shape(trial: _Trial) -> str:
    found = trial.predict()
    wanted = (len(trial.test), len(GENES))
    if found.shape != wanted or found.dtype != np.float32:
        return f"predict gives {found.shape} {found.dtype}, not {wanted} float32"
    return "" if np.isfinite(found).all() else "predictions are not finite"


def _same_seed(trial: _Trial) -> str:
    one, other = trial.fitted().state(), trial.fit().state()
    if differing := _differing(one, other):
        return f"two fits with one seed differ in {', '.join(differing)}"
    same = np.array_equal(trial.predict(), trial.predict())
    return "" if same else "two predictions with one seed differ"


def _other_seed(trial: _Trial) -> str:
    differing = _differing(trial.fitted().state(), trial.fit(seed=1).state())
    if trial.cls.stochastic and not differing:
        return "another seed changes nothing: set stochastic = False, and one seed is run"
    if not trial.cls.stochastic and differing:
        return f"another seed changes {', '.join(differing)}, though stochastic = False: only one seed would be run"
    return ""


def _saved(trial: _Trial) -> str:
    bad = [name for name, value in trial.fitted().state().items() if np.asarray(value).dtype == object]
    if bad:
        return f"state holds {', '.join(bad)} as Python objects, not as plain arrays"
    path = trial.folder / "model.safetensors"
    trial.fitted().save(path)
    loaded = trial.cls.load(path)
    same = np.array_equal(loaded.predict(trial.test, seed=0), trial.predict())
    return "" if same else "a model that is saved and read again predicts otherwise: state does not hold all"


def _order(trial: _Trial) -> str:
    shuffled = np.random.default_rng(5).permutation(len(trial.test))
    apart = np.abs(trial.predict(trial.test.subset(shuffled)) - trial.predict()[shuffled]).max()
    return "" if apart <= _TOLERANCE else f"the same spots in another order differ by up to {apart:.3g}"


def _blind(trial: _Trial) -> str:
    empty = replace(trial.test, counts=trial.test.counts * 0)
    same = np.array_equal(trial.predict(empty), trial.predict())
    return "" if same else "the prediction changes with the counts measured on the predicted slide"


def _one_spot(trial: _Trial) -> str:
    found = trial.predict(trial.test.subset(np.array([4])))
    if found.shape != (1, len(GENES)):
        return f"a slide of one spot gives {found.shape}"
    return "" if np.isfinite(found).all() else "the prediction of a slide of one spot is not finite"


def _constant(trial: _Trial) -> str:
    level = np.abs(trial.predict()[:, -1]).mean()
    return "" if level < 1.0 else f"a gene that is never expressed is predicted at {level:.2f} on average"


def _parameters(trial: _Trial) -> str:
    n_features = 0 if trial.task.encoder == TILES else trial.train[0].features[trial.task.encoder].shape[1]
    n_params = trial.cls.n_params(trial.settings, n_features, len(GENES))
    return "" if n_params is None or n_params > 0 else f"n_params says {n_params}"


CHECKS: Mapping[str, Callable[[_Trial], str]] = {
    "predictions are (N, G) float32 and finite": _shape,
    "the same seed gives the same bits": _same_seed,
    "another seed matters, if the method says so": _other_seed,
    "a model file holds all that was learned": _saved,
    "the order of the spots does not matter": _order,
    "what was measured on the predicted slide does not matter": _blind,
    "a slide of one spot": _one_spot,
    "a constant gene": _constant,
    "the number of parameters": _parameters,
}


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Sequence[str]:
    """Names of arrays that are not the same bits."""
    names = sorted({*one, *other})
    return [
        name for name in names if name not in one or name not in other or not np.array_equal(one[name], other[name])
    ]
