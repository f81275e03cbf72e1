"""Fetch one public file: whole, with the published hash, or not at all."""

from __future__ import annotations

import http.client
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from stflow.errors import DataError, IntegrityError
from stflow.io import atomic_path, sha256_file

_TRIES = 4
_TIMEOUT_S = 60
#: HTTP answers after which another try may help.
_PASSING = (408, 429, 500, 502, 503, 504)


def fetch(address: str, path: Path, sha256: str, *, pause_s: float = 2.0) -> Path:
    """``path`` with the content of ``address``; a file that is there with the right hash is not fetched again.

    Parameters
    ----------
    address
        HTTP(S) address.
    path
        Where the file goes, atomically.
    sha256
        Hash that the content must have, hex.
    pause_s
        Seconds before the second try; doubled for each further one.

    Raises
    ------
    DataError
        No connection, or no such file there.
    IntegrityError
        The content is not the published one.
    ResourceError
        The disk is full.
    """
    if path.is_file() and sha256_file(path) == sha256:
        return path
    for attempt in range(_TRIES):
        try:
            return _fetch_once(address, path, sha256)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            passing = not isinstance(error, urllib.error.HTTPError) or error.code in _PASSING
            if not passing or attempt == _TRIES - 1:
                raise DataError(
                    f"could not fetch {address} ({error}), after {attempt + 1} tries. Check the network and its "
                    "proxy settings, or fetch the files elsewhere and give their folder in the configuration."
                ) from error
            time.sleep(pause_s * 2**attempt)
    raise AssertionError("the loop returns or raises")


def _fetch_once(address: str, path: Path, sha256: str) -> Path:
    with atomic_path(path) as partial:
        if not address.startswith(("https://", "http://")):
            raise DataError(f"{address} is no address on the web: refused. Correct it where it is named.")
        answer = urllib.request.urlopen(address, timeout=_TIMEOUT_S)  # nosec B310
        with answer, partial.open("wb") as handle:
            shutil.copyfileobj(answer, handle)
        require_sha256(partial, sha256, address)
    return path


def require_sha256(path: Path, sha256: str, name: str) -> None:
    """Check a file's hash.

    Raises
    ------
    IntegrityError
        It is another; the message gives both, and the size.
    """
    found = sha256_file(path)
    if found != sha256:
        raise IntegrityError(
            f"{name} is not the published file: SHA-256 {found[:16]}..., expected {sha256[:16]}... "
            f"({path.stat().st_size:,} bytes). It was cut short or changed: fetch it again."
        )
