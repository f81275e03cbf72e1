"""The estimate in words."""

from __future__ import annotations

import pytest

from stflow.plan_cost import Estimate, Stage
from stflow.plan_download import Download
from stflow.plan_text import duration, size, to_text


def test_the_text() -> None:
    found = Estimate(
        {"train": Stage(4, 3.2, 0.5), "splits": Stage(1, 0.4 / 3600)}, {"models": 3e6}, Download(2e9, 1e9, 3)
    )
    lines = to_text(found, 8, 64).splitlines()
    assert lines[0].split() == ["stage", "jobs", "core-hours", "GPU-hours"]
    assert lines[1].split() == ["train", "4", "3.2", "h", "30.0", "min"]
    assert lines[2].split() == ["splits", "1", "0.4", "s", "-"]
    assert lines[3].split() == ["all", "5", "3.2", "h", "30.0", "min"]
    assert lines[4] == "at least 3.8 min on 8 GPU(s) and 64 core(s)"
    assert "disk: models 3.0 MB" in lines
    assert "download: 3.0 GB, of it 1.0 GB estimated; 3 files whose size is not known" in lines
    assert lines[-1].startswith("Assumed: ")
    assert to_text(Estimate(), 0, 1) == "Nothing to be done: all is made."
    of_method = Estimate({"train": Stage(2, 3, 3)}, trainings={"triplex": Stage(2, 3, 3)})
    of_method.sources |= {"triplex": "Assumed.", "search of stflow": "Measured."}
    assert "search of stflow: Measured." in to_text(of_method, 1, 1).splitlines()
    assert "2 trainings of triplex, 3.0 h of a GPU: Assumed." in to_text(of_method, 1, 1)
    known = Estimate({"download_0": Stage(3)}, download=Download(2e9))
    assert to_text(known, 0, 1).endswith("download: 2.0 GB"), "no GPU hour, so nothing is assumed"


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        *((0, "-"), (0.8 / 3600, "0.8 s"), (56 / 3600, "56.0 s"), (2 / 60, "2.0 min"), (0.9, "54.0 min")),
        *((1.0, "1.0 h"), (99.9, "99.9 h"), (3_400, "3,400 h")),
    ],
)
def test_durations_have_digits_whatever_their_size(hours: float, told: str) -> None:
    assert duration(hours) == told


def test_sizes() -> None:
    assert [size(n) for n in (29e6, 2.04e9, 1.6e12)] == ["29.0 MB", "2.0 GB", "1.6 TB"]
