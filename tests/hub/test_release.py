"""Assets of a release: whole or absent, their hash kept from the first download on, faults mended or told."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stflow.data.hub import release
from stflow.data.hub.download import download_file
from stflow.data.hub.lock import lock_files, read_lock
from stflow.data.hub.request import Wanted
from stflow.errors import DataError, IntegrityError

NAME, FILE = "ozanciga/self-supervised-histopathology", "tenpercent_resnet18.ckpt"
CONTENT = b"weights" * 5000


class Site:
    """What the site answers, and what it was asked."""

    content, failures, short = CONTENT, 0, False

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(False)

        def do_GET(self) -> None:
            self.answer(True)

        def answer(self, body: bool) -> None:
            site.asked[self.command] += 1
            if self.path != f"/{NAME}/releases/download/tenpercent/{FILE}":
                self.send_error(404)
                return
            if site.failures:
                site.failures -= 1
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(site.content)))
            self.end_headers()
            if body:
                self.wfile.write(site.content[: len(site.content) // 2] if site.short else site.content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(release, "SITE", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(release, "PAUSE_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield site
    server.shutdown()


def test_the_first_download_keeps_the_hash(site: Site, tmp_path: Path) -> None:
    site.failures = 2
    path = download_file(NAME, tmp_path, FILE)
    assert path.read_bytes() == CONTENT
    assert not (tmp_path / ".hub-staging" / FILE).exists()
    lock = read_lock(tmp_path)
    assert (lock.repository, lock.revision) == (NAME, "tenpercent")
    assert lock.files[FILE].sha256 == hashlib.sha256(CONTENT).hexdigest()
    site.asked.clear()
    download_file(NAME, tmp_path, FILE)
    assert not site.asked, "what is there is not asked for"


def test_an_asset_that_was_replaced_is_refused(site: Site, tmp_path: Path) -> None:
    download_file(NAME, tmp_path, FILE).unlink()
    site.content = CONTENT[::-1]
    with pytest.raises(IntegrityError, match=r"is not the published file: hash .* Fetched 2 times, nothing kept"):
        download_file(NAME, tmp_path, FILE)
    site.content = CONTENT + b"more"
    with pytest.raises(IntegrityError, match=r"bytes is 35004 on the hub, 35000 in .*was replaced"):
        lock_files(Wanted(NAME, tmp_path, (FILE,)))
    site.content = CONTENT
    assert download_file(NAME, tmp_path, FILE).read_bytes() == CONTENT


def test_a_hash_of_the_manifest_must_agree(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stflow.data.hub import lock, manifest

    place = manifest.repository(NAME)
    other = place.model_copy(update={"known": {FILE: manifest.Known(sha256="0" * 64)}})
    monkeypatch.setattr(lock, "repository", lambda name: other)
    with pytest.raises(IntegrityError, match=r"expected 0000000000000000"):
        download_file(NAME, tmp_path, FILE)
    assert not (tmp_path / FILE).exists()


def test_half_an_asset_or_a_web_page_is_not_kept(site: Site, tmp_path: Path) -> None:
    site.short = True
    with pytest.raises((DataError, IntegrityError)):
        download_file(NAME, tmp_path, FILE)
    assert not (tmp_path / FILE).exists()
    site.short, site.content = False, b"<!DOCTYPE html><p>Log in"
    with pytest.raises(IntegrityError, match="it is a web page"):
        download_file(NAME, tmp_path / "other", FILE)
    assert not (tmp_path / "other" / FILE).exists()


def test_no_such_asset_or_no_site_is_told(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"other\.ckpt of .*the site answered 404, after 1 tries.*set weights_root"):
        download_file(NAME, tmp_path, "other.ckpt")
    monkeypatch.setattr(release, "SITE", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"no connection \(\w+\), after 5 tries"):
        download_file(NAME, tmp_path, FILE)
