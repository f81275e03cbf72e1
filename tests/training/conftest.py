"""A results folder with everything that training needs, made in a second: hexagonal slides, features, folds, genes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from stflow.data.slide import Slide, write_slide
from stflow.embedding.features import Features, write_features
from stflow.errors import RunFailed
from stflow.layout import Layout
from stflow.models.base import Fit, Method, SettingsBase, Task

BENCHMARK, DATASET, ENCODER = "made", "T", "enc"
GENES = tuple(f"G{index}" for index in range(6))
MPP = 0.5

#: Settings of an STFlow that trains in a second.
TINY = {
    "hidden": 16,
    "edge_hidden": 8,
    "layers": 2,
    "heads": 2,
    "neighbours": 6,
    "epochs": 6,
    "regions_per_slide": 2,
    "learning_rate": 2e-3,
    "steps": 2,
}


def hexagonal(n_side: int) -> np.ndarray:
    """(n_side^2, 2) um."""
    row, column = np.mgrid[:n_side, :n_side]
    return np.stack([(column + 0.5 * (row % 2)) * 100.0, row * 100.0 * np.sqrt(0.75)], axis=-1).reshape(-1, 2)


def write_made_slide(results: Path, name: str, patient: str, seed: int, n_side: int = 8) -> None:
    """A slide file and a features file; genes follow the first features."""
    rng = np.random.default_rng(seed)
    centres = hexagonal(n_side) / MPP
    n = len(centres)
    features = rng.normal(size=(n, 10)).astype(np.float32)
    counts = rng.poisson(np.exp(0.5 + 0.6 * features[:, : len(GENES)])).astype(np.float32)
    barcodes = [f"{name}-{index}" for index in range(n)]
    layout = Layout(results)
    write_slide(
        layout.slide(BENCHMARK, name), name=name, patient=patient, barcodes=barcodes, centres_px=centres, mpp=MPP,
        spot_diameter_um=55, genes=GENES, counts=counts,
    )  # fmt: skip
    table = Features(
        features, np.array(barcodes, dtype=object), centres.astype(np.int64), centres, ENCODER, "w", "none", "fp32", "t"
    )
    write_features(layout.features(ENCODER, BENCHMARK, name), table)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results folder with four slides of three patients; fold 0 tests P3, fold 1 has a single training slide."""
    root = tmp_path_factory.mktemp("results")
    for seed, (name, patient) in enumerate([("A1", "P1"), ("A2", "P1"), ("B1", "P2"), ("C1", "P3")]):
        write_made_slide(root, name, patient, seed)
    rows = ["dataset,slide,patient,protocol,fold,role"]
    rows += [f"{DATASET},{name},{name[0]},*,0,train" for name in ("A1", "A2", "B1")]
    rows += [f"{DATASET},C1,C,*,0,test", f"{DATASET},A1,A,*,1,train", f"{DATASET},C1,C,*,1,test"]
    (root / f"{BENCHMARK}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for protocol in ("paper", "clean"):
        path = Layout(root).genes(BENCHMARK, DATASET, protocol)
        path.parent.mkdir(parents=True, exist_ok=True)
        genes = {"schema": 1, "source": "made", "folds": {"0": list(GENES[:5]), "1": list(GENES[:5])}}
        path.write_text(json.dumps(genes), encoding="utf-8")
    return root


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A results folder of its own with the made inputs linked in, so that runs of tests do not meet."""
    for entry in made.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    return tmp_path


@pytest.fixture
def manifest(results: Path) -> Path:
    """The split manifest."""
    return results / f"{BENCHMARK}.csv"


@pytest.fixture
def run_name() -> Callable[..., str]:
    """``run_name(method, protocol, fold, seed, variant)``."""

    def name(
        method: str = "stflow", protocol: str = "clean", fold: int = 0, seed: int = 0, variant: str = "default"
    ) -> str:
        return f"{BENCHMARK}/{DATASET}/{ENCODER}/{method}/{variant}/{protocol}/fold{fold}/seed{seed}"

    return name


@pytest.fixture
def tiny() -> str:
    """Settings of an STFlow that trains in a second, as the workflow passes them."""
    return json.dumps(TINY)


@pytest.fixture
def slides(made: Path) -> dict[str, Slide]:
    """The made slides with features, by name."""
    from stflow.data.slide import read_slide

    layout = Layout(made)
    return {
        name: read_slide(layout.slide(BENCHMARK, name), {ENCODER: layout.features(ENCODER, BENCHMARK, name)})
        for name in ("A1", "A2", "B1", "C1")
    }


class Fake(Method):
    """The training mean of every gene, and a log of what it was given; no torch, no epochs."""

    name = "fake"

    class Settings(SettingsBase):
        shift: float = 0.0
        fail: str = ""

    stochastic = False

    def __init__(self, settings: SettingsBase, task: Task) -> None:
        super().__init__(settings, task)
        self.mean = np.zeros(len(task.genes), dtype=np.float32)

    def fit(
        self,
        train: Sequence[Slide],
        select: Sequence[Slide],
        *,
        seed: int,
        checkpoint: Path | None = None,
        device: str = "cpu",
    ) -> Fit:
        fail = self.settings.fail  # type: ignore[attr-defined]
        if fail == "diverged":
            raise RunFailed("the loss became nan in epoch 3.")
        if fail == "memory":
            raise MemoryError("Unable to allocate 9.00 TiB")
        if fail == "bug":
            raise RuntimeError("shapes do not match")
        values = np.concatenate([slide.expression(self.task.genes) for slide in train])
        self.mean = values.mean(axis=0)
        return Fit(facts={"train": [s.name for s in train], "select": [s.name for s in select], "device": device})

    def predict(self, slide: Slide, *, seed: int, device: str = "cpu") -> np.ndarray:
        fail = self.settings.fail  # type: ignore[attr-defined]
        shift = np.nan if fail == "predicts nan" else self.settings.shift  # type: ignore[attr-defined]
        return np.tile(self.mean + np.float32(shift), (len(slide), 1))

    def state(self) -> Mapping[str, np.ndarray]:
        return {"mean": self.mean}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.mean = state["mean"]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Method]:
    """A method registered for the length of a test."""
    from stflow.models import METHODS

    monkeypatch.setitem(METHODS._added, "fake", Fake)
    return Fake
