"""The real client against a hub on this machine, without waiting."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import server

NAME = "MahmoodLab/hest-bench"
SECRET = "hf_secretOfNobody0123456789"
LARGE, SMALL, OTHER = "IDC/patches/S1.h5", "IDC/var_50genes.json", "IDC/adata/S1.h5ad"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A hub with one repository of three files; this process's client talks to it."""
    files = {
        LARGE: bytes(range(256)) * 300,
        SMALL: b'{"genes": ["GATA3"]}',
        OTHER: b"counts" * 1000,
    }
    with server.serve({NAME: server.Repo(files)}) as hub:
        use(monkeypatch, hub.address)
        yield hub


def use(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Point this process's client at an address. It reads its environment at import, so that comes too late."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nonexistent/token")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits; how long they would have."""
    seen: list[float] = []
    monkeypatch.setattr(time, "sleep", seen.append)
    return seen


@pytest.fixture
def lock(hub: object, tmp_path: Path) -> Callable[..., Path]:
    """``lock(*files)`` locks files of the repository below ``<tmp>/data`` and returns that folder."""
    from stflow.data.hub.lock import make_lock
    from stflow.data.hub.request import Wanted, to_json

    def make(*files: str) -> Path:
        root = tmp_path / "data"
        request = tmp_path / "request.json"
        request.write_text(json.dumps(to_json([Wanted(NAME, root, files or (LARGE, SMALL, OTHER))])))
        make_lock(request, root)
        return root

    return make


@pytest.fixture
def closed_port() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
