"""Assets of a GitHub release, by the same lock as the hub's files.

A release has no commit to pin and tells no hash of an old asset. So the size is locked first, and the hash with the
first whole download; from then on, and wherever ``resources/hub.json`` knows the hash, it must agree.
"""

from __future__ import annotations

import http.client
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from stflow.data.hub.client import PASSING, PAUSE_S, TRIES
from stflow.data.hub.manifest import repository
from stflow.errors import DataError, ResourceError
from stflow.io import is_disk_full

Answer = TypeVar("Answer")

#: https and nothing else: bandit's B310, which asks for that, is skipped where this is opened.
SITE = "https://github.com"
_TIMEOUT_S = 60


def address(name: str, file: str) -> str:
    """Where an asset is."""
    return f"{SITE}/{name}/releases/download/{repository(name).revision}/{file}"


def sizes(name: str, files: Sequence[str]) -> dict[str, int]:
    """File -> bytes, asked without a download.

    Raises
    ------
    DataError
        There is no such asset, or the site is not reached.
    """
    return {file: _ask(name, file, partial(_size, address(name, file))) for file in files}


def fetch(name: str, file: str, path: Path) -> Path:
    """Download an asset to ``path``; whether it is whole is for the caller to check.

    Raises
    ------
    DataError
        There is no such asset, or the site is not reached.
    ResourceError
        The disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return _ask(name, file, partial(_copy, address(name, file), path))


def _size(place: str) -> int:
    asked = urllib.request.Request(place, method="HEAD")
    with urllib.request.urlopen(asked, timeout=_TIMEOUT_S) as answer:  # nosec B310
        return int(answer.headers["Content-Length"])


def _copy(place: str, path: Path) -> Path:
    answer = urllib.request.urlopen(place, timeout=_TIMEOUT_S)  # nosec B310
    with answer, path.open("wb") as handle:
        shutil.copyfileobj(answer, handle)
    return path


def _ask(name: str, file: str, call: Callable[[], Answer]) -> Answer:
    for attempt in range(1, TRIES + 1):
        try:
            return call()
        except (OSError, http.client.HTTPException) as error:  # what urllib raises is an OSError too
            if is_disk_full(error):
                raise ResourceError(f"disk full while fetching {file} of {name}. Free space and run again.") from error
            code = error.code if isinstance(error, urllib.error.HTTPError) else None
            if attempt == TRIES or (code is not None and code not in PASSING):
                seen = f"the site answered {code}" if code else f"no connection ({type(error).__name__})"
                raise DataError(
                    f"{file} of {name}: {seen}, after {attempt} tries. See {repository(name).page}; or fetch it "
                    f"elsewhere and set weights_root to the folder that holds {repository(name).folder!r}."
                ) from error
            pause = PAUSE_S * 2 ** (attempt - 1)
            print(f"{name}, {file}: once more in {pause:g} s", file=sys.stderr, flush=True)
            time.sleep(pause)
    raise AssertionError("the loop returns or raises")
