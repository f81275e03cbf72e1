"""One file of the hub: whole, with the hash of the lock, or not at all."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from stflow.data.hub import release
from stflow.data.hub.client import ask, is_offline
from stflow.data.hub.lock import NAME, Entry, lock_files, read_lock, settle
from stflow.data.hub.manifest import repository
from stflow.data.hub.request import Wanted
from stflow.errors import DataError, IntegrityError
from stflow.io import sha256_file
from stflow.names import file_problem

STAGING = ".hub-staging"
#: Downloads of a file whose content is wrong.
_TRIES = 2
#: How a web page begins.
_PAGE = (b"<!doctype html", b"<html")


def download_file(name: str, root: Path, file: str) -> Path:
    """``<root>/<file>`` with the content that the lock promises; a file that has it already is left alone.

    What an earlier, killed download left behind is removed first. The client takes up a dropped connection where it
    broke off, within one call; after a kill a file starts anew. A file that the lock does not hold yet, as one of a
    slide that was added to the configuration later, is locked first.

    Parameters
    ----------
    name
        The repository.
    root
        Folder with the lock.
    file
        Path in the repository.

    Raises
    ------
    AccessError, DataError, ResourceError
        See `stflow.data.hub.client.ask`; also HF_HUB_OFFLINE=1.
    IntegrityError
        The content is another; nothing is left of it.
    """
    if problem := file_problem(file):
        raise DataError(f"{name}: {problem}. Correct the split manifest or the request.")
    lock, path = read_lock(root), root / file
    if lock is None or file not in lock.files or lock.repository != name:
        if is_offline():
            raise DataError(
                f"HF_HUB_OFFLINE=1, and {root / NAME} does not hold {file}. Unset it to ask the hub for it."
            )
        lock = lock_files(Wanted(name, root, (file,)))
    entry = lock.files[file]
    staging = root / STAGING / file.replace("/", "+")
    shutil.rmtree(staging, ignore_errors=True)
    if path.is_file() and not entry.fault(path):
        print(f"{file}: there already", file=sys.stderr)
        return path
    if is_offline():
        raise DataError(
            f"HF_HUB_OFFLINE=1, and {path} is {'not the locked file' if path.is_file() else 'not there'}. Unset it to "
            "download, or set data_root to a folder with local mirrors."
        )
    start = time.monotonic()
    print(f"{file}: {entry.bytes / 1e6:,.1f} MB of {name} at {lock.revision}", file=sys.stderr, flush=True)
    try:
        for attempt in range(1, _TRIES + 1):
            if repository(name).kind == "release":
                fetched = release.fetch(name, file, staging / file)
            else:
                fetched = _fetch(name, lock.revision, file, staging)
            if not (fault := _fault(fetched, entry)):
                break
            shutil.rmtree(staging, ignore_errors=True)
            if attempt == _TRIES:
                raise IntegrityError(
                    f"{file} of {name} is not the published file: {fault}. Fetched {_TRIES} times, nothing kept. "
                    f"Check the network for a proxy that changes answers, and see {repository(name).page}"
                )
            print(f"{file}: {fault}; once more", file=sys.stderr, flush=True)
        with fetched.open("rb") as handle:
            os.fsync(handle.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.sha256 is None and entry.git_sha1 is None:
            settle(root, file, sha256_file(fetched))
        fetched.replace(path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    seconds = max(time.monotonic() - start, 1e-3)
    print(f"{file}: checked, {entry.bytes / 1e6 / seconds:,.1f} MB/s", file=sys.stderr)
    return path


def _fetch(name: str, revision: str, file: str, staging: Path) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(
        ask(
            name,
            file,
            lambda: hf_hub_download(
                name,
                file,
                repo_type=repository(name).kind,
                revision=revision,
                local_dir=staging,
                cache_dir=staging / "cache",  # not the user's: its content would be taken unseen
            ),
        )
    )


def _fault(path: Path, entry: Entry) -> str:
    """What is wrong with a fetched file, in words; empty if nothing is."""
    with path.open("rb") as handle:
        head = handle.read(64).lstrip().lower()
    fault = entry.fault(path)
    if fault and not path.stat().st_size:
        return "it is empty"
    if head.startswith(_PAGE) and (fault or not (entry.sha256 or entry.git_sha1)):
        return f"it is a web page ({fault or 'and its hash is not known yet'})"
    return fault
