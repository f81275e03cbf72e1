"""The lock: what is asked of the hub, what is kept, and what is refused before any download."""

import json
from pathlib import Path

import pytest

from stflow.data.hub.lock import NAME as LOCK
from stflow.data.hub.lock import make_lock, read_lock
from stflow.data.hub.request import Wanted, to_json
from stflow.errors import AccessError, DataError, IntegrityError

from . import server

NAME = "MahmoodLab/hest-bench"
PAGE = "https://huggingface.co/datasets/MahmoodLab/hest-bench"
SECRET = "hf_secretOfNobody0123456789"
LARGE, SMALL, OTHER = "IDC/patches/S1.h5", "IDC/var_50genes.json", "IDC/adata/S1.h5ad"


def fault(kind: str, **values: object):
    """A fault of the server."""
    return server.Fault(kind, **values)


def test_a_branch_becomes_a_commit_and_every_file_has_size_and_hash(hub, lock, tmp_path: Path) -> None:
    made = read_lock(lock())
    repo = hub.repos[NAME]
    assert made.revision == repo.commit
    assert set(made.files) == set(repo.files)
    assert made.files[LARGE].bytes == len(repo.files[LARGE])
    assert made.files[LARGE].sha256
    assert not made.files[LARGE].git_sha1
    assert made.files[SMALL].git_sha1
    assert not made.files[SMALL].sha256
    assert (tmp_path / "data" / ".hub-commit").read_text() == f"{repo.commit}\n"
    assert not hub.fetched(), "no file is fetched for it"


def test_only_the_files_that_are_needed_are_locked_and_more_may_come_later(hub, lock) -> None:
    assert set(read_lock(lock(SMALL)).files) == {SMALL}
    hub.repos[NAME].branches = ()  # the branch is gone, or moved on: the commit stays
    later = read_lock(lock(SMALL, LARGE))
    assert set(later.files) == {SMALL, LARGE}
    assert later.revision == "c" * 40


def test_a_finished_download_is_not_asked_for_again(hub, lock) -> None:
    root = lock()
    for file, content in hub.repos[NAME].files.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(content)
    hub.asked.clear()
    lock()
    assert hub.asked == []


def test_another_content_than_before_is_named_with_both_hashes(hub, lock) -> None:
    root = lock()
    before = (root / LOCK).read_text()
    old = json.loads(before)["files"][LARGE]["sha256"]
    hub.repos[NAME].files[LARGE] = hub.repos[NAME].files[LARGE][::-1]
    with pytest.raises(IntegrityError) as caught:
        lock()
    assert LARGE in str(caught.value)
    assert old in str(caught.value)
    assert "The published file was replaced" in str(caught.value)
    assert (root / LOCK).read_text() == before


def test_a_pinned_commit_that_is_not_the_lock_s_is_refused(hub, lock, monkeypatch: pytest.MonkeyPatch) -> None:
    from stflow.data.hub import manifest

    root = lock()
    place = manifest.repository(NAME).model_copy(update={"revision": "d" * 40})
    monkeypatch.setattr("stflow.data.hub.lock.repository", lambda name: place)
    with pytest.raises(IntegrityError, match=r"resources/hub.json pins d{40}"):
        lock()
    assert read_lock(root).revision == "c" * 40


def test_a_hash_that_the_manifest_knows_must_be_the_hub_s(hub, lock, monkeypatch: pytest.MonkeyPatch) -> None:
    from stflow.data.hub import manifest

    place = manifest.repository(NAME).model_copy(update={"known": {LARGE: manifest.Known(sha256="a" * 64)}})
    monkeypatch.setattr("stflow.data.hub.lock.repository", lambda name: place)
    with pytest.raises(IntegrityError, match=rf"{LARGE}: sha256 is \w+ on the hub, a+ in resources/hub.json"):
        lock()


@pytest.mark.parametrize("token", [None, SECRET], ids=["no token", "a token without access"])
def test_a_closed_gate_names_the_page_and_the_command(
    hub, lock, monkeypatch: pytest.MonkeyPatch, token, tmp_path: Path
) -> None:
    hub.repos[NAME].token = "hf_another"
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(AccessError) as caught:
        lock()
    message = str(caught.value)
    assert f"{NAME} is gated" in message
    assert PAGE in message
    assert "hf auth login" in message
    assert ("there is no token here" in message) == (token is None)
    assert SECRET not in message
    assert not (tmp_path / "data").exists()


