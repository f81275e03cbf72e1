"""A slide is opened by what it is, read at its own scale, and refused when it is cut short."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from stflow.errors import IntegrityError, SlideError
from stflow.wsi.pyramid import write_pyramid
from stflow.wsi.scale import Scale, require_mpp
from stflow.wsi.slide_image import open_slide
from stflow.wsi.tiff import require_whole_tiff


def gradient(height: int = 700, width: int = 900) -> np.ndarray:
    """Every pixel says where it is, smoothly."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, np.full_like(x, 128)], axis=2).astype(np.uint8)


@pytest.fixture
def pyramid(tmp_path: Path) -> Path:
    write_pyramid(tmp_path / "s.tif", gradient(), 0.5)
    return tmp_path / "s.tif"


def test_pyramid_and_plain_image_read_alike(tmp_path: Path, pyramid: Path) -> None:
    Image.fromarray(gradient()).save(tmp_path / "plain.png")
    with open_slide(pyramid) as one, open_slide(tmp_path / "plain.png") as other:
        assert one.size == other.size == (900, 700)
        assert one.scale().mpp == pytest.approx(0.5)
        with pytest.raises(SlideError, match="has no um/px"):
            other.scale()
        for box in ((10, 20, 100, 224), (850, 650, 112, 112), (-30, -40, 90, 112), (300, 300, 224, 224)):
            assert np.abs(one.tile(*box).astype(int) - other.tile(*box)).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP"])
def test_a_suffix_may_lie(tmp_path: Path, kind: str) -> None:
    Image.fromarray(gradient()).save(tmp_path / "lie.png", format=kind)
    with open_slide(tmp_path / "lie.png") as image:
        assert image.size == (900, 700)
        assert np.abs(image.region(400, 300, 1, 50, 50).astype(int) - gradient()[300:350, 400:450]).max() < 10


def test_outside_is_white(pyramid: Path) -> None:
    with open_slide(pyramid) as image:
        tile = image.region(-50, -50, 1, 100, 100)
    assert (tile[:50] == 255).all()
    assert (tile[:, :50] == 255).all()
    assert (tile[50:, 50:] == gradient()[:50, :50]).all()


def test_a_tile_is_the_same_tissue_at_any_level(pyramid: Path) -> None:
    with open_slide(pyramid) as image:
        fine, coarse = image.tile(96, 64, 512, 512), image.tile(96, 64, 512, 128)
    shrunk = np.asarray(Image.fromarray(fine).resize((128, 128), Image.Resampling.BOX))
    assert np.abs(coarse.astype(int) - shrunk).max() <= 3


@pytest.mark.parametrize("downsample", [1.0, 3.0, 7.9, 16.0])
def test_overview_covers_the_slide(pyramid: Path, downsample: float) -> None:
    with open_slide(pyramid) as image:
        picture, exact, _ = image.overview(downsample)
    assert exact <= downsample * 1.01
    assert abs(picture.shape[1] * exact - 900) <= exact
    assert abs(picture.shape[0] * exact - 700) <= exact
    y, x = picture.shape[0] // 2, picture.shape[1] // 3
    assert picture[y, x, 0] == pytest.approx((x + 0.5) * exact * 255 / 900, abs=3)
    assert picture[y, x, 1] == pytest.approx((y + 0.5) * exact * 255 / 700, abs=3)


def test_an_overview_in_bands_is_the_whole(pyramid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_slide(pyramid) as image:
        whole, _, _ = image.overview(6.0)
        monkeypatch.setattr("stflow.wsi.slide_image._BAND_PIXELS", 20_000)
        banded, _, _ = image.overview(6.0)
    assert (whole == banded).all()


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_truncated_tiff_is_refused(tmp_path: Path, share: float, bigtiff: bool) -> None:
    path = tmp_path / "s.tif"
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), dtype=np.uint8)
    pyvips.Image.new_from_array(noise).tiffsave(str(path), tile=True, pyramid=True, bigtiff=bigtiff)
    require_whole_tiff(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(IntegrityError, match=r"s\.tif is cut short.*Fetch or make it again"):
        open_slide(path)


def test_a_truncated_png_is_refused(tmp_path: Path) -> None:
    Image.fromarray(gradient()).save(tmp_path / "s.png")
    whole = (tmp_path / "s.png").read_bytes()
    (tmp_path / "s.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError, match="it is damaged"):
        open_slide(tmp_path / "s.png")


def test_damage_within_a_pyramid_is_an_error_and_not_a_blank_tile(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), dtype=np.uint8)
    write_pyramid(path, noise, 0.5)
    damaged = bytearray(path.read_bytes())
    damaged[5_000:200_000] = bytes(195_000)
    path.write_bytes(damaged)
    with open_slide(path) as image, pytest.raises(IntegrityError, match="it is damaged"):
        image.region(0, 0, 1, 600, 600)


def test_no_file_and_no_image(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="no slide image at"):
        open_slide(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("not an image")
    with pytest.raises(IntegrityError, match="cannot be read as a slide"):
        open_slide(tmp_path / "text.tif")


@pytest.mark.parametrize(
    ("mpp", "words"), [(None, "has no um/px"), (float("nan"), "has no um/px"), (352.8, "claims 352.8")]
)
def test_a_scale_must_be_a_microscopes(mpp: float | None, words: str) -> None:
    with pytest.raises(SlideError, match=rf"{words}.*pixel_size_um_estimated"):
        require_mpp(mpp, "slide S1")


def test_scale_of_a_plain_tiff_is_read(tmp_path: Path, make_slide: Callable) -> None:
    pyvips.Image.new_from_array(gradient()).tiffsave(str(tmp_path / "p.tif"), resunit="cm", xres=2000, yres=2000)
    with open_slide(tmp_path / "p.tif") as image:
        assert image.scale() == Scale(pytest.approx(0.5), "TIFF resolution tags")
