"""Ways to spoil a file: every part of an HDF5 file in turn, or its bytes; and how it should then be refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from stflow.errors import StflowError

#: Shape of what is put in the place of a table.
N, COLUMNS = 12, 3


def odd(parent: h5py.Group, name: str, form: str) -> None:
    """Put something else in the place of what is called ``name``."""
    root = parent.file
    if form == "group":
        parent.create_group(name)
    elif form == "reference":
        parent.create_dataset(name, data=np.array([root.ref] * N, dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)
    elif form == "rows of any length":
        dataset = parent.create_dataset(name, (N,), dtype=h5py.vlen_dtype(np.int32))
        for row in range(N):
            dataset[row] = np.arange(row)
    elif form != "nothing":
        parent[name] = {
            "number": -7,
            "text": "text",
            "text that is not UTF-8": np.bytes_(b"\xff\xfe"),
            "short row": np.arange(3),
            "no rows": np.zeros((0,)),
            "complex": np.full((N, COLUMNS), 1j),
            "records": np.zeros(N, dtype=[("a", "i4"), ("b", "f8")]),
            "empty": h5py.Empty("f"),
            "enormous": np.full((N, 2), 2**62),
        }[form]


FORMS = (
    *("reference", "rows of any length", "number", "text", "text that is not UTF-8", "short row"),
    *("no rows", "complex", "records", "empty", "enormous"),
)


#: One of so many of the other forms is put into a place.
_OTHERS = 3


def spoilt_h5(whole: Path, path: Path) -> Iterator[str]:
    """Write the file again and again, each time with one other part of it spoilt; what that is."""
    names: list[str] = []
    attributes: list[tuple[str, str]] = []
    with h5py.File(whole) as handle:
        handle.visititems(lambda name, _: names.append(name))
        for name in ("/", *names):
            attributes += [(name, key) for key in handle[name].attrs]
    for number, name in enumerate(names):
        # Not all forms at all places: there are many places, and each form meets each kind of them.
        for form in ("nothing", "group", *FORMS[number % _OTHERS :: _OTHERS]):
            shutil.copy(whole, path)
            with h5py.File(path, "r+") as handle:
                attrs = dict(handle[name].attrs)
                parent = handle[name].parent
                del handle[name]
                odd(parent, name.rpartition("/")[2], form)
                if form != "nothing":
                    handle[name].attrs.update(attrs)  # it still says that it is what it was
            yield f"{name} is {form}"
    for name, key in attributes:
        for value in (None, "text", np.array([1.5, 2.5])):
            shutil.copy(whole, path)
            with h5py.File(path, "r+") as handle:
                del handle[name].attrs[key]
                if value is not None:
                    handle[name].attrs[key] = value
            yield f"attribute {key} of {name} is {value!r}"


def noise(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Bytes that are cut short, or are no such file at all."""
    rng = np.random.default_rng(0)
    for share in (0.0, 0.01, 0.3, 0.9, 0.999):
        yield f"cut to {share}", whole[: int(share * len(whole))]
    yield "noise", rng.bytes(len(whole))
    yield "its first bytes, then noise", whole[:64] + rng.bytes(len(whole) - 64)
    yield "a text", b"version https://git-lfs.github.com/spec/v1\n"
    yield "a web page", b"<!doctype html><html></html>"


def fault(read: Callable[[Path], Any], path: Path) -> str:
    """What is wrong with how a file is refused, in words; empty if it is read, or refused as it should be."""
    try:
        read(path)
    except StflowError as error:
        if error.exit_code != 3:
            return f"exit code {error.exit_code}"
        return (
            ""
            if path.name in str(error) or "slide S1 has" in str(error)
            else f"the message does not name the file: {error}"
        )
    except Exception as error:  # noqa: BLE001 - any of them is what this looks for
        return f"{type(error).__name__}: {error}"
    return ""
