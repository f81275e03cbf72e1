"""Tissue is told from glass whatever the stain, smear or mask; shares count pixels."""

import numpy as np
import pytest

from stflow.wsi.tissue import tissue_mask, tissue_share

MPP = 8.0
Y, X = np.mgrid[:200, :240]
DISC = np.hypot(X - 120, Y - 100) < 60


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
