"""HisToGene learns from pixels and places, and has not got the public code's traps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor

from stflow.data.slide import Slide
from stflow.data.tile_images import TileImages
from stflow.errors import IntegrityError, RunFailed
from stflow.layout import TILES
from stflow.models.base import Task
from stflow.models.check import GENES, made_slides
from stflow.models.histogene import HisToGene, HisToGeneSettings
from stflow.models.histogene.learner import HisToGeneLearner
from stflow.models.histogene.network import PatchTransformer
from stflow.models.histogene.patches import Patches, array_positions, from_the_middle, patches_of, reduced
from stflow.training.score import mean_pearson

TASK = Task(GENES, TILES, ("histogene test",))
TINY = HisToGeneSettings(
    patch_px=4, hidden=16, layers=1, heads=2, head_dim=4, epochs=3, regions_per_slide=2, learning_rate=2e-3
)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Slide]:
    """Four slides of 81 spots whose tiles' colour follows the first three genes."""
    return list(made_slides(tmp_path_factory.mktemp("tiles"), TILES, tiles=True))


def slide_at(folder: Path, centres_um: np.ndarray) -> Slide:
    """A slide with grey 4 px tiles and one count a gene at these places."""
    n = len(centres_um)
    names = np.array([f"b{spot}" for spot in range(n)], dtype=object)
    with h5py.File(folder / "tiles.h5", "w") as handle:
        handle["img"] = np.full((n, 4, 4, 3), 128, dtype=np.uint8)
        handle["barcode"] = [[name] for name in names]
    counts = sparse.csc_matrix(np.random.default_rng(0).poisson(1.0, (n, len(GENES))).astype(np.float32))
    return Slide("S", "P", names, centres_um, 1.0, GENES, counts, {}, TileImages.of(folder / "tiles.h5"))


def grid(columns: int, rows: int, pitch: float = 100.0) -> np.ndarray:
    row, column = np.mgrid[:rows, :columns]
    return np.stack([column.ravel(), row.ravel()], axis=1) * pitch


def hexagonal(columns: int, rows: int) -> np.ndarray:
    row, column = np.mgrid[:rows, :columns]
    return np.stack([(column + 0.5 * (row % 2)).ravel(), row.ravel() * np.sqrt(0.75)], axis=1) * 100.0


# -- places ----------------------------------------------------------------------------------------------------


def test_columns_and_rows_are_those_of_the_array() -> None:
    rng = np.random.default_rng(0)
    centres = grid(7, 5) + rng.normal(0, 3, (35, 2)) + np.array([3000, 9000])
    expected = (grid(7, 5) / 100).astype(int)
    np.testing.assert_array_equal(array_positions(centres), expected)
    kept = rng.permutation(35)[:20]
    kept[:2] = 0, 34  # the corners decide where counting begins
    np.testing.assert_array_equal(array_positions(centres[kept]), expected[kept])


def test_a_slide_beyond_the_tables_fails_with_what_to_set_and_not_with_an_index(tmp_path: Path) -> None:
    """The public class holds 64 columns and rows; a Visium array has 78 rows of 64 spots."""
    visium = slide_at(tmp_path, hexagonal(64, 78))
    settings = TINY.model_copy(update={"positions": "tables"})
    with pytest.raises(RunFailed, match=r"slide S spans 68 columns or rows .* hold 64: set table_size to 68 or more"):
        patches_of(visium, settings, "cpu")
    method = HisToGene(settings.model_copy(update={"table_size": 68}), TASK)
    method.fit([visium.subset(np.arange(200))], [], seed=0)
    assert np.isfinite(method.predict(visium, seed=0)).all()


def test_linear_places_are_of_the_section_and_not_of_the_region(tmp_path: Path) -> None:
    slide = slide_at(tmp_path, grid(5, 3) + np.array([12_000, 40_000]))
    patches = patches_of(slide, TINY, "cpu")
    np.testing.assert_allclose(patches.positions[0], [-0.2, -0.1], atol=1e-6)
    np.testing.assert_allclose(patches.positions[14], [0.2, 0.1], atol=1e-6)
    np.testing.assert_array_equal(patches.region(torch.tensor([14, 3])).positions, patches.positions[[14, 3]])
    np.testing.assert_array_equal(from_the_middle(grid(1, 1) + 77, 1000), [[0, 0]])


