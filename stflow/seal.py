"""A seal: the SHA-256 of a file's bytes, written behind its end, where HDF5 does not look.

A bit that has turned over deep inside an HDF5 file changes a number and nothing else, so a reader has to be told what
the bytes were. A file without a seal, as one that another program has written since, is taken as it is.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from stflow.errors import IntegrityError

_MARK = b"\nstflow seal, sha256 "
_LENGTH = len(_MARK) + 64
_CHUNK_BYTES = 1 << 20


def seal(path: Path) -> None:
    """Add the seal to a closed file."""
    mark = _MARK + _sha256(path, path.stat().st_size).encode()
    with path.open("ab") as handle:
        handle.write(mark)


def check_seal(path: Path) -> None:
    """Compare a file with its seal, if it has one.

    Raises
    ------
    IntegrityError
        Its bytes are not those that were sealed.
    """
    end = path.stat().st_size
    with path.open("rb") as handle:
        handle.seek(max(end - _LENGTH, 0))
        found = handle.read()
    start = found.rfind(_MARK)
    if start < 0:
        return
    size = end - len(found) + start
    if found[start + len(_MARK) :] != _sha256(path, size).encode():
        raise IntegrityError(f"{path} is not a whole HDF5 file, or not as it was written: delete it and run again.")


def _sha256(path: Path, size: int) -> str:
    """Hash of the first ``size`` bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while size and (chunk := handle.read(min(size, _CHUNK_BYTES))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.hexdigest()
