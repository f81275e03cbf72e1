"""Names that somebody else chose: of files on a hub, in a lock, of slides and spots in metadata and tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stflow.data.counts import require_usable
from stflow.data.formats.base import Counts
from stflow.data.formats.hest import Hest
from stflow.data.formats.stimage import STImage
from stflow.data.hub.download import download_file
from stflow.data.hub.lock import NAME, lock_files, make_lock, read_lock
from stflow.data.hub.request import Wanted, read_request, to_json
from stflow.data.split_record import reasons_in
from stflow.data.splits import COLUMNS, Manifest
from stflow.errors import DataError, IntegrityError, SlideError, SplitError
from stflow.evaluation.group_scores import read_cohorts
from stflow.names import file_problem, text_problem

from ..hub import server

REPOSITORY = "MahmoodLab/hest-bench"
FILE = "IDC/adata/S1.h5ad"
EVIL_FILES = [
    "../../etc/x",
    "a/../../b",
    "..",
    "/etc/passwd",
    "//etc/passwd",
    "a\\..\\b",
    "C:\\x",
    "-rf",
    "a\nb",
    "a\0b",
    "a\x1b[2Jb",
    ".git/config",
    ".GIT/hooks/pre-commit",
    "a/.git/config",
    ".hub-lock.json",
    ".hub-commit",
    ".hub-staging/x",
]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A hub with one good file and every evil one; this process's client talks to it."""
    from huggingface_hub import constants

    files = {FILE: b"counts" * 10, **dict.fromkeys(EVIL_FILES, b"[core]\nfsmonitor = touch x\n")}
    with server.serve({REPOSITORY: server.Repo(files, unasked=tuple(EVIL_FILES))}) as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        template = served.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nonexistent/token")
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield served


def test_of_a_listing_only_what_was_asked_for_is_taken(hub: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    lock = lock_files(Wanted(REPOSITORY, root, (FILE,)))
    assert set(lock.files) == {FILE}
    assert download_file(REPOSITORY, root, FILE).read_bytes() == b"counts" * 10
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {f"data/{name}" for name in (FILE, NAME, f"{NAME}.flock")}


@pytest.mark.parametrize("file", EVIL_FILES)
def test_an_evil_file_is_refused_before_the_hub_is_asked(hub: Any, tmp_path: Path, file: str) -> None:
    root, request = tmp_path / "data", tmp_path / "request.json"
    assert file_problem(file)
    with pytest.raises(DataError, match="not a path below"):
        download_file(REPOSITORY, root, file)
    with pytest.raises(DataError, match="not a path below"):
        lock_files(Wanted(REPOSITORY, root, (FILE, file)))
    request.write_text(json.dumps(to_json([Wanted(REPOSITORY, root, (FILE, file))])))
    with pytest.raises(DataError, match="not a path below"):
        read_request(request)
    with pytest.raises(DataError, match="not a path below"):
        make_lock(request, root)
    assert hub.asked == []
    assert [path.name for path in tmp_path.rglob("*")] == ["request.json"]


def lock_with(root: Path, **values: Any) -> None:
    entry = {"bytes": 3, "sha256": "a" * 64, "git_sha1": None}
    whole = {"schema": 1, "repository": REPOSITORY, "revision": "c" * 40, "files": {FILE: entry}, **values}
    (root / NAME).write_text(json.dumps(whole))


@pytest.mark.parametrize("file", EVIL_FILES)
def test_a_lock_with_an_evil_file_is_refused(tmp_path: Path, file: str) -> None:
    lock_with(tmp_path)
    assert read_lock(tmp_path)
    lock_with(tmp_path, files={file: {"bytes": 3, "sha256": "a" * 64, "git_sha1": None}})
    with pytest.raises(IntegrityError, match=r"hub-lock\.json is not a lock file: .* is not a path below"):
        read_lock(tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"revision": "../../../x"},
        {"revision": "-c core.x=y"},
        {"revision": "a\nb"},
        {"revision": None},
        {"repository": ["x"]},
        {"files": {FILE: {"bytes": "3", "sha256": None, "git_sha1": None}}},
        {"files": {FILE: {"bytes": True, "sha256": None, "git_sha1": None}}},
        {"files": {FILE: {"bytes": 3, "sha256": "../x", "git_sha1": None}}},
        {"files": {FILE: {"bytes": 3, "sha256": None, "git_sha1": 7}}},
        {"files": {FILE: {"bytes": 3}}},
        {"files": []},
    ],
)
def test_a_lock_of_other_values_is_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    lock_with(tmp_path, **values)
    with pytest.raises(IntegrityError, match=r"hub-lock\.json is not a lock file"):
        read_lock(tmp_path)