def test_places_matter(slides: list[Slide]) -> None:
    method = HisToGene(TINY, TASK)
    method.fit(slides[:1], [], seed=0)
    moved = replace(slides[3], centres_px=slides[3].centres_px * 3)
    assert np.abs(method.predict(moved, seed=0) - method.predict(slides[3], seed=0)).max() > 1e-3


# -- pixels ----------------------------------------------------------------------------------------------------


def test_tiles_are_reduced_by_area_column_after_column() -> None:
    tile = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    tile[0, :2, :2, 0] = [[10, 20], [30, 41]]  # upper left, red: mean 25.25
    tile[0, :2, 2:, 1] = 8  # upper right, green
    tile[0, 2:, :2, 2] = 9  # lower left, blue
    expected = [25, 0, 0, 0, 0, 9, 0, 8, 0, 0, 0, 0]  # (x, y) = (0, 0), (0, 1), (1, 0), (1, 1)
    np.testing.assert_array_equal(reduced(tile, 2)[0], expected)
    assert reduced(tile, 2).dtype == torch.uint8
    assert reduced(tile, 3).shape == (1, 27)
    assert reduced(tile, 8).shape == (1, 192)


@pytest.mark.parametrize(("side", "px"), [(224, 28), (96, 16), (224, 14), (48, 3), (224, 56)])
def test_sums_of_whole_squares_are_the_area_average(side: int, px: int) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    values = torch.from_numpy(tiles).permute(0, 3, 2, 1).float()
    area = torch.nn.functional.interpolate(values, size=(px, px), mode="area").round()
    np.testing.assert_array_equal(reduced(tiles, px), area.permute(0, 2, 3, 1).reshape(3, -1).to(torch.uint8))


def test_turning_gives_each_spot_one_of_eight_symmetries_of_its_own_patch() -> None:
    n = 400
    square = np.random.default_rng(0).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    pixels = torch.from_numpy(square.reshape(1, -1)).repeat(n, 1)
    pixels[1::2] = 255 - pixels[1::2]
    patches = Patches(pixels, torch.zeros(n, 2), torch.zeros(n, 2, dtype=torch.float64))
    turned = patches.turned(torch.Generator().manual_seed(0))
    flats = [np.swapaxes(square, 0, 1), square]
    wanted = {np.ascontiguousarray(np.rot90(flat, times)).tobytes() for flat in flats for times in range(4)}
    assert {row.numpy().tobytes() for row in turned.pixels[::2]} == wanted
    assert {(255 - row).numpy().tobytes() for row in turned.pixels[1::2]} == wanted
    assert torch.equal(turned.pixels, patches.turned(torch.Generator().manual_seed(0)).pixels)


def test_a_spot_takes_38_kilobytes_until_it_is_looked_at(slides: list[Slide]) -> None:
    patches = patches_of(slides[0], HisToGeneSettings(), "cpu")
    assert patches.pixels.element_size() * patches.pixels[0].numel() == 37_632


def test_without_tiles_the_error_says_so(slides: list[Slide]) -> None:
    with pytest.raises(IntegrityError, match="slide S0 comes without tiles"):
        patches_of(replace(slides[0], tiles=None), TINY, "cpu")


# -- memory ----------------------------------------------------------------------------------------------------


def test_nothing_of_spots_times_spots_is_kept_for_the_gradient() -> None:
    n, sizes = 700, []
    network = PatchTransformer(TINY, 3)
    spots = Patches(torch.zeros(n, 48, dtype=torch.uint8), torch.rand(n, 2), torch.rand(n, 2, dtype=torch.float64))

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network(spots).sum().backward()
    assert len(sizes) > 10
    assert max(sizes) < n * n / 4


