"""A slide under two names is found by its content; neighbouring sections are not taken for one."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from stflow.data.duplicates import duplicates, shared_spots, spot_marks
from stflow.data.slide import write_slide

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT.parent / "shared" / "data" / "her2st"
GENES = tuple(f"G{index}" for index in range(60))


@pytest.fixture
def slide(tmp_path: Path) -> Callable[..., Path]:
    """Write a slide of (N, 60) counts; spots and genes may be given in another order or left out."""

    def make(name: str, counts: np.ndarray, spots: np.ndarray | None = None, genes: np.ndarray | None = None) -> Path:
        spots = np.arange(len(counts)) if spots is None else spots
        genes = np.arange(counts.shape[1]) if genes is None else genes
        path = tmp_path / f"{name}.h5ad"
        write_slide(
            path, name=name, patient=name, barcodes=[f"{name}{index}" for index in spots], mpp=0.5, spot_diameter_um=55,
            centres_px=np.stack([spots, spots], axis=1), genes=[GENES[index] for index in genes],
            counts=counts[spots][:, genes],
        )  # fmt: skip
        return path

    return make


def counts(seed: int, n_spots: int = 200) -> np.ndarray:
    """(N, 60) counts of which about half are zero."""
    return np.random.default_rng(seed).negative_binomial(1, 0.5, (n_spots, len(GENES)))


def test_a_copy_is_found_reordered_thinned_and_with_another_panel(slide) -> None:
    one, rng = counts(0), np.random.default_rng(1)
    order = rng.permutation(len(one))
    written = {
        "one": slide("one", one),
        "copy": slide("copy", one),
        "reordered": slide("reordered", one, order, rng.permutation(len(GENES))),
        "thinned": slide("thinned", one, np.sort(order[: int(0.9 * len(order))])),
        "panel": slide("panel", one, genes=np.arange(15, 60)),
        "other": slide("other", counts(2)),
    }
    found = {frozenset((pair.one, pair.other)) for pair in duplicates(written, {})}
    same = [name for name in written if name != "other"]
    assert found == {frozenset((a, b)) for a in same for b in same if a != b}
    [told] = [str(pair) for pair in duplicates({name: written[name] for name in ("one", "thinned")}, {})]
    assert told == "one and thinned: 100% of the spots have the same counts"


def test_slides_without_telling_spots_are_no_duplicates(slide) -> None:
    """Empty spots, and spots that show three genes, agree by chance."""
    few = np.zeros((50, len(GENES)), dtype=int)
    few[:, :3] = 1
    assert duplicates({"one": slide("one", few), "other": slide("other", few)}, {}) == []
    halves = {
        name: slide(name, counts(0), genes=genes)
        for name, genes in zip("ab", np.arange(60).reshape(2, 30), strict=True)
    }
    assert duplicates(halves, {}) == [], "no gene is common"


def test_one_picture_with_other_counts_is_found(slide, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (30, 8, 8, 3), dtype=np.uint8)
    corners = np.stack([np.arange(30) * 10, np.arange(30)], axis=1)

    def tiles(name: str, order: np.ndarray, image: np.ndarray) -> Path:
        with h5py.File(tmp_path / f"{name}.h5", "w") as handle:
            handle["img"], handle["coords"] = image[order], corners[order]
        return tmp_path / f"{name}.h5"

    slides = {name: slide(name, counts(seed)) for seed, name in enumerate(("one", "same", "other"))}
    pictures = {
        "one": tiles("one", np.arange(30), image),
        "same": tiles("same", rng.permutation(30)[:25], image),
        "other": tiles("other", np.arange(30), 255 - image),
    }
    assert [str(pair) for pair in duplicates(slides, pictures)] == ["one and same: the same picture"]


@pytest.mark.real_data
@pytest.mark.skipif(not PACK.is_dir(), reason=f"no her2st pack at {PACK}")
def test_neighbouring_sections_share_no_spot(tmp_path: Path) -> None:
    written = {}
    for name in ("C2", "C3", "C4"):
        table = pd.read_csv(PACK / "counts" / f"{name}.tsv.gz", sep="\t", index_col=0)
        written[name] = tmp_path / f"{name}.h5ad"
        write_slide(
            written[name], name=name, patient="C", barcodes=list(table.index), centres_px=np.zeros((len(table), 2)),
            mpp=0.5, spot_diameter_um=100, genes=list(table.columns), counts=table.to_numpy(dtype=np.float32),
        )  # fmt: skip
    marks = spot_marks(written)
    assert all(len(marks[one][other]) > 100 for one in written for other in written if one != other)
    assert [shared_spots(marks[a][b], marks[b][a]) for a, b in (("C2", "C3"), ("C3", "C4"), ("C2", "C4"))] == [0, 0, 0]
