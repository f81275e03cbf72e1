"""Are the arrays of a sparse matrix in an HDF5 file a sparse matrix? scipy takes them as they are.

Its compiled loops go wherever ``indptr`` and ``indices`` point: in a file made to harm, outside of the matrix, where
they read, or overwrite, other memory of the process. So both are checked before scipy sees them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from stflow.errors import IntegrityError

_PARTS = ("data", "indices", "indptr")


def problem(n_values: int, indices: np.ndarray, indptr: np.ndarray, n_major: int, n_minor: int) -> str:
    """Why these arrays are no compressed sparse matrix, in words; empty if they are one.

    Parameters
    ----------
    n_values
        Length of ``data``.
    indices
        (n_values,) integers: the column of each value of a CSR matrix, the row of a CSC matrix.
    indptr
        (n_major + 1,) integers: where each row (CSR) or column (CSC) begins, and the end of the last.
    n_major, n_minor
        Rows and columns of a CSR matrix, columns and rows of a CSC matrix.
    """
    if n_major < 0 or n_minor < 0:
        return f"its shape is negative ({n_major}, {n_minor})"
    if len(indptr) != n_major + 1:
        return f"indptr has {len(indptr)} entries, {n_major + 1} belong to its shape"
    if len(indices) != n_values:
        return f"{n_values} values have {len(indices)} indices"
    if indptr[0] != 0 or indptr[-1] != n_values:
        return f"indptr goes from {indptr[0]} to {indptr[-1]}, not from 0 to {n_values}"
    if (indptr[1:] < indptr[:-1]).any():
        return "indptr decreases"
    if n_values and (indices.min() < 0 or indices.max() >= n_minor):
        return f"indices go from {indices.min()} to {indices.max()}, the matrix from 0 to {n_minor - 1}"
    return ""


def read_csc(group: Any, path: Path, shape: tuple[int, int]) -> sparse.csc_matrix:
    """The matrix of an open HDF5 group with ``data``, ``indices`` and ``indptr``, which must be CSC of ``shape``.

    Raises
    ------
    IntegrityError
        See `require_sparse_matrices`.
    """
    indices, indptr = _require(group, path, n_major=shape[1], n_minor=shape[0])
    return sparse.csc_matrix((group["data"][:], indices, indptr), shape=shape)


def require_sparse_matrices(handle: Any, path: Path) -> None:
    """Check every sparse matrix of an open AnnData file, wherever in it: counts, layers, raw counts, graphs.

    Raises
    ------
    IntegrityError
        One whose arrays are missing, of other types or lengths, or point outside of the matrix.
    """
    import h5py

    groups: list[Any] = [handle] if _layout(handle) else []
    handle.visititems(lambda _, node: groups.append(node) if isinstance(node, h5py.Group) and _layout(node) else None)
    for group in groups:
        shape = np.atleast_1d(group.attrs.get("shape", group.attrs.get("h5sparse_shape", ())))
        if shape.shape != (2,) or shape.dtype.kind not in "iu":
            raise _refused(group, path, f"its shape is {shape.tolist()}")
        rows, columns = map(int, shape)
        n_major, n_minor = (columns, rows) if _layout(group) == "csc" else (rows, columns)
        _require(group, path, n_major=n_major, n_minor=n_minor)


def _layout(group: Any) -> str:
    """``csr`` or ``csc`` as a group says it is, in the words of anndata 0.7 or of earlier ones; empty of any other."""
    told = group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", ""))
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
    return text[:3] if text[:3] in ("csr", "csc") else ""


def _require(group: Any, path: Path, *, n_major: int, n_minor: int) -> tuple[np.ndarray, np.ndarray]:
    """Its ``indices`` and ``indptr`` once all three arrays are known to be what they should."""
    import h5py

    for name in _PARTS:
        part = group.get(name) if isinstance(group, h5py.Group) else None
        kinds = "iufb" if name == "data" else "iu"
        if not isinstance(part, h5py.Dataset):
            raise _refused(group, path, f"it has no {name}")
        if part.ndim != 1 or part.dtype.kind not in kinds:
            raise _refused(group, path, f"{name} is {part.shape} {part.dtype}, not a row of numbers")
    try:
        indices, indptr = group["indices"][:], group["indptr"][:]
    except OSError as error:
        raise _refused(group, path, f"it is cut short: {error}") from error
    if told := problem(len(group["data"]), indices, indptr, n_major, n_minor):
        raise _refused(group, path, told)
    return indices, indptr


def _refused(group: Any, path: Path, told: str) -> IntegrityError:
    return IntegrityError(
        f"{path}: {group.name.lstrip('/') or 'its root'} is not a sparse matrix ({told}): refused. Fetch or make the "
        "file again."
    )
