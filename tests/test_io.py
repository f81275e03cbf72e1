"""Files are whole or absent."""

import errno
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from stflow.errors import IntegrityError, ResourceError
from stflow.io import (
    atomic_path,
    is_disk_full,
    open_h5,
    partial_of,
    read_json,
    require_past,
    require_writable,
    sha256_array,
    sha256_json,
    write_json,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_no_partial(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half() -> None:
        with atomic_path(target) as partial:
            partial.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_half()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_write_appears_whole(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "deep" / "a.txt") as partial:
        partial.write_text("new")
        assert not (tmp_path / "deep" / "a.txt").exists()
    assert (tmp_path / "deep" / "a.txt").read_text() == "new"


def test_a_file_is_readable_as_the_umask_says(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.txt") as partial:
        partial.touch(mode=0o600)
        partial.chmod(0o600)
    (tmp_path / "b.txt").touch()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    def write_half() -> None:
        with atomic_path(tmp_path / "a.txt") as partial:
            partial.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ResourceError, match=r"disk full while writing .*a\.txt.*Free space"):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_real_limit_on_file_size_counts_as_full(tmp_path: Path) -> None:
    """The kernel refuses the write, as on a full disk; HDF5 hides the error number, the reader must still know."""
    code = f"""
import resource, signal, sys, numpy as np, h5py
from pathlib import Path
from stflow.io import atomic_path
from stflow.errors import ResourceError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with atomic_path(Path({str(tmp_path)!r}) / "x.h5") as partial, h5py.File(partial, "w") as handle:
        handle["x"] = np.random.default_rng(0).random(100_000)
except ResourceError as error:
    print("told:", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "told: disk full" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_disk_full_is_found_behind_other_errors() -> None:
    outer = RuntimeError("writing failed")
    outer.__cause__ = OSError(errno.ENOSPC, "full")
    assert is_disk_full(outer)
    assert is_disk_full(OSError("write failed: errno = 28, error message = 'No space left on device'"))
    assert not is_disk_full(OSError(errno.EACCES, "denied"))


def test_a_cut_hdf5_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as handle:
        handle["x"] = np.arange(100_000)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(IntegrityError, match=r"x\.h5 is not a whole HDF5 file"), open_h5(path):
        pass
    with pytest.raises(IntegrityError, match="does not exist"), open_h5(tmp_path / "none.h5"):
        pass


def test_json_round_trip_and_refusal(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1, 2]})
    assert read_json(tmp_path / "a.json") == {"x": [1, 2]}
    (tmp_path / "a.json").write_text('{"x": ')
    with pytest.raises(IntegrityError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_hashes_see_values_shapes_and_types_but_not_memory_order() -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert sha256_array(a) == sha256_array(np.asfortranarray(a))
    assert sha256_array(a) != sha256_array(a.reshape(3, 2))
    assert sha256_array(a) != sha256_array(a.astype(np.float64))
    assert sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})


def test_partial_files_of_dead_processes_are_removed(tmp_path: Path) -> None:
    out = tmp_path / "a.txt"
    dead = subprocess.Popen(["true"])
    dead.wait()
    node = platform.node()
    stale = tmp_path / f".a.{node}.{dead.pid}.partial.txt"
    kept = [tmp_path / f".a.{node}.{os.getppid()}.partial.txt", tmp_path / f".a.elsewhere.{dead.pid}.partial.txt"]
    for path in (stale, *kept):
        path.touch()
    write_text(out, "whole")
    assert not stale.exists()
    begun = tmp_path / f".a.{node}.{dead.pid}.partial.zarr"
    (begun / "images").mkdir(parents=True)
    assert partial_of(tmp_path / "a.zarr") == tmp_path / f".a.{node}.{os.getpid()}.partial.zarr"
    assert not begun.exists(), "a folder is removed as a file is"
    assert all(path.exists() for path in kept)


def test_a_file_that_may_not_be_written_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    told = r"a\.txt cannot be written \(Read-only file system\).*Make its folder"
    with pytest.raises(ResourceError, match=told), atomic_path(path) as partial:
        raise OSError(errno.EROFS, "Read-only file system", str(partial))
    other = tmp_path / "secret"
    with pytest.raises(PermissionError), atomic_path(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(other))  # of a file that was to be read
    assert not list(tmp_path.iterdir())


def test_folders_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_writable(tmp_path / "not" / "there" / "yet")
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != tmp_path)
    for folder in (tmp_path, tmp_path / "not" / "there" / "yet"):
        with pytest.raises(ResourceError, match=f"{folder} cannot be written"):
            require_writable(folder)


def test_files_of_the_future_are_named(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.h5" for number in range(7)]
    for path in paths:
        path.touch()
    require_past([*paths, tmp_path / "not there"])
    ahead = time.time() + 3600
    os.utime(paths[0], (ahead, ahead))
    with pytest.raises(IntegrityError, match=rf"1 files are dated in the future.*touch {paths[0]}$"):
        require_past(paths)
    for path in paths:
        os.utime(path, (ahead, ahead))
    with pytest.raises(IntegrityError, match=r"7 files are dated in the future.*4\.h5 and 2 more$"):
        require_past(paths)
