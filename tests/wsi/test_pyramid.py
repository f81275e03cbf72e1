"""A pyramid keeps every pixel and its scale, and is whole or absent."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pytest
from PIL import Image

from stflow.errors import IntegrityError, SlideError
from stflow.wsi.pyramid import write_pyramid

PICTURE = np.random.default_rng(0).integers(0, 255, (700, 900, 3), dtype=np.uint8)


@pytest.mark.parametrize("mpp", [0.2528, 0.5, 3.19])
def test_openslide_reads_pixels_and_scale_back(tmp_path: Path, mpp: float) -> None:
    write_pyramid(tmp_path / "s.tif", PICTURE, mpp)
    with openslide.OpenSlide(tmp_path / "s.tif") as slide:
        assert slide.dimensions == (900, 700)
        assert slide.level_count >= 2
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(mpp, rel=1e-6)
        pixels = np.asarray(slide.read_region((100, 200), 0, (300, 250)))[..., :3]
    assert (pixels == PICTURE[200:450, 100:400]).all()


def test_a_plain_image_becomes_the_same_pyramid(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "plain.png")
    write_pyramid(tmp_path / "a.tif", tmp_path / "plain.png", 0.5)
    write_pyramid(tmp_path / "b.tif", PICTURE, 0.5)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_transparency_becomes_glass(tmp_path: Path) -> None:
    rgba = np.dstack([PICTURE, np.zeros(PICTURE.shape[:2], dtype=np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "plain.png")
    write_pyramid(tmp_path / "a.tif", tmp_path / "plain.png", 0.5)
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert (np.asarray(slide.read_region((0, 0), 0, (50, 50)))[..., :3] == 255).all()


def test_jpeg_is_smaller_and_close(tmp_path: Path) -> None:
    smooth = np.tile(np.linspace(60, 200, 900, dtype=np.uint8)[None, :, None], (700, 1, 3))
    noisy = np.clip(smooth + np.random.default_rng(0).normal(0, 2, smooth.shape), 0, 255).astype(np.uint8)
    write_pyramid(tmp_path / "l.tif", noisy, 0.5)
    write_pyramid(tmp_path / "j.tif", noisy, 0.5, compression="jpeg")
    assert (tmp_path / "j.tif").stat().st_size < (tmp_path / "l.tif").stat().st_size / 2
    with openslide.OpenSlide(tmp_path / "j.tif") as slide:
        pixels = np.asarray(slide.read_region((0, 0), 0, (900, 700)))[..., :3]
    assert np.abs(pixels.astype(int) - noisy).mean() < 3


@pytest.mark.parametrize("mpp", [0.0, -1.0, float("nan")])
def test_a_slide_without_scale_is_not_written(tmp_path: Path, mpp: float) -> None:
    with pytest.raises(SlideError, match="is not a scale"):
        write_pyramid(tmp_path / "s.tif", PICTURE, mpp)
    assert not (tmp_path / "s.tif").exists()


def test_a_truncated_source_is_refused(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "plain.jpg")
    whole = (tmp_path / "plain.jpg").read_bytes()
    (tmp_path / "plain.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError, match=r"plain\.jpg: the image could not be read .* Fetch it again"):
        write_pyramid(tmp_path / "s.tif", tmp_path / "plain.jpg", 0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["plain.jpg"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, full_disk: Callable[[str, int], str]) -> None:
    output = full_disk(
        f"""
        import numpy as np
        from pathlib import Path
        from stflow.wsi.pyramid import write_pyramid
        picture = np.random.default_rng(0).integers(0, 255, (700, 900, 3), dtype=np.uint8)
        write_pyramid(Path({str(tmp_path / "s.tif")!r}), picture, 0.5)
        """,
        200_000,
    )
    assert output.startswith("ResourceError disk full while writing")
    assert list(tmp_path.iterdir()) == []
