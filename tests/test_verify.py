"""Every way in which a file can be another than it was, and that each is named."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from stflow.cli import main
from stflow.data.hub.lock import Entry, Lock, git_sha1, write_lock
from stflow.data.hub.request import Wanted, to_json
from stflow.embedding.features import Features, write_features
from stflow.errors import DataError, IntegrityError
from stflow.io import sha256_file, write_json
from stflow.verify import LEDGER, read_ledger, verify


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with a file of every kind; a ledger of it is written."""
    root = tmp_path / "results"
    passing = ("logs/a.log", "code/x.sha256", "timings/t.tsv", "config.yaml")
    for name in ("tables/table1.csv", "slides/lab/S1.h5ad", *passing):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    names = np.array(["a", "b"])
    write_features(
        root / "features/classical/lab/S1.h5",
        Features(np.eye(2, dtype=np.float32), names, np.zeros((2, 2)), np.zeros((2, 2)), "e", "w", "t", "fp32", "h"),
    )
    data = root / "data" / "lab"
    (data / "IDC").mkdir(parents=True)
    (data / "IDC" / "big.h5").write_bytes(b"big")
    (data / "IDC" / "small.json").write_bytes(b"{}")
    entries = {
        "IDC/big.h5": Entry(3, sha256_file(data / "IDC" / "big.h5"), None),
        "IDC/small.json": Entry(2, None, git_sha1(data / "IDC" / "small.json")),
        "IDC/not_yet.h5": Entry(9, "0" * 64, None),
    }
    write_lock(data, Lock("MahmoodLab/hest-bench", "c" * 40, entries))
    write_json(root / "hub.json", to_json([Wanted("MahmoodLab/hest-bench", data, tuple(entries))]))
    (root / "tiles/lab").mkdir(parents=True)
    (root / "tiles/lab/S1.h5").symlink_to("../../data/lab/IDC/big.h5")
    assert verify(root) == 0
    return root


def change(path: Path, content: bytes, *, older: bool = False) -> None:
    """Write other content; ``older``: with the time of the old."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(0, before.st_mtime_ns + (0 if older else 10**9)))


def test_the_first_call_records_what_was_made_and_the_second_finds_it(results: Path, capsys) -> None:
    (results / LEDGER).unlink()
    capsys.readouterr()
    assert verify(results) == 0
    assert capsys.readouterr().out == "4 files made and 2 downloaded: 3 new.\n"
    assert set(read_ledger(results)) == {"tables/table1.csv", "slides/lab/S1.h5ad", "features/classical/lab/S1.h5"}
    capsys.readouterr()
    assert verify(results) == 0
    assert capsys.readouterr().out == "4 files made and 2 downloaded: all as recorded.\n"


def test_a_changed_table_is_named_until_it_is_accepted(results: Path, capsys) -> None:
    change(results / "tables/table1.csv", b"other")
    for _ in range(2):
        assert verify(results) == 1
        out = capsys.readouterr().out
        assert "changed           tables/table1.csv  (17 to 5 bytes, SHA-256 " in out
    assert verify(results, update=True) == 0
    capsys.readouterr()
    assert verify(results) == 0
    assert "all as recorded" in capsys.readouterr().out


def test_a_change_that_hides_its_time_is_silent(results: Path, capsys) -> None:
    change(results / "slides/lab/S1.h5ad", b"slides/lab/S2.h5ad", older=True)
    assert verify(results) == 1
    assert "changed silently  slides/lab/S1.h5ad" in capsys.readouterr().out


def test_a_vanished_file_is_named(results: Path, capsys) -> None:
    (results / "tables/table1.csv").unlink()
    assert verify(results) == 1
    assert "vanished          tables/table1.csv" in capsys.readouterr().out
    assert verify(results, update=True) == 0
    assert verify(results) == 0


def test_a_new_file_is_no_fault_and_is_checked_from_then_on(results: Path, capsys) -> None:
    (results / "tables/table2.csv").write_text("new")
    assert verify(results) == 0
    assert "new               tables/table2.csv" in capsys.readouterr().out
    change(results / "tables/table2.csv", b"old")
    assert verify(results) == 1


def test_the_same_content_at_another_time_is_no_change(results: Path) -> None:
    os.utime(results / "tables/table1.csv", ns=(0, 10**18))
    assert verify(results) == 0


@pytest.mark.parametrize("file", ["big.h5", "small.json"])
def test_a_spoilt_download_is_broken_and_cannot_be_accepted(results: Path, capsys, file: str) -> None:
    path = results / "data/lab/IDC" / file
    change(path, b"?" * path.stat().st_size, older=True)
    assert verify(results, update=True) == 1
    out = capsys.readouterr().out
    assert f"broken            {path}" in out
    assert "delete it and run again to fetch it" in out


def test_features_that_do_not_fit_their_own_hash_are_broken_at_first_sight(results: Path, capsys) -> None:
    path = results / "features/classical/lab/S1.h5"
    (results / LEDGER).unlink()
    with h5py.File(path, "r+") as handle:
        handle["features"][0, 0] = 7
    assert verify(results) == 1
    assert "broken            features/classical/lab/S1.h5  " in capsys.readouterr().out
    assert verify(results, update=True) == 1, "what is broken is never recorded"


def test_tiles_that_do_not_fit_their_own_hash_are_broken_at_first_sight(results: Path, capsys) -> None:
    import hashlib

    from stflow.wsi.tile_store import tiles_digest

    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    digest = hashlib.sha256()
    tiles_digest(digest, images)
    with h5py.File(results / "tiles/lab/S2.h5", "w") as handle:
        handle["img"] = images
        handle.attrs["img_sha256"] = digest.hexdigest()
    with h5py.File(results / "tiles/lab/S3.h5", "w") as handle:
        handle["img"] = images[::-1]
        handle.attrs["img_sha256"] = digest.hexdigest()
    assert verify(results) == 1
    out = capsys.readouterr().out
    assert "new               tiles/lab/S2.h5" in out
    assert "broken            tiles/lab/S3.h5  (its tiles' hash is not the recorded one" in out


def test_a_link_that_leads_nowhere_is_broken(results: Path, capsys) -> None:
    (results / "data/lab/IDC/big.h5").unlink()
    assert verify(results) == 1
    assert "broken            tiles/lab/S1.h5  (leads to ../../data/lab/IDC/big.h5" in capsys.readouterr().out


def test_logs_stamps_timings_and_the_record_of_the_configuration_may_change(results: Path) -> None:
    for name in ("logs/a.log", "code/x.sha256", "timings/t.tsv", "config.yaml"):
        change(results / name, b"other")
    assert verify(results) == 0


def test_no_folder_and_no_ledger_are_told(results: Path) -> None:
    with pytest.raises(DataError, match="no results folder at"):
        verify(results / "nowhere")
    (results / LEDGER).write_text('{"files": {"a": {"size": 1}}}')
    with pytest.raises(IntegrityError, match="is not a ledger of hashes"):
        verify(results)


def test_the_command_ends_with_the_status(results: Path) -> None:
    (results / "tables/table1.csv").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(results)])
    assert ended.value.code == 1
    main(["verify", str(results), "--update"])
    main(["verify", str(results)])
