"""Tiles are the right pixels of the right spots at the right scale, whole or absent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from stflow.data.slide import write_slide
from stflow.errors import DataError, IntegrityError, ResourceError, SlideError
from stflow.wsi.pyramid import write_pyramid
from stflow.wsi.tiles import Spots, cut_tiles, make_tiles

MakeSlide = Callable[..., Any]


def cut(made: Any, out: Path, **changes: Any) -> h5py.File:
    options = {"tile_um": 112.0, "tile_px": 224, "min_tissue": 0.15, **changes}
    make_tiles("hest", made.root, "D", made.name, made.slide_file, out, **options)
    return h5py.File(out)


def test_tiles_are_the_pixels_around_their_spots(make_slide: MakeSlide, tmp_path: Path) -> None:
    made = make_slide(mpp=0.5)  # 112 um are 224 px: nothing is resized
    with cut(made, tmp_path / "t.h5") as tiles:
        names = tiles["barcode"].asstr()[:].ravel()
        assert len(names) > 10
        for row, name in enumerate(names):
            x, y = made.centres_px[made.barcodes.index(name)]
            left, top = int(x - 112), int(y - 112)
            assert tuple(tiles["coords"][row]) == (left, top)
            assert tuple(tiles["centres"][row]) == (x, y)
            assert (tiles["img"][row] == made.image[top : top + 224, left : left + 224]).all()


def test_spots_on_tissue_are_kept_and_those_off_it_dropped(make_slide: MakeSlide, tmp_path: Path) -> None:
    made = make_slide()
    with cut(made, tmp_path / "t.h5") as tiles:
        kept = set(tiles["barcode"].asstr()[:].ravel())
    distance = np.hypot(*(made.centres_px * made.mpp - 300).T)
    assert {name for name, d in zip(made.barcodes, distance, strict=True) if d < 180} <= kept
    assert not kept & {name for name, d in zip(made.barcodes, distance, strict=True) if d > 280}


def test_more_tissue_asked_for_keeps_a_subset(make_slide: MakeSlide, tmp_path: Path) -> None:
    made = make_slide()
    kept = []
    for share in (0.0, 0.15, 0.35, 0.9):
        with cut(made, tmp_path / f"{share}.h5", min_tissue=share) as tiles:
            kept.append(set(tiles["barcode"].asstr()[:].ravel()))
    assert kept[0] > kept[1] >= kept[2] > kept[3]


def test_scale_and_not_magnification_decides(make_slide: MakeSlide, tmp_path: Path) -> None:
    """The same tissue scanned at half the resolution gives the same spots and nearly the same tiles."""
    fine = make_slide(name="fine", mpp=0.5)
    coarse_image = np.asarray(Image.fromarray(fine.image).reduce(2))
    write_pyramid(tmp_path / "wsis" / "coarse.tif", coarse_image, 1.0)
    write_slide(
        tmp_path / "coarse.slide.h5ad", name="coarse", patient="P", barcodes=fine.barcodes, genes=fine.genes,
        centres_px=fine.centres_px / 2, mpp=1.0, spot_diameter_um=55, counts=fine.counts,
    )  # fmt: skip
    options = {"tile_um": 112.0, "tile_px": 224, "min_tissue": 0.5}
    make_tiles("hest", tmp_path, "D", "coarse", tmp_path / "coarse.slide.h5ad", tmp_path / "c.h5", **options)
    with cut(fine, tmp_path / "f.h5", min_tissue=0.5) as one, h5py.File(tmp_path / "c.h5") as other:
        a, b = one["barcode"].asstr()[:].ravel().tolist(), other["barcode"].asstr()[:].ravel().tolist()
        shared = [name for name in a if name in b]
        assert len(shared) >= 0.9 * max(len(a), len(b))
        assert (one["coords"].attrs["patch_size_src"], other["coords"].attrs["patch_size_src"]) == (224, 112)
        for name in shared[::5]:
            difference = one["img"][a.index(name)].astype(int) - other["img"][b.index(name)]
            assert np.abs(difference).mean() < 6


def test_boxes_that_stick_out_are_kept_on_white_and_those_outside_dropped(
    make_slide: MakeSlide, tmp_path: Path
) -> None:
    made = make_slide()
    spots = Spots("S1", np.array(["corner", "outside", "middle"], dtype=object),
                  np.array([[20.0, 30.0], [-500.0, 600.0], [600.0, 600.0]]), 0.5, 55.0)  # fmt: skip
    cut_tiles(made.image_path, spots, tmp_path / "t.h5", tile_um=112, tile_px=224, min_tissue=0.0)
    with h5py.File(tmp_path / "t.h5") as tiles:
        assert tiles["barcode"].asstr()[:].ravel().tolist() == ["corner", "middle"]
        assert (tiles["img"][0, :82] == 255).all()
        assert (tiles["img"][0, 82:, 92:] == made.image[:142, :132]).all()


def test_spots_outside_the_image_are_counted_and_named(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    made = make_slide()
    names, centres = (
        ["in", "left", "below", "middle", "too"],
        [[500, 600], [-200, 600], [600, 1400], [600, 600], [650, 600]],
    )
    spots = Spots("S1", np.array(names, dtype=object), np.array(centres, dtype=float), 0.5, 55.0)
    cut_tiles(made.image_path, spots, tmp_path / "t.h5", tile_um=112, tile_px=224, min_tissue=0.15)
    with h5py.File(tmp_path / "t.h5") as tiles:
        assert tiles["barcode"].asstr()[:].ravel().tolist() == ["in", "middle", "too"]
        assert (tiles.attrs["n_off_slide"], tiles.attrs["n_off_tissue"], tiles.attrs["n_expected"]) == (2, 0, 3)
    assert "2 of 5 spots of S1 are outside the image and dropped: left, below" in capsys.readouterr().err


@pytest.mark.parametrize("shift", [[5000.0, 0.0], [0.0, -900.0]])
def test_spots_of_another_image_are_refused(make_slide: MakeSlide, tmp_path: Path, shift: list[float]) -> None:
    made = make_slide()
    spots = Spots("S1", np.array(made.barcodes, dtype=object), made.centres_px + shift, 0.5, 55.0)
    with pytest.raises(
        DataError, match=r"slide S1: \d+ of its 49 spots are outside .*1200 x 1200 px.*span x .*level-0 px"
    ):
        cut_tiles(made.image_path, spots, tmp_path / "t.h5", tile_um=112, tile_px=224, min_tissue=0.15)
    assert not (tmp_path / "t.h5").exists()


def test_the_file_says_who_said_its_scale(make_slide: MakeSlide, tmp_path: Path) -> None:
    from stflow.data.counts import make_counts

    made = make_slide()
    make_counts("hest", made.root, "D", "S1", "P", made.slide_file)
    with cut(made, tmp_path / "t.h5") as tiles:
        assert tiles.attrs["mpp_source"] == "openslide.mpp-x"


def test_the_file_describes_itself_as_hest_bench_does(make_slide: MakeSlide, tmp_path: Path) -> None:
    made = make_slide()
    with cut(made, tmp_path / "t.h5") as tiles:
        n = len(tiles["img"])
        assert tiles["img"].shape == (n, 224, 224, 3)
        assert tiles["img"].dtype == np.uint8
        assert tiles["img"].chunks == (1, 224, 224, 3)
        assert tiles["coords"].dtype == np.int64
        assert tiles["barcode"].shape == (n, 1)
        for key in ("coords", "img"):
            attrs = tiles[key].attrs
            assert (attrs["patch_size_src"], attrs["patch_size_target"], attrs["pixel_size"]) == (224, 224, 0.5)
            assert attrs["downsample"] == 1.0
        assert (tiles.attrs["slide"], tiles.attrs["n_expected"], tiles.attrs["tile_um"]) == ("S1", n, 112.0)


def test_thumbnail_lies_on_the_slide(make_slide: MakeSlide, tmp_path: Path) -> None:
    made = make_slide()
    with cut(made, tmp_path / "t.h5") as tiles:
        thumbnail, downsample = tiles["thumbnail"][:], float(tiles["thumbnail"].attrs["downsample"])
    assert max(thumbnail.shape) <= 1000
    assert thumbnail.shape[1] * downsample == pytest.approx(made.image.shape[1], rel=0.02)
    x, y = (np.array([300.0, 300.0]) / made.mpp / downsample).astype(int)
    assert thumbnail[y - 2 : y + 3, x - 2 : x + 3].mean() < 220  # tissue
    assert thumbnail[3, 3].mean() > 230  # glass


def test_the_same_slide_gives_the_same_bytes(make_slide: MakeSlide, tmp_path: Path) -> None:
    made = make_slide()
    hashes = []
    for name in ("a", "b"):
        with cut(made, tmp_path / f"{name}.h5") as tiles:
            hashes.append(tiles.attrs["img_sha256"])
    assert hashes[0] == hashes[1]


# -- what is refused -----------------------------------------------------------------------------------------


def test_a_slide_without_tissue_below_its_spots_is_refused(make_slide: MakeSlide, tmp_path: Path) -> None:
    made = make_slide()
    blank = np.full_like(made.image, 240)
    write_pyramid(made.image_path, blank, made.mpp)
    with pytest.raises(DataError, match=r"slide S1: none of its 49 spots is on tissue.*level-0 px of this image"):
        cut(made, tmp_path / "t.h5")
    assert not (tmp_path / "t.h5").exists()


def test_a_slide_file_without_mpp_is_refused(make_slide: MakeSlide, tmp_path: Path) -> None:
    made = make_slide()
    write_slide(
        made.slide_file, name="S1", patient="P", barcodes=made.barcodes, genes=made.genes, counts=made.counts,
        centres_px=made.centres_px, mpp=float("nan"), spot_diameter_um=55,
    )  # fmt: skip
    with pytest.raises(SlideError, match=r"slide S1 has no um/px.*metadata/<slide>\.json"):
        cut(made, tmp_path / "t.h5")


def test_a_truncated_slide_is_refused_and_a_whole_one_then_works(make_slide: MakeSlide, tmp_path: Path) -> None:
    made = make_slide()
    whole = made.image_path.read_bytes()
    made.image_path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(IntegrityError, match=r"S1\.tif is cut short"):
        cut(made, tmp_path / "t.h5")
    assert not (tmp_path / "t.h5").exists()
    made.image_path.write_bytes(whole)
    cut(made, tmp_path / "t.h5").close()


def test_a_full_disk_leaves_nothing_and_the_next_run_works(
    make_slide: MakeSlide, tmp_path: Path, full_disk: Callable[[str, int], str]
) -> None:
    made, out = make_slide(), tmp_path / "tiles" / "t.h5"
    code = f"""
        from pathlib import Path
        from stflow.wsi.tiles import make_tiles
        make_tiles("hest", Path({str(made.root)!r}), "D", "S1", Path({str(made.slide_file)!r}), Path({str(out)!r}),
                   tile_um=112.0, tile_px=224, min_tissue=0.15)
        """
    assert "ResourceError disk full while writing" in full_disk(code, 1_000_000)
    assert list(out.parent.iterdir()) == []
    cut(made, out).close()


def test_a_disk_too_small_is_refused_at_once(
    make_slide: MakeSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_slide()
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(ResourceError, match="disk full"):
        cut(made, tmp_path / "t.h5")


# -- patches that are ready ----------------------------------------------------------------------------------


def ready(tmp_path: Path, made: Any, **changes: Any) -> Path:
    """A hest-bench folder whose patches are those of ``made``, with changes."""
    cut(made, tmp_path / "cut.h5").close()
    path = tmp_path / "bench" / "IDC" / "patches" / "S1.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(tmp_path / "cut.h5") as source, h5py.File(path, "w") as target:
        for key in ("img", "coords", "barcode"):
            data = changes.get(key, source[key][:])
            if data is not None:
                target.create_dataset(key, data=data, dtype=h5py.string_dtype() if key == "barcode" else None)
        if changes.get("attrs", True):
            target["coords"].attrs.update(patch_size_src=224, pixel_size=0.5)
    return path


def link(tmp_path: Path, made: Any) -> Path:
    out = tmp_path / "results" / "tiles" / "S1.h5"
    make_tiles("hest_bench", tmp_path / "bench", "IDC", "S1", made.slide_file, out,
               tile_um=112.0, tile_px=224, min_tissue=0.15)  # fmt: skip
    return out


def test_ready_patches_are_linked_as_they_are(make_slide: MakeSlide, tmp_path: Path) -> None:
    made = make_slide()
    path = ready(tmp_path, made)
    for _ in range(2):  # a second call replaces the link
        out = link(tmp_path, made)
        assert out.is_symlink()
        assert not out.readlink().is_absolute()
        assert out.resolve() == path.resolve()
        assert len(list(out.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "barcode",
            lambda n: [["other"]] * n,
            "{n} of {n} barcodes of .* not in its counts .first: other.*one release",
        ),
        ("barcode", lambda n: [["3x3"]] * n, "occur twice"),
        ("barcode", lambda n: [["3x3"]] * 3, "{n} tiles, {n} corners and 3 barcodes"),
        ("img", lambda n: None, "no 'img'"),
        ("img", lambda n: np.zeros((n, 8, 8), dtype=np.uint8), "img is .{n}, 8, 8. uint8"),
        ("img", lambda n: np.zeros((n, 8, 8, 3), dtype=np.uint8), "its tiles are 8 px wide, 224 are asked for"),
        ("attrs", lambda n: False, "neither centres nor the attribute patch_size_src"),
    ],
)
def test_patches_of_another_form_are_refused(
    make_slide: MakeSlide, tmp_path: Path, key: str, value: Callable[[int], Any], words: str
) -> None:
    made = make_slide()
    with cut(made, tmp_path / "n.h5") as tiles:
        n = len(tiles["img"])
    ready(tmp_path, made, **{key: value(n)})
    with pytest.raises(IntegrityError, match=words.format(n=n)):
        link(tmp_path, made)
    assert not (tmp_path / "results" / "tiles" / "S1.h5").exists()


def test_truncated_patches_are_refused(make_slide: MakeSlide, tmp_path: Path) -> None:
    made = make_slide()
    path = ready(tmp_path, made)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError, match="not a whole HDF5 file"):
        link(tmp_path, made)


# -- a format whose tile is its spot -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["TIFF", "JPEG", "PNG"])
def test_stimage_tiles_are_squares_around_the_spot(make_slide: MakeSlide, tmp_path: Path, kind: str) -> None:
    made = make_slide()
    folder = tmp_path / "stimage" / "Visium" / "image"
    folder.mkdir(parents=True)
    Image.fromarray(made.image).save(folder / "S1.png", format=kind)
    image = np.asarray(Image.open(folder / "S1.png"))
    make_tiles("stimage", tmp_path / "stimage", "Breast", "S1", made.slide_file, tmp_path / "t.h5",
               tile_um=112.0, tile_px=224, min_tissue=0.15)  # fmt: skip
    with h5py.File(tmp_path / "t.h5") as tiles:
        assert tiles.attrs["tile_um"] == 55.0
        assert tiles["coords"].attrs["patch_size_src"] == 110
        assert tiles.attrs["tile_px"] == 224
        x, y = tiles["coords"][0]
        expected = Image.fromarray(image[y : y + 110, x : x + 110]).resize((224, 224), Image.Resampling.BILINEAR)
        assert np.abs(tiles["img"][0].astype(int) - np.asarray(expected)).max() <= 1


def test_stimage_tiles_may_be_224_pixels_as_they_are(make_slide: MakeSlide, tmp_path: Path) -> None:
    made = make_slide()
    folder = tmp_path / "stimage" / "Visium" / "image"
    folder.mkdir(parents=True)
    Image.fromarray(made.image).save(folder / "S1.png")
    make_tiles("stimage", tmp_path / "stimage", "Breast", "S1", made.slide_file, tmp_path / "t.h5",
               tile_um=112.0, tile_px=224, min_tissue=0.15, crop="pixels")  # fmt: skip
    with h5py.File(tmp_path / "t.h5") as tiles:
        assert tiles["coords"].attrs["patch_size_src"] == 224
        for tile, (x, y), centre in zip(tiles["img"], tiles["coords"], tiles["centres"], strict=True):
            np.testing.assert_array_equal((x, y), (centre - 112).astype(int))
            if min(x, y) >= 0 and max(x, y) + 224 <= len(made.image):
                np.testing.assert_array_equal(tile, made.image[y : y + 224, x : x + 224])


@pytest.mark.parametrize("mpp", [55 / 110, 100 / (2 * 54.328144511906295), 0.21, 0.3, 0.7])
def test_224_pixels_are_never_one_short_by_rounding(tmp_path: Path, mpp: float) -> None:
    from stflow.data.formats.hest import Hest
    from stflow.data.formats.stimage import STImage

    values = {"spot_um": 55.0, "mpp": mpp, "tile_px": 224}
    side = STImage(tmp_path).side_um(112.0, **values, crop="pixels") / mpp
    assert (side // 2, round(side)) == (112, 224)
    assert STImage(tmp_path).side_um(112.0, **values, crop="spot") == 55.0
    assert {Hest(tmp_path).side_um(112.0, **values, crop=crop) for crop in ("spot", "pixels")} == {112.0}
