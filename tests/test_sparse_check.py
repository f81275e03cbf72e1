"""Sparse matrices made to harm are refused before scipy follows their pointers; whole ones are read as they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import sparse

from stflow.data.formats.h5ad import read_h5ad_counts
from stflow.data.slide import read_slide, write_slide
from stflow.errors import IntegrityError
from stflow.h5 import read_anndata
from stflow.sparse_check import problem, read_csc, require_sparse_matrices
from stflow.wsi.scale import Scale

N, G = 6, 4
COUNTS = np.random.default_rng(0).poisson(1.0, (N, G)).astype(np.float32)


def replace(part: str, values: Any) -> Callable[[Any], None]:
    """Put other values in the place of one of the arrays."""

    def change(group: Any) -> None:
        new = values(group[part][:]) if callable(values) else np.asarray(values)
        del group[part]
        group[part] = new

    return change


def put(index: int, value: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.int64)
        array[index] = value
        return array

    return change


def without(part: str) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        del group[part]

    return change


def shape_of(value: Any) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        group.attrs["shape"] = value

    return change


def group_for(part: str) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        del group[part]
        group.create_group(part)

    return change


CRAFTED = {
    "an index beyond the matrix": (replace("indices", put(0, 10**7)), "indices go from"),
    "an index one too far": (replace("indices", put(-1, 10**3)), "indices go from"),
    "a negative index": (replace("indices", put(0, -1)), "indices go from -1"),
    "too few indices": (replace("indices", lambda a: a[:-1]), "have"),
    "too many indices": (replace("indices", lambda a: np.append(a, a[-1])), "have"),
    "fractions as indices": (replace("indices", lambda a: a.astype(np.float64)), "indices is .* float64"),
    "text as indices": (replace("indices", lambda a: np.array([b"x"] * len(a))), r"indices is .* \|S1"),
    "indices in two dimensions": (replace("indices", lambda a: a[None]), "indices is"),
    "pointers that decrease": (replace("indptr", put(1, 10**7)), "indptr decreases"),
    "pointers that begin below zero": (replace("indptr", put(0, -5)), "indptr goes from -5"),
    "pointers that begin late": (replace("indptr", put(0, 1)), "indptr goes from 1"),
    "pointers that end beyond": (replace("indptr", put(-1, 10**9)), "indptr goes from 0 to 1000000000"),
    "pointers that end early": (replace("indptr", put(-1, 1)), "indptr goes from 0 to 1"),
    "too few pointers": (replace("indptr", lambda a: np.append(a[:-2], a[-1])), "indptr has"),
    "too many pointers": (replace("indptr", lambda a: np.append(a, a[-1])), "indptr has"),
    "no pointers": (replace("indptr", lambda a: a[:0]), "indptr has 0"),
    "too few values": (replace("data", lambda a: a[:-1]), "have"),
    "text as values": (replace("data", lambda a: np.array([b"x"] * len(a))), "data is"),
    "no array of values": (without("data"), "it has no data"),
    "no array of pointers": (without("indptr"), "it has no indptr"),
    "a group as indices": (group_for("indices"), "it has no indices"),
}
SHAPES = {
    "a negative shape": (shape_of((-1, G)), "shape|indptr"),
    "a shape of three": (shape_of((N, G, 1)), "its shape is"),
    "a shape of fractions": (shape_of((N + 0.5, float(G))), "its shape is"),
    "a shape of more": (shape_of((N + 3, G + 3)), "indptr has"),
}


def write(path: Path, matrix: Any, **layers: Any) -> Path:
    import anndata
    import pandas as pd

    anndata.AnnData(
        X=matrix,
        obs=pd.DataFrame(index=[f"b{i}" for i in range(N)]),
        var=pd.DataFrame(index=[f"G{i}" for i in range(G)]),
        obsm={"spatial": np.arange(2.0 * N).reshape(N, 2)},
        layers=layers,
    ).write_h5ad(path)
    return path


def slide_file(path: Path) -> Path:
    write_slide(
        path, name="S1", patient="P1", barcodes=[f"b{i}" for i in range(N)], centres_px=np.zeros((N, 2)), mpp=0.5,
        spot_diameter_um=55, genes=[f"G{i}" for i in range(G)], counts=COUNTS,
    )  # fmt: skip
    return path


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("case", [*CRAFTED, *SHAPES])
def test_counts_made_to_harm_are_refused(tmp_path: Path, case: str, layout: Any) -> None:
    change, told = {**CRAFTED, **SHAPES}[case]
    path = write(tmp_path / "s.h5ad", layout(COUNTS))
    with h5py.File(path, "r+") as handle:
        change(handle["X"])
    with pytest.raises(IntegrityError, match=told) as caught:
        read_h5ad_counts(path, "s", Scale(0.5, "made"))
    assert str(path) in str(caught.value)
    assert "X is not a sparse matrix" in str(caught.value)
    assert "Fetch or make the file again" in str(caught.value)


@pytest.mark.parametrize("case", CRAFTED)
def test_a_slide_file_made_to_harm_is_refused(tmp_path: Path, case: str) -> None:
    change, told = CRAFTED[case]
    path = slide_file(tmp_path / "s.h5ad")
    with h5py.File(path, "r+") as handle:
        change(handle["X"])
    with pytest.raises(IntegrityError, match=f"{told}|lacks X/") as caught:
        read_slide(path)
    assert str(path) in str(caught.value)


def test_layers_and_raw_counts_are_checked_too(tmp_path: Path) -> None:
    path = write(tmp_path / "s.h5ad", COUNTS, extra=sparse.csr_matrix(COUNTS))
    with h5py.File(path, "r+") as handle:
        replace("indices", put(0, 10**7))(handle["layers/extra"])
    with pytest.raises(IntegrityError, match="layers/extra is not a sparse matrix"):
        read_anndata(path)


@pytest.mark.parametrize("name", ["h5sparse_format", "encoding-type"])
def test_a_matrix_that_says_what_it_is_in_old_words_or_in_bytes_is_checked(tmp_path: Path, name: str) -> None:
    path = tmp_path / "s.h5ad"
    with h5py.File(path, "w") as handle:
        group = handle.create_group("X")
        group.attrs[name] = np.bytes_(b"csr")
        group.attrs["h5sparse_shape"] = (2, 2)
        group["data"], group["indices"], group["indptr"] = np.ones(2), np.array([0, 5]), np.array([0, 1, 2])
    with h5py.File(path) as handle, pytest.raises(IntegrityError, match="indices go from 0 to 5"):
        require_sparse_matrices(handle, path)


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("values", [COUNTS, np.zeros_like(COUNTS)], ids=["counts", "empty"])
def test_whole_matrices_are_read_as_they_are(tmp_path: Path, layout: Any, values: np.ndarray) -> None:
    read = read_h5ad_counts(write(tmp_path / "s.h5ad", layout(values)), "s", Scale(0.5, "made"))
    assert (read.counts.toarray() == values).all()


def test_a_whole_csc_group_is_read_as_it_is(tmp_path: Path) -> None:
    path = slide_file(tmp_path / "s.h5ad")
    with h5py.File(path) as handle:
        assert (read_csc(handle["X"], path, (N, G)).toarray() == COUNTS).all()


def test_numbers_without_a_sign_do_not_wrap() -> None:
    indices, indptr = np.array([0, 2**63 + 1], dtype=np.uint64), np.array([0, 1, 2], dtype=np.uint64)
    assert "indices go from 0" in problem(2, indices, indptr, 2, 5)
    assert "decreases" in problem(2, np.array([0, 0]), np.array([0, 5, 1, 2], dtype=np.uint64), 3, 5)
    assert not problem(2, np.array([0, 4], dtype=np.uint64), indptr, 2, 5)
    assert "negative" in problem(0, np.array([]), np.array([]), -1, 5)


def test_scipy_alone_would_follow_the_pointers(tmp_path: Path) -> None:
    """Why all this is: without the check the process dies or makes numbers up."""
    path = write(tmp_path / "s.h5ad", sparse.csr_matrix(COUNTS))
    with h5py.File(path, "r+") as handle:
        replace("indices", put(0, 10**9))(handle["X"])
    code = "import sys, anndata; x = anndata.read_h5ad(sys.argv[1]).X; x.tocsc(); print(x.toarray().sum())"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode != 0 or float(done.stdout) != COUNTS.sum()