def write_hest(root: Path, metadata: Any) -> Hest:
    import anndata
    import pandas as pd

    for folder in ("st", "wsis", "metadata"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    anndata.AnnData(
        X=np.ones((3, 2)),
        obs=pd.DataFrame(index=["a", "b", "c"]),
        var=pd.DataFrame(index=["G0", "G1"]),
        obsm={"spatial": np.ones((3, 2))},
    ).write_h5ad(root / "st" / "S1.h5ad")
    (root / "metadata" / "S1.json").write_text(json.dumps(metadata))
    return Hest(root)


@pytest.mark.parametrize("name", ["../x", "-rf", "/etc/passwd", "a\nb", "a\0b", "=1+1"])
def test_names_in_hest_s_metadata_lead_nowhere(tmp_path: Path, name: str) -> None:
    metadata = dict.fromkeys(("id", "hest_id", "patient", "image_filename", "subseries", "dataset_title"), name)
    reader = write_hest(tmp_path, {**metadata, "pixel_size_um_estimated": 0.5})
    counts = reader.read_counts("D", "S1")
    assert (counts.mpp, len(counts.barcodes)) == (0.5, 3)
    assert name not in "".join(map(str, counts.barcodes))
    named = [*reader.counts_files("D", "S1"), *reader.sidecar_files("D", "S1")]
    assert all(tmp_path in path.parents and ".." not in path.parts for path in named)


@pytest.mark.parametrize("mpp", ["text", [0.5], {}, -1, 0, 1e400, "nan", True])
def test_um_per_px_in_metadata_that_is_none_is_told(tmp_path: Path, mpp: Any) -> None:
    reader = write_hest(tmp_path, {"pixel_size_um_estimated": mpp})
    if mpp is True:  # 1 um/px: a number to Python and to JSON's readers
        assert reader.read_counts("D", "S1").mpp == 1
        return
    with pytest.raises((IntegrityError, SlideError), match=r"S1\.json"):
        reader.read_counts("D", "S1")


def stimage(root: Path, names: list[str], centre: str = "10", radius: str = "5") -> STImage:
    (root / "Visium" / "gene_exp").mkdir(parents=True)
    (root / "Visium" / "coord").mkdir()
    with (root / "Visium" / "gene_exp" / "S1_count.csv").open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([["", "G0"], *([name, "1"] for name in names)])
    with (root / "Visium" / "coord" / "S1_coord.csv").open("w", newline="", encoding="utf-8") as handle:
        rows = ([name, centre, centre, radius] for name in names)
        csv.writer(handle).writerows([["", "yaxis", "xaxis", "r"], *rows])
    return STImage(root)


@pytest.mark.parametrize("name", ["../x", "S1_../../x", "-rf", "/etc/passwd", "=1+1"])
def test_a_spot_of_stimage_with_a_path_for_a_name_is_a_name(tmp_path: Path, name: str) -> None:
    before = sorted(path.name for path in tmp_path.parent.iterdir())
    counts = stimage(tmp_path, [name, "S1_b"]).read_counts("D", "S1")
    assert counts.barcodes.tolist() == [name.removeprefix("S1_"), "b"]
    require_usable(counts, "S1")
    assert sorted(path.name for path in tmp_path.parent.iterdir()) == before


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "a\x7fb", "a\u2028b"])
def test_a_spot_with_a_control_character_is_refused(tmp_path: Path, name: str) -> None:
    assert text_problem(name)
    counts = stimage(tmp_path, [name, "S1_b"]).read_counts("D", "S1")
    with pytest.raises(DataError, match="1 barcodes or genes are no names"):
        require_usable(counts, "S1")


def test_a_spot_or_a_gene_with_a_nul_is_refused_before_hdf5_meets_it() -> None:
    """HDF5 ends a text at its first NUL: two spots would become one."""
    from scipy import sparse

    matrix = sparse.csr_matrix(np.ones((1, 1)))
    for barcode, gene in (("a\0b", "G"), ("a", "G\0X")):
        counts = Counts(np.array([barcode], dtype=object), np.ones((1, 2)), 0.5, 55.0, (gene,), matrix)
        with pytest.raises(DataError, match="holds a control character"):
            require_usable(counts, "S1")
    assert not [name for name in ("AAAC-1", "10x13", "HLA-DRB1", "Gene name, long (x)", "Ä") if text_problem(name)]


@pytest.mark.parametrize(("centre", "radius"), [("text", "5"), ("10", "text"), ("10", "-5"), ("10", "0"), ("10", "")])
def test_coordinates_of_stimage_that_are_no_numbers_are_told(tmp_path: Path, centre: str, radius: str) -> None:
    reader = stimage(tmp_path, ["a", "b"], centre, radius)
    with pytest.raises(DataError, match=r"S1_coord\.csv"):
        reader.read_counts("D", "S1")


