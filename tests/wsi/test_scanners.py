"""Scanners' files are opened by content through OpenSlide, whatever the benchmark's own suffix is."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from stflow.data.formats.hest import SUFFIXES, Hest
from stflow.errors import IntegrityError, SlideError
from stflow.wsi.scale import Scale
from stflow.wsi.slide_image import open_slide

PICTURE = np.random.default_rng(0).integers(0, 255, (600, 800, 3), dtype=np.uint8)
APERIO = "Aperio Image Library v11.2.1\r\n800x600 [0,0 800x600] (256x256) RAW|AppMag = 20|MPP = 0.4990"


def write_svs(path: Path, description: str = APERIO) -> None:
    """What OpenSlide needs to see Aperio's format: tiles, and a description that begins as theirs does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, PICTURE, tile=(256, 256), photometric="rgb", description=description, metadata=None)


def test_an_aperio_slide_is_read_with_its_own_scale(tmp_path: Path) -> None:
    write_svs(tmp_path / "S1.svs")
    with open_slide(tmp_path / "S1.svs") as image:
        assert image.properties["openslide.vendor"] == "aperio"
        assert image.size == (800, 600)
        assert image.scale() == Scale(0.499, "openslide.mpp-x")
        assert (image.region(100, 200, 1, 64, 64) == PICTURE[200:264, 100:164]).all()


def test_magnification_alone_is_no_scale(tmp_path: Path) -> None:
    write_svs(tmp_path / "S1.svs", APERIO.replace("|MPP = 0.4990", ""))
    with open_slide(tmp_path / "S1.svs") as image, pytest.raises(SlideError, match=r"objective \(20x\) is a hint only"):
        image.scale()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_slide_is_found_by_any_scanners_suffix(tmp_path: Path, suffix: str) -> None:
    write_svs(tmp_path / "wsis" / f"S1{suffix}")
    write_svs(tmp_path / "wsis" / f"S10{suffix}")  # another slide
    (found,) = Hest(tmp_path).image_files("IDC", "S1")
    assert found.name == f"S1{suffix}"
    with open_slide(found) as image:
        assert image.properties["openslide.vendor"] == "aperio"


def test_two_images_of_a_slide_are_refused_and_none_is_planned_for(tmp_path: Path) -> None:
    assert Hest(tmp_path).image_files("IDC", "S1") == [tmp_path / "wsis" / "S1.tif"]
    for suffix in (".svs", ".ndpi"):
        write_svs(tmp_path / "wsis" / f"S1{suffix}")
    with pytest.raises(SlideError, match=r"S1 has 2 images: .*S1\.svs, .*S1\.ndpi\. Keep the one"):
        Hest(tmp_path).image_files("IDC", "S1")


def test_a_mirax_slide_brings_the_folder_of_its_pixels(tmp_path: Path) -> None:
    folder = tmp_path / "wsis" / "S1"
    folder.mkdir(parents=True)
    for path in (tmp_path / "wsis" / "S1.mrxs", folder / "Slidedat.ini", folder / "Data0000.dat"):
        path.write_bytes(b"")
    names = [path.name for path in Hest(tmp_path).image_files("IDC", "S1")]
    assert names == ["S1.mrxs", "Data0000.dat", "Slidedat.ini"]


@pytest.mark.parametrize("suffix", [".mrxs", ".ndpi", ".svs"])
def test_a_file_of_a_scanners_suffix_that_is_none_is_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"S1{suffix}").write_bytes(b"no slide at all")
    with pytest.raises(IntegrityError, match="cannot be read as a slide"):
        open_slide(tmp_path / f"S1{suffix}")
