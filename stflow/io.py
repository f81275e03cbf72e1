"""Files that are whole or absent: atomic writes, hashes, JSON, HDF5."""

from __future__ import annotations

import csv
import errno
import glob
import hashlib
import json
import os
import platform
import shlex
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stflow.errors import IntegrityError, ResourceError
from stflow.seal import check_seal

#: Every file the project writes carries this number; a reader refuses a newer one.
SCHEMA_VERSION = 1

_CHUNK_BYTES = 1 << 20


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is synced to disk and renamed, else removed.

    The temporary name keeps the suffix, so that writers which look at it (libvips, anndata) work. What processes of
    this machine that are no more had begun to write to ``path`` is removed first.

    Raises
    ------
    ResourceError
        The disk is full, or ``path`` may not be written; nothing is left behind there.
    """
    path = Path(path)
    partial = _partial_name(path)
    try:
        partial_of(path)
        yield partial
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.chmod(0o666 & ~_umask())  # some writers make files that only their owner may read
        partial.replace(path)
    except OSError as error:
        if is_disk_full(error):
            raise ResourceError(
                f"disk full while writing {path}: nothing was kept. Free space on that disk and run again."
            ) from error
        if error.errno in _REFUSED and (error.filename is None or Path(error.filename) in (partial, *path.parents)):
            raise ResourceError(_not_writable(path, os.strerror(error.errno))) from error
        raise
    finally:
        if partial.exists():
            partial.unlink()


#: What the system answers where a file may not be written.
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


def _not_writable(path: Path, why: str) -> str:
    return f"{path} cannot be written ({why}): nothing was changed. Make its folder writable and run again."


def require_writable(folder: Path) -> None:
    """Check that files can be made in a folder, or the folder itself where it is not there yet.

    Raises
    ------
    ResourceError
        It is read-only, or not this user's to write.
    """
    place = next((place for place in (folder, *folder.absolute().parents) if place.exists()), folder)
    if not os.access(place, os.W_OK | os.X_OK):
        raise ResourceError(_not_writable(folder, "read-only, or not this user's"))


#: Clocks of one network may differ by this much (s), and files named in a message.
_CLOCKS_S, _NAMED = 60, 5


def require_past(paths: Iterable[Path | str]) -> None:
    """Check that no file has a time to come: what is made of it would look older than it.

    Raises
    ------
    IntegrityError
        Some have; files that are not there are left out.
    """
    limit = time.time() + _CLOCKS_S
    found = sorted({str(path) for path in paths if Path(path).exists() and Path(path).stat().st_mtime > limit})
    if found:
        names = shlex.join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
        raise IntegrityError(
            f"{len(found)} files are dated in the future, and what is made of them would look out of date: nothing "
            f"was started. Set the clock of this machine if it is slow, or give them the time of now: touch {names}"
        )


def partial_of(path: Path) -> Path:
    """A name beside ``path`` for what this process has not finished; its folder is made.

    What processes of this machine that are no more had begun to write to ``path``, a file or a folder, is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    before, after = f".{path.stem}.{platform.node()}.", f".partial{path.suffix}"
    for found in path.parent.glob(f"{glob.escape(before)}*{glob.escape(after)}"):
        pid = found.name[len(before) : len(found.name) - len(after)]
        if pid.isdecimal() and not _is_alive(int(pid)):
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found, ignore_errors=True)
            else:
                found.unlink(missing_ok=True)
    return _partial_name(path)


