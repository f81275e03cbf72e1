"""um/px: who is asked in which order, what is refused, and what the error says to do."""

import pytest

from stflow.errors import SlideError
from stflow.wsi.scale import Scale, find_scale, require_mpp

CM = {"tiff.ResolutionUnit": "centimeter", "tiff.XResolution": "20000", "tiff.YResolution": "20000"}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (
            {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.2501", "aperio.MPP": "0.4", **CM},
            (0.25, "openslide.mpp-x"),
        ),
        ({"aperio.MPP": "0.4990", **CM}, (0.499, "aperio.MPP")),
        (CM, (0.5, "TIFF resolution tags")),
        ({"tiff.ResolutionUnit": "inch", "tiff.XResolution": "50800"}, (0.5, "TIFF resolution tags")),
        ({}, (0.4, "metadata")),
        ({"tiff.ResolutionUnit": "inch", "tiff.XResolution": "72"}, (0.4, "metadata")),  # nobody's word
        ({"openslide.mpp-x": "1000"}, (0.4, "metadata")),
        ({"openslide.mpp-x": "unknown"}, (0.4, "metadata")),
    ],
)
def test_properties_tags_metadata_in_this_order(properties: dict[str, str], expected: tuple[float, str]) -> None:
    scale = find_scale("S1.svs", properties, metadata={"metadata": 0.4}, given=0.3)
    assert scale == Scale(pytest.approx(expected[0]), expected[1])


def test_the_user_is_asked_last() -> None:
    assert find_scale("S1", {}, metadata={"metadata": None}, given=0.3) == Scale(0.3, "the configuration")
    assert find_scale("S1", {}, tags=(0.5, 0.5), given=0.3).source == "TIFF resolution tags"


def test_the_error_names_three_remedies_and_magnification_is_a_hint() -> None:
    with pytest.raises(SlideError) as caught:
        find_scale("slide S1", {"openslide.objective-power": "20"})
    for words in (
        "slide S1 has no um/px",
        "objective (20x) is a hint only",
        "pixel_size_um_estimated in metadata/<slide>.json",
        "benchmarks.<name>.mpp in the configuration",
        "write the image again with its resolution tags",
    ):
        assert words in str(caught.value)


def test_a_screens_resolution_alone_is_told() -> None:
    with pytest.raises(SlideError, match=r"S1.tif claims 1000 um/px, outside the 0.02-20 of microscopes"):
        find_scale("S1.tif", {"openslide.mpp-x": "1000"})


@pytest.mark.parametrize(
    "properties", [{"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.5"}, {**CM, "tiff.YResolution": "10000"}]
)
def test_pixels_that_are_not_square_are_refused(properties: dict[str, str]) -> None:
    with pytest.raises(SlideError, match=r"not square, .* x .* um.*Resample the image"):
        find_scale("S1.tif", properties)


@pytest.mark.parametrize(
    ("mpp", "words"), [(None, "has no um/px"), (float("nan"), "has no um/px"), (352.8, "claims 352.8"), (0.0, "has no")]
)
def test_a_scale_must_be_a_microscopes(mpp: float | None, words: str) -> None:
    with pytest.raises(SlideError, match=rf"{words}.*pixel_size_um_estimated"):
        require_mpp(mpp, "slide S1")
    if mpp is not None:
        with pytest.raises(SlideError, match=words):
            find_scale("S1", {}, given=mpp)
