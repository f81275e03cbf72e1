"""A line of progress every ten seconds: done, rate, time left; tiles of an earlier run make no rate."""

from __future__ import annotations

import pytest

from stflow.embedding.progress import Progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_every_ten_seconds_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = Progress("uni TENX95 (2 of 8)", 2300, clock)
    for _ in range(23):
        clock.now += 0.5
        progress.add(100)
    assert capsys.readouterr().err == ("embed uni TENX95 (2 of 8): 2,100 of 2,300 tiles, 200 tiles/s, 0:01 left\n")
    progress.finish()
    assert capsys.readouterr().err == "embed uni TENX95 (2 of 8): 2,300 of 2,300 tiles, 200 tiles/s\n"


def test_tiles_of_an_earlier_run_are_told_and_make_no_rate(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = Progress("e S", 20_000, clock)
    clock.now += 11
    progress.add(2000, earlier=True)
    clock.now += 11
    progress.add(11)
    progress.add(17_989)
    progress.finish()
    assert capsys.readouterr().err.splitlines() == [
        "embed e S: 2,000 of 20,000 tiles (2,000 from an earlier run)",
        "embed e S: 2,011 of 20,000 tiles (2,000 from an earlier run), 1.0 tiles/s, 4:59:49 left",
        "embed e S: 20,000 of 20,000 tiles (2,000 from an earlier run), 1,636 tiles/s",
    ]