@pytest.mark.parametrize("fold", ["9" * 5000, "1" * 10, "-1", "1.0", "٣", "1_0", " 1", "../0"])
def test_a_fold_that_is_no_small_number_is_refused(tmp_path: Path, fold: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(",".join(COLUMNS) + f"\nd,s,p,*,{fold},train\n", encoding="utf-8")
    with pytest.raises(SplitError, match="line 2"):
        Manifest.read(path)


def test_a_manifest_with_an_endless_cell_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(",".join(COLUMNS) + "\n" + "a" * 200_000 + ",s,p,*,0,train\n", encoding="utf-8")
    with pytest.raises(SplitError, match="not a CSV file"):
        Manifest.read(path)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "dataset,role,protocol,slide,patient,fold\nD,train,clean,s,p,x\n"])
def test_a_record_of_folds_of_another_form_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lab.csv"
    path.write_text(text, encoding="utf-8")
    if text:
        with pytest.raises(IntegrityError, match=r"lab\.csv.*Run `splits` again"):
            read_cohorts([path])
    if text.startswith("a,b"):
        with pytest.raises(IntegrityError, match=r"lab\.csv.*Run `splits` again"):
            reasons_in([path])


class _Bomb:
    """Makes a file at ``marker`` when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.marker}",)


def _references(group: h5py.Group, _: bytes) -> None:
    group.create_dataset("x", data=np.array([group.file.ref, group.ref], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)


def _region(group: h5py.Group, _: bytes) -> None:
    target = group.file["obsm/spatial"]
    group.create_dataset("x", (1,), dtype=h5py.regionref_dtype)[0] = target.regionref[0:1]


def _opaque(group: h5py.Group, pickled: bytes) -> None:
    group.create_dataset("x", data=np.void(pickled))


def _bytes(group: h5py.Group, pickled: bytes) -> None:
    group.create_dataset("x", data=np.frombuffer(pickled, dtype=np.uint8))
    group["x"].attrs["encoding-type"] = "pickle"
    group["x"].attrs["encoding-version"] = "0.1.0"


def _rows(group: h5py.Group, pickled: bytes) -> None:
    dataset = group.create_dataset("x", (2,), dtype=h5py.vlen_dtype(np.uint8))
    dataset[0] = np.frombuffer(pickled, dtype=np.uint8)


def _records(group: h5py.Group, _: bytes) -> None:
    group.create_dataset("x", (2,), dtype=np.dtype([("a", h5py.ref_dtype), ("b", "f8")]))


def _object_array(group: h5py.Group, pickled: bytes) -> None:
    """As PyTables marks arrays that it has pickled."""
    _rows(group, pickled)
    group["x"].attrs.update({"CLASS": "VLARRAY", "PSEUDOATOM": "object", "encoding-type": "array"})


def _loop(group: h5py.Group, _: bytes) -> None:
    group["x"] = h5py.SoftLink("/uns")


def _circle(group: h5py.Group, _: bytes) -> None:
    group["x"] = group


def _deep(group: h5py.Group, _: bytes) -> None:
    for _number in range(2000):
        group = group.create_group("x")
        group.attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})


@pytest.mark.parametrize(
    "attack", [_references, _region, _opaque, _bytes, _rows, _records, _object_array, _loop, _circle, _deep]
)
def test_objects_in_an_h5ad_run_nothing(tmp_path: Path, attack) -> None:  # type: ignore[no-untyped-def]
    import pickle

    marker, path = tmp_path / "marker", tmp_path / "st" / "S1.h5ad"
    reader = write_hest(tmp_path, {"pixel_size_um_estimated": 0.5})
    with h5py.File(path, "r+") as handle:
        attack(handle["uns"], pickle.dumps(_Bomb(marker)))
    refused = ""
    try:
        counts = reader.read_counts("D", "S1")
    except IntegrityError as error:
        refused = str(error)
    assert not marker.exists()
    assert "S1.h5ad" in refused if refused else (counts.counts.toarray() == 1).all()


_SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="/etc/passwd"/></svg>'


@pytest.mark.parametrize("content", [_SVG, "%PDF-1.4"])
def test_a_drawing_under_the_name_of_a_picture_is_refused(tmp_path: Path, content: str) -> None:
    from stflow.wsi.slide_image import open_slide

    path = tmp_path / "S1.png"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"S1\.png"), open_slide(path) as image:
        image.region(0, 0, 1.0, 4, 4)
