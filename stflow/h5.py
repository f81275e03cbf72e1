"""HDF5 files that are whole or absent, on a full disk too; AnnData files written so, and read with suspicion.

When a write fails, the HDF5 library cannot close its file and often takes the process down with it. So HDF5 is given
a file that never fails: the first error is kept, further writes are dropped, and the error is raised once the file is
closed.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stflow.errors import IntegrityError, ResourceError
from stflow.io import atomic_path, open_h5
from stflow.seal import seal
from stflow.sparse_check import require_sparse_matrices

if TYPE_CHECKING:
    from anndata import AnnData


class _Sink:
    """A file for h5py that remembers its first error instead of raising it."""

    def __init__(self, handle: io.BufferedRandom) -> None:
        self._handle = handle
        self.error: OSError | None = None

    def _attempt(self, call: Callable[[], object]) -> None:
        if self.error is None:
            try:
                call()
            except OSError as error:
                self.error = error

    def write(self, data: Any) -> int:
        self._attempt(lambda: self._handle.write(data))
        return len(data)

    def truncate(self, size: int) -> int:
        self._attempt(lambda: self._handle.truncate(size))
        return size

    def flush(self) -> None:
        self._attempt(self._handle.flush)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._attempt(lambda: self._handle.seek(offset, whence))
        return offset

    def read(self, size: int) -> bytes:
        data = bytearray(size)
        self.readinto(data)
        return bytes(data)

    def readinto(self, buffer: Any) -> int:
        """What was written; zeros in place of what was dropped."""
        view = memoryview(buffer).cast("B")
        done = 0

        def fill() -> None:
            nonlocal done
            done = self._handle.readinto(view) or 0

        self._attempt(fill)
        if done < len(view):
            view[done:] = bytes(len(view) - done)
        return len(view)

    def close(self) -> None:
        """Close the file, and raise the first error if there was one."""
        self.flush()
        with suppress(OSError):
            self._handle.close()
        if self.error is not None:
            raise self.error

    def tell(self) -> int:
        return self._handle.tell()


@contextmanager
def create_h5(path: Path | str, expected_bytes: int = 0, *, sealed: bool = False) -> Iterator[Any]:
    """An HDF5 file to write; it stands at ``path`` once the block ends without an error, and not before.

    Parameters
    ----------
    path
        File to write.
    expected_bytes
        What it will hold, if that is known: a disk with less room is refused before the work is done.
    sealed
        Its bytes are hashed, and whoever opens it compares (`stflow.seal`): for files that are read as a whole.

    Raises
    ------
    ResourceError
        The disk is full; nothing is left behind.
    """
    import h5py

    with atomic_path(path) as partial:
        free = shutil.disk_usage(partial.parent).free
        if free < expected_bytes:
            raise ResourceError(
                f"disk full: {path} needs {expected_bytes / 1e9:.1f} GB and {free / 1e9:.1f} GB are free. Free space "
                "on that disk and run again."
            )
        # Opened and closed by hand: closing flushes, which on a full disk fails once more.
        sink = _Sink(partial.open("w+b"))
        try:
            with h5py.File(sink, "w") as handle:
                yield handle
        finally:
            sink.close()
        if sealed:
            seal(partial)


def write_anndata(path: Path | str, adata: AnnData) -> None:
    """Write an AnnData as h5ad, whole or not at all, and sealed.

    Raises
    ------
    ResourceError
        The disk is full; nothing is left behind.
    """
    from anndata.io import write_elem

    with create_h5(path, sealed=True) as handle:
        write_elem(handle, "/", adata)


def read_anndata(path: Path | str) -> AnnData:
    """Read an h5ad, once it is known to hold what can be read without harm.

    Raises
    ------
    IntegrityError
        The file is missing, cut short, no AnnData, or made to harm: see `stflow.io.open_h5` and
        `stflow.sparse_check.require_sparse_matrices`.
    """
    import anndata

    path = Path(path)
    with open_h5(path) as handle:
        require_sparse_matrices(handle, path)
    try:
        return anndata.read_h5ad(path)
    except MemoryError:
        raise
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path} holds names that are not UTF-8 ({error}). Write it again as UTF-8.") from error
    except Exception as error:  # anndata lets out whatever pandas, h5py or its own private classes raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise IntegrityError(
            f"{path} is not a whole AnnData file ({reason}): it was cut short, or written by another program. Fetch or "
            "make it again."
        ) from error
