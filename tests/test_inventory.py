"""Lists that a reader chooses from: whole, and no wider than a terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

from stflow.encoders import ENCODERS
from stflow.inventory import print_inventory

#: In another file's care; it may be added after this one.
HERE = [name for name in ENCODERS.names() if name != "gigapath_slide"]


@pytest.fixture
def encoders(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setattr(ENCODERS, "names", lambda: HERE)
    monkeypatch.setenv("COLUMNS", "120")
    assert Console().width == 120
    print_inventory("encoders")
    return capsys.readouterr().out.splitlines()


def test_encoders_fit_a_terminal(encoders: list[str]) -> None:
    assert max(len(line.rstrip()) for line in encoders) <= 120
    names = [line.split()[0] for line in encoders if line[:1].isalnum()]
    assert [name for name in names if name in HERE] == HERE
    assert "…" not in "".join(encoders), "nothing is cut off"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("classical", ["108", " - ", "open", "MIT"]),
        (
            "uni",
            ["1024", "303", "224", "gated (a person grants it)", "CC-BY-NC-ND-4.0", "resize 224 bilinear; ImageNet"],
        ),
        ("gigapath", ["1536", "1135", "gated (agree to terms)", "Apache-2.0", "centre crop 224", "+resize"]),
        ("conch_v1_5", ["768", "307", "448", "resize 448"]),
        ("midnight", ["3072", "open", "MIT"]),
        ("ciga", ["512", "11.2", "open", "+half"]),
    ],
)
def test_an_encoder_s_row_says_what_there_is_to_choose_by(encoders: list[str], name: str, words: list[str]) -> None:
    [row] = [line for line in encoders if line.split()[:1] == [name]]
    for word in words:
        assert word in row
