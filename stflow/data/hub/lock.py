"""Which bytes the files of a repository are: ``<root>/.hub-lock.json``, beside them.

The first download turns the revision of ``resources/hub.json`` into a commit and asks for the size and the hash of
every file that is needed. From then on neither changes: what the hub says later must agree. Large files have a
SHA-256 (Git LFS); for small ones the hub knows Git's own hash, which is checked all the same.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from stflow.data.hub import release
from stflow.data.hub.client import ask, is_offline
from stflow.data.hub.manifest import Known, repository
from stflow.data.hub.request import Wanted, read_request
from stflow.errors import AccessError, DataError, IntegrityError
from stflow.io import SCHEMA_VERSION, read_json, sha256_file, write_json
from stflow.names import file_problem
from stflow.provenance import write_if_changed

NAME, COMMIT_NAME = ".hub-lock.json", ".hub-commit"
#: Files asked for at once.
_BATCH = 100
#: Missing files named in a message.
_NAMED = 10
_COMMIT = re.compile("[0-9a-f]{40}")
_HASH = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its size in bytes, and the hash that the hub knows, hex; the other is None.

    An asset of a release has neither before its first download.
    """

    bytes: int
    sha256: str | None
    git_sha1: str | None

    def fault(self, path: Path) -> str:
        """What is wrong with the file at ``path``, in words; empty if it is this one."""
        size = path.stat().st_size
        if size != self.bytes:
            return f"{size:,} bytes, expected {self.bytes:,}"
        if self.sha256 is None and self.git_sha1 is None:
            return ""
        found, expected = (sha256_file(path), self.sha256) if self.sha256 else (git_sha1(path), self.git_sha1)
        return "" if found == expected else f"hash {found[:16]}..., expected {str(expected)[:16]}..."


@dataclass(frozen=True, slots=True)
class Lock:
    """The commit of a repository, and path -> entry of the files that were asked for so far."""

    repository: str
    revision: str
    files: Mapping[str, Entry]


def git_sha1(path: Path) -> str:
    """The hash that Git gives to a file's content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def read_lock(root: Path) -> Lock | None:
    """The lock of a folder; None before the first download.

    Raises
    ------
    IntegrityError
        The file is not a lock, or names files outside of its folder.
    """
    path = root / NAME
    if not path.is_file():
        return None
    values = read_json(path)
    try:
        files = {name: Entry(**entry) for name, entry in values["files"].items()}
        lock = Lock(values["repository"], values["revision"], files)
    except (KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{path} is not a lock file ({error!r}). Restore it, or delete it and run again."
        ) from error
    if problem := _problem(lock):
        raise IntegrityError(f"{path} is not a lock file: {problem}. Restore it, or delete it and run again.")
    return lock


def _problem(lock: Lock) -> str:
    """What in a lock did not come from this project, in words; empty if all may have."""
    if not isinstance(lock.repository, str) or not isinstance(lock.revision, str) or file_problem(lock.revision):
        return f"its repository {lock.repository!r} or revision {lock.revision!r} cannot be one"
    for name, entry in lock.files.items():
        if problem := file_problem(name):
            return problem
        hashes = [entry.sha256, entry.git_sha1]
        if type(entry.bytes) is not int or not all(
            value is None or (isinstance(value, str) and _HASH.fullmatch(value)) for value in hashes
        ):
            return f"{name} has size {entry.bytes!r} and hashes {hashes}"
    return ""


def write_lock(root: Path, lock: Lock) -> None:
    """Write the lock of a folder."""
    files = {name: asdict(entry) for name, entry in sorted(lock.files.items())}
    write_json(
        root / NAME,
        {"schema": SCHEMA_VERSION, "repository": lock.repository, "revision": lock.revision, "files": files},
    )


def make_lock(request: Path, root: Path) -> None:
    """Lock every file of a request that goes to ``root``, after a look whether all of its repositories are open.

    A repository whose files are all locked and on disk is not asked; with all of them so, no call is made.

    Parameters
    ----------
    request
        The file of `stflow.data.hub.request`.
    root
        Folder of the lock.

    Raises
    ------
    AccessError
        Some repository of the request is closed to this account; nothing was asked beyond that.
    DataError
        Files that the repository does not have, all of them named; the hub is not reached, or HF_HUB_OFFLINE=1.
    IntegrityError
        The hub, or the manifest, says otherwise than an earlier lock.
    """
    open_questions = [item for item in read_request(request) if _unsettled(item, _earlier(item))]
    if open_questions and is_offline():
        raise DataError(_offline(open_questions))
    closed = [why for item in open_questions if (why := closed_gate(item))]
    if closed:
        raise AccessError("\n".join(closed))
    for item in open_questions:
        if item.root == root:
            lock_files(item)
    write_commit(root)


def write_commit(root: Path) -> None:
    """Write the commit of a folder's lock to a file of its own, if there is a lock; an unchanged file keeps its time.

    It is an input of every download. As the lock's commit never changes, no download is ever out of date.
    """
    if lock := read_lock(root):
        write_if_changed(root / COMMIT_NAME, f"{lock.revision}\n")


def _earlier(item: Wanted) -> Lock | None:
    """The lock there is, if it agrees with the manifest."""
    lock = read_lock(item.root)
    if lock is None:
        return None
    path, pinned = item.root / NAME, repository(item.repository).revision
    if lock.repository != item.repository:
        raise IntegrityError(
            f"{path} is of {lock.repository}, not of {item.repository}. Give each repository a root of its own."
        )
    if _COMMIT.fullmatch(pinned) and pinned != lock.revision:
        raise IntegrityError(
            f"{path} holds {item.repository} at {lock.revision}, resources/hub.json pins {pinned}. Delete "
            f"{item.root} to fetch the pinned files, or set the commit of the lock in resources/hub.json."
        )
    return lock


def _unsettled(item: Wanted, lock: Lock | None) -> list[str]:
    """Files that are not locked or not on disk."""
    locked: Mapping[str, Entry] = lock.files if lock else {}
    return [name for name in item.files if name not in locked or not (item.root / name).is_file()]


def _offline(items: Sequence[Wanted]) -> str:
    names = [str(item.root / name) for item in items for name in item.files if not (item.root / name).is_file()]
    if names:
        return (
            f"HF_HUB_OFFLINE=1, and {len(names)} files are not there: {shown(names)}. Unset it to download them, or "
            "set data_root to a folder with local mirrors."
        )
    roots = ", ".join(str(item.root) for item in items)
    return (
        f"HF_HUB_OFFLINE=1, and there is no lock for the files below {roots}. Run once without it, or set data_root "
        "to a folder with local mirrors."
    )


def shown(names: Sequence[str]) -> str:
    """The first few of a list of files, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def closed_gate(item: Wanted) -> str:
    """Why this account may not read a repository, with the encoders that need it, the page and what to do; else "".

    An asset of a release is open to all, and nobody is asked.

    Raises
    ------
    DataError
        The hub is not reached.
    """
    kind = repository(item.repository).kind
    if kind == "release":
        return ""
    from huggingface_hub import HfApi

    try:
        ask(item.repository, "access", lambda: HfApi().auth_check(item.repository, repo_type=kind))
    except AccessError as error:
        if not item.encoders:
            return str(error)
        names = ", ".join(item.encoders)
        return f"encoder {names}: {error}. To go on without it, and have the tables say why, add --keep-going."
    return ""


