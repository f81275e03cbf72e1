"""Tissue is told from glass, ink and bubbles whatever the stain, smear or mask; shares count pixels."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from stflow.wsi.slide_image import open_slide
from stflow.wsi.tiles import Spots
from stflow.wsi.tissue import ink_mask, tissue_mask, tissue_share

HER2ST = Path(__file__).resolve().parents[3] / "shared" / "data" / "her2st"
MPP = 8.0
Y, X = np.mgrid[:200, :240]
DISC = np.hypot(X - 120, Y - 100) < 60
FAR = np.hypot(X - 120, Y - 100) > 64


def picture(glass: tuple[int, int, int], tissue: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """A disc of tissue, coarse-grained as nuclei make it, on glass with a little noise."""
    rng = np.random.default_rng(seed)
    image = np.where(DISC[..., None], np.array(tissue), np.array(glass)).astype(np.float64)
    image += rng.normal(0, 1, image.shape)
    image[DISC] += rng.normal(0, 18, (DISC.sum(), 1))
    return np.clip(image, 0, 255).astype(np.uint8)


def overlap(mask: np.ndarray) -> float:
    return float((mask & DISC).sum() / (mask | DISC).sum())


@pytest.mark.parametrize("glass", [(244, 242, 245), (225, 205, 228), (200, 200, 200)])
@pytest.mark.parametrize("tissue", [(190, 120, 180), (225, 200, 220), (110, 80, 150)])
def test_disc_is_found(glass: tuple[int, int, int], tissue: tuple[int, int, int]) -> None:
    assert overlap(tissue_mask(picture(glass, tissue), MPP)) > 0.93


def test_run_stain_beside_the_tissue_is_glass() -> None:
    image = picture((240, 235, 240), (190, 120, 180)).astype(np.float64)
    smear = 45 * np.exp(-((X - 200) ** 2 + (Y - 100) ** 2) / (2 * 30**2)) * ~DISC
    image[..., 1] -= smear
    assert overlap(tissue_mask(np.clip(image, 0, 255).astype(np.uint8), MPP)) > 0.93


def test_black_mask_is_not_tissue() -> None:
    image = picture((0, 0, 0), (190, 120, 180))
    assert overlap(tissue_mask(image, MPP)) > 0.9
    assert not tissue_mask(np.zeros((50, 50, 3), dtype=np.uint8), MPP).any()


def test_holes_of_a_lumen_are_filled_and_dust_is_dropped() -> None:
    image = picture((240, 238, 240), (190, 120, 180))
    image[90:110, 110:130] = (240, 238, 240)  # 160 um of lumen
    image[10:13, 10:13] = (60, 40, 90)
    mask = tissue_mask(image, MPP)
    assert mask[100, 120]
    assert not mask[5:20, 5:20].any()


def test_a_small_corner_of_glass_is_not_a_hole() -> None:
    image = picture((190, 120, 180), (190, 120, 180))
    image = np.clip(image + np.random.default_rng(1).normal(0, 18, (200, 240, 1)), 0, 255).astype(np.uint8)
    image[:30, :30] = (240, 238, 240)  # 57,600 um2: as a hole it would be filled
    mask = tissue_mask(image, MPP)
    assert not mask[:24, :24].any()
    assert mask[40:, 40:].mean() > 0.99


def test_empty_glass_has_no_tissue_and_full_tissue_no_glass() -> None:
    rng = np.random.default_rng(0)
    glass = np.clip(rng.normal(240, 1, (100, 100, 3)), 0, 255).astype(np.uint8)
    tissue = np.clip(np.array((190, 120, 180)) + rng.normal(0, 18, (100, 100, 1)), 0, 255).astype(np.uint8)
    assert tissue_mask(glass, MPP).mean() == 0
    assert tissue_mask(tissue, MPP).mean() > 0.99


def test_share_counts_pixels() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:15, 10:20] = True
    corners = np.array([[10, 5], [5, 5], [20, 5], [-5, -5], [25, 15], [9.6, 5.4]])
    np.testing.assert_allclose(tissue_share(mask, corners, 10.0), [1, 0.5, 0, 0, 0, 1])


# -- what is on slides beside tissue -------------------------------------------------------------------------

INKS = {"blue": (40, 70, 175), "green": (25, 130, 75), "red": (205, 35, 45), "black": (48, 47, 50)}


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0))


def written(image: np.ndarray, ink: tuple[int, int, int], where: np.ndarray, seed: int = 3) -> np.ndarray:
    """A pen's stroke: its edges a pixel soft, its ink uneven."""
    cover = ndimage.gaussian_filter(where.astype(np.float64), 0.8)[..., None]
    colour = np.array(ink) * np.random.default_rng(seed).normal(1, 0.08, (*where.shape, 1))
    return np.clip(image * (1 - cover) + colour * cover, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("ink", list(INKS))
@pytest.mark.parametrize("tissue", [(190, 120, 180), (225, 200, 220), (110, 80, 150)])
def test_ink_is_not_tissue_on_glass_or_on_tissue(ink: str, tissue: tuple[int, int, int]) -> None:
    line = np.abs(X - Y - 75) < 5  # across glass and the edge of the disc, 56 um wide
    dots = (np.hypot(X - 30, Y - 40) < 8) | (np.hypot(X - 100, Y - 120) < 5)
    pen = line | dots
    image = written(picture((243, 240, 244), tissue), INKS[ink], pen)
    mask, truth = tissue_mask(image, MPP), DISC & ~pen
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9
    assert mask[pen].mean() < 0.02
    assert not mask[FAR].any()


def test_a_slide_with_nothing_but_ink_has_no_tissue() -> None:
    image = np.full((200, 240, 3), (243, 240, 244), dtype=np.uint8)
    for number, ink in enumerate(INKS.values()):
        image = written(image, ink, np.abs(X - 40 - 50 * number) < 4)
    noise = np.random.default_rng(0).normal(0, 1, image.shape)
    assert tissue_mask(np.clip(image + noise, 0, 255).astype(np.uint8), MPP).mean() < 0.002


@pytest.mark.parametrize("nucleus", [(42, 40, 87), (48, 52, 115), (89, 104, 158)])
def test_blue_nuclei_are_tissue_and_not_ink(nucleus: tuple[int, int, int]) -> None:
    """Colours as haematoxylin has them on her2st's slides."""
    image = picture((243, 240, 244), (180, 140, 190)).astype(np.float64)
    image[DISC & (np.random.default_rng(0).random(DISC.shape) < 0.4)] = nucleus
    assert overlap(tissue_mask(image.astype(np.uint8), MPP)) > 0.93


def test_rims_of_air_bubbles_are_not_tissue() -> None:
    image = picture((240, 238, 241), (190, 120, 180)).astype(np.float64)
    for x, y, radius in ((30, 150, 22), (205, 40, 30), (40, 30, 12)):
        rim = np.abs(np.hypot(X - x, Y - y) - radius) < 1.5
        image[rim & ~DISC] = (150, 149, 151)
        image[np.hypot(X - x, Y - y) < radius - 1.5] += 6  # a bubble is a little brighter
    mask = tissue_mask(np.clip(blur(image, 0.6), 0, 255).astype(np.uint8), MPP)
    assert overlap(mask) > 0.9
    assert not mask[FAR].any()


def test_a_fold_is_tissue() -> None:
    image = picture((240, 238, 241), (205, 150, 195)).astype(np.float64)
    fold = (np.abs(X + Y - 220) < 6) & DISC
    image[fold] = image[fold] * (0.35, 0.25, 0.45)
    mask = tissue_mask(image.astype(np.uint8), MPP)
    assert overlap(mask) > 0.93
    assert mask[fold].mean() > 0.95


def test_a_faint_piece_is_found_beside_a_deeply_stained_one() -> None:
    rng = np.random.default_rng(0)
    image = np.full((200, 240, 3), (242, 240, 243), dtype=np.float64) + rng.normal(0, 0.8, (200, 240, 3))
    deep, faint = np.hypot(X - 65, Y - 100) < 45, np.hypot(X - 180, Y - 100) < 45
    image[deep] = np.array((150, 80, 150)) + rng.normal(0, 30, (deep.sum(), 1))
    image[faint] = np.array((236, 224, 235)) + rng.normal(0, 5, (faint.sum(), 1))
    mask = tissue_mask(np.clip(image, 0, 255).astype(np.uint8), MPP)
    truth = deep | faint
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9
    assert mask[faint].mean() > 0.9


@pytest.mark.real_data
@pytest.mark.skipif(not HER2ST.is_dir(), reason=f"no her2st pack at {HER2ST}")
@pytest.mark.parametrize(
    ("section", "spots"), [("A1", 346), ("A2", 325), ("B4", 283), ("C2", 187), ("C3", 180), ("C4", 184)]
)
def test_real_sections_keep_every_spot(section: str, spots: int, tmp_path: Path) -> None:
    """All published spots lie on tissue, with run stain beside it, and blue nuclei that a pen could have written."""
    made = make_section_and_slide(section, tmp_path)
    with open_slide(tmp_path / "wsis" / f"{section}.tif") as image:
        seen = image.overview(MPP / made.mpp)
    mask = tissue_mask(seen.picture, made.mpp * seen.downsample)
    side = 112 / made.mpp
    share = tissue_share(mask, (made.centres_px - side / 2) / seen.downsample, side / seen.downsample)
    assert (share >= 0.15).sum() == spots
    assert (share >= 0.5).sum() >= spots - 1
    assert ink_mask(seen.picture, made.mpp * seen.downsample).mean() < 0.002


def make_section_and_slide(section: str, root: Path) -> Spots:
    from stflow.data.counts import make_counts
    from stflow.data.her2st import make_section

    make_section(section, root, HER2ST)
    make_counts("hest", root, "HER2ST", section, section[0], root / "slide.h5ad")
    return Spots.read(root / "slide.h5ad")
