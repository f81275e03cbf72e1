"""Nothing of a token, a home folder, another folder or a host's name is left; what a reader needs is."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from stflow.report.scrub import scrub

ROOT = Path("/srv/lab/stflow")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("using token hf_AbCdEf0123456789xyz", "AbCdEf"),
        ("HF_TOKEN=hf_AbCdEf0123456789xyz stflow hub", "AbCdEf"),
        ("Authorization: Bearer abcdef0123456789abcdef", "abcdef0123456789"),
        ("api_key = 0123456789abcdef0123", "0123456789abcdef"),
        ("https://me:secret@hub.example/x", "secret"),
        ("clone ghp_0123456789abcdefABCDEF", "0123456789abcdef"),
        ("FileNotFoundError: '/home/jane.doe/data/x.h5'", "jane"),
        ("/Users/jane/x.csv is not there", "jane"),
        ("cache in /root/.cache/huggingface", ".cache"),
        ('  File "/opt/venv/lib/python3.11/site-packages/torch/nn/linear.py", line 3', "venv"),
        ("data_root: /data/mirror", "/data"),
    ],
)
def test_secrets_and_foreign_paths_go(text: str, secret: str) -> None:
    assert secret not in scrub(text, ROOT)


def test_a_host_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "node0417")
    assert scrub("on node0417, 3 jobs", ROOT) == "on <host>, 3 jobs"


@pytest.mark.parametrize(
    "text",
    [
        "stflow train: demo/IDC/uni/stflow/default/clean/fold0/seed1: ok after 2.0 s",
        "results/demo/runs/x/run.json",
        "read https://huggingface.co/MahmoodLab/UNI/resolve/main/x.bin",
        "loss 1.2/2.4 and a token of 3 letters: abc; and/or",
        "tokens 16384, um/px 0.5",
        "weights 1ad033d1a91b2e4f15492fb487459ba3a9df817c269e4d39e26f4f800d21f6a5",
    ],
)
def test_the_rest_stays(text: str) -> None:
    assert scrub(text, ROOT) == text


def test_paths_inside_the_working_folder_are_told_from_it() -> None:
    assert scrub("see /srv/lab/stflow/results/demo/a.log now", ROOT) == "see results/demo/a.log now"
    assert scrub("'/srv/lab/stflow-old/x'", ROOT) == "'.../x'"