def _partial_name(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{platform.node()}.{os.getpid()}.partial{path.suffix}")


def _is_alive(pid: int) -> bool:
    """Whether a process of this number runs on this machine, of whatever user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _umask() -> int:
    """The process's umask; the system tells it only while setting another."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def is_disk_full(error: BaseException) -> bool:
    """Whether ``error``, or what caused it, is 'no space left' (HDF5 hides the errno in its message)."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if "No space left on device" in str(seen) or "errno = 28" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_array(*arrays: np.ndarray) -> str:
    """SHA-256 over dtype, shape and bytes of arrays, in hex; independent of memory layout."""
    digest = hashlib.sha256()
    for array in arrays:
        if array.dtype.kind in "OUT":
            digest.update("\x00".join(str(item) for item in array.ravel()).encode())
        else:
            digest.update(str(array.dtype).encode())
            digest.update(np.ascontiguousarray(array).data)
        digest.update(str(array.shape).encode())
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON form of ``value``."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_json(path: Path | str, value: Mapping[str, Any]) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path | str) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    IntegrityError
        The file is no JSON object, as after a cut-off write by another program, or not UTF-8.
    """
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8, or brackets without end
        raise IntegrityError(f"{path} is not valid JSON ({error}). Delete it and run again.") from error
    if not isinstance(value, dict):
        raise IntegrityError(f"{path} is not a JSON object but a {type(value).__name__}. Delete it and run again.")
    return value


#: What h5py, numpy, csv and plain Python raise where a file holds something else than it should.
_MISREAD = (csv.Error, OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError)


@contextmanager
def reading(path: Path | str, remedy: str = "Delete it and run again.") -> Iterator[None]:
    """For the lines that take a file's content apart, and no others: what they trip over is the file's fault.

    Raises
    ------
    IntegrityError
        The file lacks something, or holds it in another form. It names the file, what was raised, and ``remedy``.
    """
    try:
        yield
    except _MISREAD as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise IntegrityError(f"{path} cannot be read as what it should be ({reason}). {remedy}") from error


@contextmanager
def open_h5(path: Path | str, *, whole: bool = True) -> Iterator[Any]:
    """Open an HDF5 file to read.

    Parameters
    ----------
    path
        The file.
    whole
        Compare it with its seal, which reads all of it; not worth the time where only a number is looked up.

    Raises
    ------
    IntegrityError
        The file is cut short, is not HDF5, or is not what was sealed (`stflow.seal`).
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise IntegrityError(f"{path} does not exist. Run the stage that makes it.")
    if whole:
        check_seal(path)
    try:
        handle = h5py.File(path, "r")
    except OSError as error:
        raise IntegrityError(
            f"{path} is not a whole HDF5 file ({error}). It was cut short: delete it and run again."
        ) from error
    with handle:
        with reading(path, "It was cut short or changed: delete it and run again."):
            refuse_outside(handle, path)
        yield handle


def numbers(dataset: Any, shape: tuple[int | None, ...], kinds: str = "fiu") -> np.ndarray:
    """All of an HDF5 dataset of real numbers; inside of `reading`.

    Parameters
    ----------
    dataset
        Open dataset.
    shape
        Shape it must have, None where any size will do.
    kinds
        NumPy's letters of the kinds of number that will do.

    Raises
    ------
    ValueError
        It is of another shape or type.
    """
    fits = len(dataset.shape) == len(shape) and all(
        want in (None, have) for want, have in zip(shape, dataset.shape, strict=True)
    )
    if not fits or dataset.dtype.kind not in kinds:
        raise ValueError(f"{dataset.name.lstrip('/')} is {dataset.shape} {dataset.dtype}")
    return dataset[:]


#: Declared bytes that are always read, and how much deflate can make of a byte at most.
_SMALL_BYTES, _MOST_DEFLATED = 1 << 30, 1100
#: Groups in groups: AnnData needs a handful, and each more makes all below it slower to reach.
_DEEPEST = 50


def refuse_outside(handle: Any, path: Path) -> None:
    """Refuse an open HDF5 file that takes data from other files, or declares more than it can hold.

    Raises
    ------
    IntegrityError
        External links, external or virtual storage, groups in groups without end, or a dataset whose declared size is
        beyond what compression gives (reading it would fill the memory); nothing of it has been read.
    """
    import h5py

    size = path.stat().st_size

    links: list[tuple[str, Any]] = []

    def note(name: str, link: Any) -> str | None:
        links.append((name, link))
        return name if name.count("/") >= _DEEPEST else None  # ends the visit

    if deep := handle.visititems_links(note):
        raise IntegrityError(
            f"{path}: {deep[:40]}... lies in {_DEEPEST} groups or more: refused. Fetch the file again."
        )
    for name, link in links:
        if isinstance(link, h5py.ExternalLink):
            raise IntegrityError(f"{path}: {name} leads to another file: refused. Fetch the file again from its page.")
        found = handle[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(found, h5py.Dataset):
            continue
        if found.external or found.is_virtual:
            raise IntegrityError(f"{path}: {name} has its data in another file: refused. Fetch the file again.")
        if found.nbytes > max(_SMALL_BYTES, _MOST_DEFLATED * size):
            raise IntegrityError(
                f"{path}: {name} declares {found.nbytes / 1e9:,.0f} GB in a file of {size / 1e6:,.1f} MB: refused. "
                "Fetch the file again from its page."
            )
