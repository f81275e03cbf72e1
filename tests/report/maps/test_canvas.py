"""What lies below the spots, and how large they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stflow.data.slide import write_slide
from stflow.errors import DataError
from stflow.layout import Layout
from stflow.report.maps.canvas import faded, read_canvas, round_length
from stflow.report.maps.page import Row, draw
from stflow.report.maps.panel import Panel, signed


def test_a_slide_without_a_picture_is_drawn_on_a_plain_ground(tmp_path: Path, lab) -> None:
    canvas = read_canvas(lab.write_tiles(tmp_path, thumbnail=False), "s1", lab.centres())
    assert canvas.picture is None
    row = Row("X", "s1", canvas, [Panel("Measured", np.zeros(lab.N)), Panel("Ridge", np.ones(lab.N))])
    assert [axes.get_title(loc="left") for axes in draw([row], "cividis").axes[:2]] == ["Measured", "Ridge"]


def test_spot_size_comes_from_the_slide_file(tmp_path: Path, lab) -> None:
    write_slide(
        Layout(tmp_path).slide("demo", "s1"), name="s1", patient="p", barcodes=[str(i) for i in range(lab.N)],
        centres_px=lab.centres(), mpp=lab.MPP, spot_diameter_um=100.0, genes=["A"], counts=np.ones((lab.N, 1)),
    )  # fmt: skip
    assert read_canvas(lab.write_tiles(tmp_path), "s1", lab.centres()).spot_px == 200


def test_a_slide_without_a_scale_is_refused(tmp_path: Path, lab) -> None:
    with pytest.raises(DataError, match="tells no um/px"):
        read_canvas(lab.write_tiles(tmp_path, mpp=False), "s1", lab.centres())


def test_faded_tissue_is_small_grey_and_light() -> None:
    picture = np.zeros((900, 600, 3), np.uint8)
    picture[..., 0] = 200
    found = faded(picture)
    assert max(found.shape[:2]) == 500
    assert np.ptp(found, axis=2).max() == 0
    assert found.min() >= 255 * 0.7 - 1


@pytest.mark.parametrize(("um", "expected"), [(1, 1), (3.9, 2), (480, 200), (525, 500), (2000, 2000), (1e4, 1e4)])
def test_scale_bars_have_round_lengths(um: float, expected: float) -> None:
    assert round_length(um) == expected


def test_numbers_have_a_minus_and_nothing_is_minus_zero() -> None:
    assert (signed(-0.256, 2), signed(-0.001, 2), signed(1.25, 1, "+")) == ("−0.26", "0.00", "+1.2")
