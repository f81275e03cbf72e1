"""A sealed file that is damaged anywhere is refused; one without a seal is taken as it is, and HDF5 does not see it."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from stflow.errors import IntegrityError
from stflow.h5 import create_h5
from stflow.io import open_h5


def write(path: Path, *, sealed: bool) -> Path:
    with create_h5(path, sealed=sealed) as handle:
        handle["x"] = np.arange(1000)
        handle.attrs["name"] = "a slide"
    return path


def test_any_byte(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", sealed=True)
    whole = path.read_bytes()
    mark = whole.rfind(b"\nstflow seal")
    assert mark > 0
    for place in [*range(0, mark, 131), len(whole) - 64, len(whole) - 1]:
        data = bytearray(whole)
        data[place] ^= 4
        path.write_bytes(data)
        with (
            pytest.raises(IntegrityError, match=r"x\.h5 is not .* as it was written: delete it and run again"),
            open_h5(path),
        ):
            pass


@pytest.mark.parametrize("cut", [1, 64, 200, 5000])
def test_cut_short(cut: int, tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", sealed=True)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(IntegrityError, match="delete it and run again"), open_h5(path):
        pass


def test_without_a_seal_and_with_one_the_content_is_the_same(tmp_path: Path) -> None:
    bare, sealed = write(tmp_path / "a.h5", sealed=False), write(tmp_path / "b.h5", sealed=True)
    assert sealed.read_bytes()[: bare.stat().st_size] == bare.read_bytes()
    assert sealed.stat().st_size == bare.stat().st_size + 85
    for path in (bare, sealed):
        with open_h5(path) as handle:
            assert handle["x"][-1] == 999


def test_a_file_that_another_program_has_written_to_since_is_taken_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", sealed=True)
    with h5py.File(path, "r+") as handle:
        handle["y"] = np.zeros(3)
    with open_h5(path) as handle:
        assert set(handle) == {"x", "y"}