def test_the_right_token_opens_the_gate_and_is_written_nowhere(
    hub, lock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from stflow.data.hub.download import download_file

    hub.repos[NAME].token = SECRET
    monkeypatch.setenv("HF_TOKEN", SECRET)
    download_file(NAME, lock(), LARGE)
    assert SECRET not in "".join(capfd.readouterr())
    assert [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()] == []


def test_one_closed_gate_stops_all_repositories_before_any_is_listed(hub, tmp_path: Path) -> None:
    other = "MahmoodLab/hest"
    hub.repos[other] = type(hub.repos[NAME])({"st/A.h5ad": b"x"}, token="hf_another")
    wanted = [Wanted(NAME, tmp_path / "one", (LARGE,)), Wanted(other, tmp_path / "two", ("st/A.h5ad",))]
    (tmp_path / "request.json").write_text(json.dumps(to_json(wanted)))
    with pytest.raises(AccessError, match="MahmoodLab/hest is gated"):
        make_lock(tmp_path / "request.json", tmp_path / "one")
    assert {path.rpartition("/")[2] for _, path, _ in hub.asked} == {"auth-check"}
    assert not (tmp_path / "one").exists()


def test_a_refused_token_is_told(hub, lock, waits) -> None:
    hub.faults.append(fault("status", status=403, path="/auth-check"))
    with pytest.raises(AccessError, match=r"refuses this machine's token.*\(403\).*hf auth login"):
        lock()
    assert waits == []


def test_a_repository_that_is_not_there_is_told(hub, lock) -> None:
    del hub.repos[NAME]
    with pytest.raises(AccessError, match=rf"shows no dataset {NAME} to this account"):
        lock()


def test_a_wrong_revision_is_told(hub, lock) -> None:
    hub.repos[NAME].branches = ()
    with pytest.raises(DataError, match=r"no revision 'main'. Correct it in resources/hub.json"):
        lock()


def test_all_missing_files_come_in_one_message_before_any_download(hub, lock) -> None:
    del hub.repos[NAME].files[LARGE], hub.repos[NAME].files[OTHER]
    with pytest.raises(DataError, match=rf"has no {OTHER}, {LARGE} at c+ \(2 files\)"):
        lock()
    assert not hub.fetched()


def test_offline_makes_no_call(hub, lock, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    root = lock()
    for file in (SMALL, OTHER):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(hub.repos[NAME].files[file])
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    lock(SMALL, OTHER)
    with pytest.raises(DataError, match=rf"HF_HUB_OFFLINE=1, and 1 files are not there: \S+{LARGE}. Unset it"):
        lock()
    (root / LOCK).unlink()
    with pytest.raises(DataError, match="no lock for the files below"):
        lock(SMALL)
    assert hub.asked == []


def test_an_answer_that_passes_is_asked_for_again(hub, lock, waits) -> None:
    hub.faults += [
        fault("status", times=2, status=500, path="/auth-check"),
        fault("status", times=1, status=429, retry_after=7, path="/revision/"),
        fault("status", times=1, status=503, path="/paths-info/", method="POST"),
    ]
    lock()
    assert waits == [1, 2, 7, 1]


def test_a_hub_that_stays_down_is_told_with_what_helps(hub, lock, waits) -> None:
    hub.faults.append(fault("status", status=503, path="/auth-check"))
    with pytest.raises(DataError, match=r"the hub answered 503, after 5 tries.*set data_root"):
        lock()
    assert waits == [1, 2, 4, 8]


def test_no_network_is_told_with_what_helps(
    hub, lock, waits, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", closed_port)
    with pytest.raises(DataError, match=r"no connection \(ConnectError\), after 5 tries.*data_root"):
        lock()


def test_a_spoilt_lock_is_told(hub, lock) -> None:
    root = lock()
    (root / LOCK).write_text('{"files": {"a": {"size": 1}}}')
    with pytest.raises(IntegrityError, match="is not a lock file"):
        lock()
    (root / LOCK).write_text("{")
    with pytest.raises(IntegrityError, match="is not valid JSON"):
        lock()


def test_a_folder_belongs_to_one_repository(hub, lock, tmp_path: Path) -> None:
    root = lock()
    (tmp_path / "other.json").write_text(json.dumps(to_json([Wanted("MahmoodLab/hest", root, ("a",))])))
    with pytest.raises(IntegrityError, match="is of MahmoodLab/hest-bench, not of MahmoodLab/hest"):
        make_lock(tmp_path / "other.json", root)