@pytest.mark.parametrize("sample", ["region", "section"])
def test_backs_off_when_memory_runs_out(sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, sizes = HisToGeneLearner.loss, []

    def loss(self: HisToGeneLearner, region: Patches, expression: Tensor, generator: torch.Generator) -> Tensor:
        if len(region) > 280:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(region))
        return plain(self, region, expression, generator)

    monkeypatch.setattr(HisToGeneLearner, "loss", loss)
    slide = slide_at(tmp_path, grid(30, 20))
    settings = TINY.model_copy(update={"sample": sample, "epochs": 6})
    fit = HisToGene(settings, TASK).fit([slide], [], seed=0)
    assert fit.facts["out_of_memory"] >= 1
    assert fit.facts["spots_limit"] in (256, 300)
    assert max(sizes) <= 280
    if sample == "section":
        assert set(sizes) == {256}


def test_whole_sections_are_seen_whole(slides: list[Slide], monkeypatch: pytest.MonkeyPatch) -> None:
    plain, sizes = HisToGeneLearner.loss, []
    monkeypatch.setattr(HisToGeneLearner, "loss", lambda *of: sizes.append(len(of[1])) or plain(*of))
    settings = TINY.model_copy(update={"sample": "section", "regions_per_slide": 1})
    HisToGene(settings, TASK).fit(slides[:2], [], seed=0)
    assert sizes == [81] * 6


# -- learning --------------------------------------------------------------------------------------------------


def test_learns_a_signal_in_the_pixels(slides: list[Slide]) -> None:
    settings = TINY.model_copy(update={"epochs": 25, "regions_per_slide": 6, "learning_rate": 5e-3})
    method = HisToGene(settings, TASK)
    fit = method.fit(slides[:3], slides[2:3], seed=0)
    measured, predicted = slides[3].expression(GENES), method.predict(slides[3], seed=0)
    assert fit.facts["n_params"] == HisToGene.n_params(settings, 0, len(GENES))
    assert mean_pearson(measured[:, :3], predicted[:, :3]) > 0.6
    mean = np.concatenate([slide.expression(GENES) for slide in slides[:3]]).mean(axis=0)
    assert np.square(measured - predicted)[:, :3].mean() < 0.7 * np.square(measured - mean)[:, :3].mean()


def test_the_same_map_everywhere_scores_zero_and_selection_goes_on(
    slides: list[Slide], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What full attention trained from scratch on few slides often gives; its Pearson correlation is undefined."""
    monkeypatch.setattr(HisToGeneLearner, "answer", lambda self, section: torch.full((len(section), len(GENES)), 0.7))
    fit = HisToGene(TINY, TASK).fit(slides[:2], slides[2:3], seed=0)
    assert [row["score"] for row in fit.history] == [0.0, 0.0, 0.0]
    assert fit.facts["best_epoch"] == 1


def test_resumes_to_the_same_bits(slides: list[Slide], tmp_path: Path, interrupted: Callable) -> None:
    def go(checkpoint: Path) -> dict[str, np.ndarray]:
        method = HisToGene(TINY, TASK)
        method.fit(slides[:2], slides[2:3], seed=0, checkpoint=checkpoint)
        return dict(method.state())

    whole = go(tmp_path / "whole")
    with interrupted(2):
        go(tmp_path / "killed")
    assert (tmp_path / "killed").exists()
    resumed = go(tmp_path / "killed")
    assert resumed.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


def test_a_loss_that_diverges_fails_the_run(slides: list[Slide]) -> None:
    settings = TINY.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(RunFailed, match=r"the loss became (inf|nan) in epoch"):
        HisToGene(settings, TASK).fit(slides[:1], [], seed=0)


def test_official_variants_are_the_public_codes_settings() -> None:
    official = HisToGeneSettings(**HisToGene.variants["official"])
    assert (official.hidden, official.layers, official.heads, official.head_dim) == (1024, 4, 16, 64)
    assert (official.positions, official.table_size, official.learning_rate) == ("tables", 64, 1e-5)
    assert (official.pixels, official.turned, official.sample) == ("raw", False, "section")
    tutorial = HisToGeneSettings(**HisToGene.variants["tutorial"])
    assert tutorial == official.model_copy(update={"layers": 8})