def lock_files(item: Wanted) -> Lock:
    """The lock with all of these files, after asking for those that are not settled. One process at a time.

    Raises
    ------
    AccessError, DataError, IntegrityError
        See `make_lock`.
    """
    from huggingface_hub import HfApi

    if problems := [problem for file in item.files if (problem := file_problem(file))]:
        raise DataError(f"{item.repository}: {problems[0]}. Correct the split manifest or the request.")
    item.root.mkdir(parents=True, exist_ok=True)
    with (item.root / f"{NAME}.flock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        name, place, lock = item.repository, repository(item.repository), _earlier(item)
        if lock is None and place.kind == "release":
            lock = Lock(name, place.revision, {})
        elif lock is None:
            info = ask(name, "commit", partial(HfApi().repo_info, name, repo_type=place.kind, revision=place.revision))
            lock = Lock(name, str(info.sha), {})
        missing = _unsettled(item, lock)
        if place.kind == "release":
            found = {path: Entry(size, None, None) for path, size in release.sizes(name, missing).items()}
        else:
            found = _listed(name, lock.revision, missing)
        for path, entry in found.items():
            _require_same(path, entry, lock.files.get(path), str(item.root / NAME))
            _require_same(path, entry, place.known.get(path), "resources/hub.json")
        hashed = {path: _with_hash(entry, lock.files.get(path), place.known.get(path)) for path, entry in found.items()}
        made = Lock(name, lock.revision, {**lock.files, **hashed})
        write_lock(item.root, made)
    total = sum(made.files[path].bytes for path in item.files)
    print(f"{name} at {made.revision}: {len(item.files):,} files, {total / 1e9:.2f} GB", file=sys.stderr)
    return made


def _with_hash(entry: Entry, *others: Entry | Known | None) -> Entry:
    """The entry, with the hash that is known elsewhere where its place does not tell one."""
    known = next((other.sha256 for other in others if other is not None and other.sha256), None)
    return entry if entry.sha256 or entry.git_sha1 else replace(entry, sha256=known)


def settle(root: Path, file: str, sha256: str) -> None:
    """Record the hash of a first download, where the place itself does not tell it; from then on it must agree."""
    with (root / f"{NAME}.flock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        lock = read_lock(root)
        assert lock is not None
        entry = replace(lock.files[file], sha256=sha256)
        write_lock(root, replace(lock, files={**lock.files, file: entry}))


def _listed(name: str, revision: str, paths: Sequence[str]) -> dict[str, Entry]:
    """Size and hash of files at a commit.

    Raises
    ------
    DataError
        Some of them are not there: all are named.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    place = repository(name)
    found: dict[str, Entry] = {}
    for start in range(0, len(paths), _BATCH):
        batch = list(paths[start : start + _BATCH])
        call = partial(HfApi().get_paths_info, name, batch, repo_type=place.kind, revision=revision)
        for file in ask(name, "the list of its files", call):
            if isinstance(file, RepoFile) and file.path in batch:  # nothing that was not asked for
                sha256 = file.lfs.sha256 if file.lfs else None
                found[file.path] = Entry(file.size, sha256, None if sha256 else file.blob_id)
    if missing := [path for path in paths if path not in found]:
        raise DataError(
            f"{name} has no {shown(missing)} at {revision} ({len(missing)} files). Correct the split manifest or the "
            f"list of datasets; {place.page}"
        )
    return found


def _require_same(path: str, now: Entry, earlier: object, source: str) -> None:
    """Compare what is known on both sides."""
    for key in ("bytes", "sha256", "git_sha1"):
        new, old = getattr(now, key), getattr(earlier, key, None)
        if new is not None and old is not None and new != old:
            raise IntegrityError(
                f"{path}: {key} is {new} on the hub, {old} in {source}. The published file was replaced: find out "
                "why before the results are compared; to take the new one, delete that entry and the file."
            )
