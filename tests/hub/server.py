"""A hub on this machine: enough of its interface for the real client, and every way in which it can fail."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

#: The text above which a file is stored by its SHA-256, as the hub does.
LARGE_BYTES = 1000
API = re.compile(r"/api/(dataset|model)s/([^/]+/[^/]+)/(auth-check|revision/([^/]+)|paths-info/([^/]+))")
RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class Repo:
    """One repository: path -> content, its commit, and who may read it."""

    files: dict[str, bytes]
    commit: str = "c" * 40
    token: str | None = None  # the one token that opens it; None: open to all
    branches: tuple[str, ...] = ("main",)
    unasked: tuple[str, ...] = ()  # files that every listing names, whether they were asked for or not


@dataclass
class Fault:
    """What goes wrong with requests of one kind, ``times`` times.

    ``kind`` is ``status`` (answer ``status``), ``drop`` (close in the middle of the body), ``stall`` (stop there, and
    hold the connection), ``content`` (other bytes under the right headers), ``body`` (send ``body`` as if it were the
    file).
    """

    kind: str
    times: int = 10**9
    status: int = 500
    retry_after: int | None = None
    body: bytes = b""
    method: str = "GET"
    path: str = "/resolve/"


@dataclass
class Hub:
    """The server's state: what is served, what fails, and what was asked."""

    repos: dict[str, Repo]
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range
    address: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    stalled: threading.Event = field(default_factory=threading.Event)
    resumed: threading.Event = field(default_factory=threading.Event)
    body_s: float = 0.0  # how long a body takes, in tenths; 0: it is sent at once

    def fault(self, method: str, path: str) -> Fault | None:
        """The fault that this request runs into, counted down."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and fault.path in path:
                    fault.times -= 1
                    return fault
        return None

    def fetched(self) -> Counter[str]:
        """File -> how often its body was asked for."""
        return Counter(
            unquote(match[4]) for method, path, _ in self.asked if method == "GET" and (match := RESOLVE.match(path))
        )


def etag(content: bytes) -> str:
    """SHA-256 of a large file, Git's hash of a small one."""
    if len(content) > LARGE_BYTES:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers for one `Hub`."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.asked.append((self.command, path, self.headers.get("Range", "")))
        fault = self.hub.fault(self.command, path)
        if fault and fault.kind == "status":
            extra = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return self.send(fault.status, b"", extra)
        if match := API.match(path):
            return self.api(match[2], match[3], unquote(match[4] or match[5] or ""), body)
        if match := RESOLVE.match(path):
            return self.resolve(match[2], unquote(match[3]), unquote(match[4]), fault)
        return self.refuse(404, "RepoNotFound")

    def opened(self, name: str) -> Repo | None:
        """The repository, or None after a refusal was sent."""
        repo = self.hub.repos.get(name)
        if repo is None:
            self.refuse(401, "RepoNotFound")
        elif repo.token is not None and self.headers.get("Authorization") != f"Bearer {repo.token}":
            self.refuse(403 if "Authorization" in self.headers else 401, "GatedRepo")
        else:
            return repo
        return None

    def api(self, name: str, question: str, revision: str, body: bytes) -> None:
        repo = self.hub.repos.get(name) if question.startswith("revision") else self.opened(name)
        if repo is None:
            return None if not question.startswith("revision") else self.refuse(401, "RepoNotFound")
        if question == "auth-check":
            return self.send(200, b"{}")
        if revision not in (*repo.branches, repo.commit):
            return self.refuse(404, "RevisionNotFound")
        if question.startswith("revision"):
            return self.send(200, json.dumps({"id": name, "sha": repo.commit, "siblings": []}).encode())
        entries = []
        for path in (*parse_qs(body.decode()).get("paths", []), *repo.unasked):
            if (content := repo.files.get(path)) is not None:
                entry = {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
                if len(content) > LARGE_BYTES:
                    entry["lfs"] = {"size": len(content), "oid": etag(content), "pointerSize": 130}
                else:
                    entry["oid"] = etag(content)
                entries.append(entry)
        return self.send(200, json.dumps(entries).encode())

    def resolve(self, name: str, revision: str, path: str, fault: Fault | None) -> None:
        if (repo := self.opened(name)) is None:
            return None
        if revision not in (*repo.branches, repo.commit):
            return self.refuse(404, "RevisionNotFound")
        if path not in repo.files:
            return self.refuse(404, "EntryNotFound")
        content = repo.files[path]
        headers = {"ETag": f'"{etag(content)}"', "X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        substitutes = [f.body for f in self.hub.faults if f.kind == "body" and f.times > 0 and f.path in self.path]
        if substitutes:  # a server, or what stands before it, that takes this for the file in every header too
            content = substitutes[0]
        if fault and fault.kind == "stall":
            return self.send(200, content, headers, stall=True)
        if fault and fault.kind == "content":
            content = bytes(byte ^ 1 for byte in content)
        if (wanted := self.headers.get("Range")) and (start := int(wanted.removeprefix("bytes=").split("-")[0])):
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.send(206, content[start:], headers, drop=bool(fault and fault.kind == "drop"))
        return self.send(200, content, headers, drop=bool(fault and fault.kind == "drop"))

    def refuse(self, status: int, code: str) -> None:
        self.send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        drop: bool = False,
        stall: bool = False,
    ) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.write(body[: len(body) // 2] if drop or stall else body)
        if drop or stall:
            self.wfile.flush()
            self.close_connection = True
        if stall:
            self.hub.stalled.set()
            self.hub.resumed.wait(timeout=60)

    def write(self, body: bytes) -> None:
        """Send a body, at the hub's pace; a client that is gone has been killed by a test."""
        size = max(len(body) // 10, 1) if self.hub.body_s else max(len(body), 1)
        try:
            for start in range(0, len(body), size):
                self.wfile.write(body[start : start + size])
                self.wfile.flush()
                if self.hub.body_s:
                    time.sleep(self.hub.body_s / 10)
        except ConnectionError:
            self.close_connection = True


@contextmanager
def serve(repos: dict[str, Repo]) -> Iterator[Hub]:
    """Serve these repositories on a free port of this machine."""
    hub = Hub(repos)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHub", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.resumed.set()
        server.shutdown()
        server.server_close()
        thread.join()
