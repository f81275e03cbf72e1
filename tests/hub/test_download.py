"""One file: whole and with the locked content, or not at all, whatever the hub does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stflow.data.hub.download import STAGING, download_file
from stflow.data.hub.lock import read_lock
from stflow.errors import AccessError, DataError, IntegrityError, ResourceError

from . import server

NAME = "MahmoodLab/hest-bench"
LARGE, SMALL, OTHER = "IDC/patches/S1.h5", "IDC/var_50genes.json", "IDC/adata/S1.h5ad"
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


def fault(kind: str, **values: object):
    """A fault of the server."""
    return server.Fault(kind, **values)


def nothing_left(root: Path) -> bool:
    """Whether the folder holds its lock and no other file."""
    return files_of(root) == set()


def files_of(root: Path) -> set[str]:
    """Names of the files there, the lock's aside."""
    names = {path.name for path in root.rglob("*") if path.is_file()}
    return names - {".hub-lock.json", ".hub-lock.json.flock", ".hub-commit"}


@pytest.mark.parametrize("file", [LARGE, SMALL], ids=["large", "small"])
def test_a_file_arrives_whole(hub, lock, file: str) -> None:
    root = lock()
    assert download_file(NAME, root, file).read_bytes() == hub.repos[NAME].files[file]
    assert hub.fetched() == {file: 1}
    assert files_of(root) == {Path(file).name}


def test_it_is_not_fetched_again_and_a_spoilt_one_is(hub, lock) -> None:
    root = lock()
    path = download_file(NAME, root, LARGE)
    download_file(NAME, root, LARGE)
    assert hub.fetched() == {LARGE: 1}
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert download_file(NAME, root, LARGE).read_bytes() == hub.repos[NAME].files[LARGE]
    assert hub.fetched() == {LARGE: 2}


def test_it_comes_from_the_locked_commit(hub, lock) -> None:
    root = lock()
    hub.repos[NAME].branches = ()
    download_file(NAME, root, LARGE)
    assert all("/resolve/cccc" in path for _, path, _ in hub.asked if "/resolve/" in path)


def test_a_file_that_was_not_locked_before_is_locked_first(hub, lock) -> None:
    root = lock(SMALL)
    hub.repos[NAME].branches = ()  # at the same commit
    assert download_file(NAME, root, LARGE).read_bytes() == hub.repos[NAME].files[LARGE]
    assert set(read_lock(root).files) == {SMALL, LARGE}


def test_a_dropped_connection_is_taken_up_where_it_broke_off(hub, lock, waits, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)  # what it keeps of a broken answer: whole chunks
    hub.faults.append(fault("drop", times=1))
    root = lock()
    content = hub.repos[NAME].files[LARGE]
    assert download_file(NAME, root, LARGE).read_bytes() == content
    assert [asked for _, _, asked in hub.asked if asked] == [f"bytes={len(content) // 2}-"]


def test_a_connection_that_never_holds_leaves_nothing(hub, lock, waits) -> None:
    root = lock()
    hub.faults.append(fault("drop"))
    with pytest.raises(DataError, match=r"no connection \(RemoteProtocolError\), after 5 tries"):
        download_file(NAME, root, LARGE)
    assert nothing_left(root)


@pytest.mark.parametrize(
    ("body", "told"),
    [(b"", "it is empty"), (PAGE, "it is a web page"), (b"\n  " + PAGE.lower(), "it is a web page")],
    ids=["empty", "HTML", "html"],
)
def test_an_answer_that_is_no_data_is_named_and_not_kept(hub, lock, body: bytes, told: str) -> None:
    root = lock()
    hub.faults.append(fault("body", body=body))
    with pytest.raises(IntegrityError, match=rf"{LARGE} of {NAME} is not the published file: {told}"):
        download_file(NAME, root, LARGE)
    assert nothing_left(root)


def test_wrong_content_of_the_right_length_is_named_and_not_kept(hub, lock) -> None:
    root = lock()
    hub.faults.append(fault("content"))
    with pytest.raises(IntegrityError, match=r"hash \w{16}\.{3}, expected \w{16}\.{4} Fetched 2 times, nothing kept"):
        download_file(NAME, root, LARGE)
    assert nothing_left(root)
    assert hub.fetched() == {LARGE: 2}


def test_wrong_content_of_a_small_file_is_seen_by_git_s_hash(hub, lock) -> None:
    root = lock()
    hub.faults.append(fault("content"))
    with pytest.raises(IntegrityError, match="is not the published file: hash"):
        download_file(NAME, root, SMALL)
    assert nothing_left(root)


def test_wrong_content_once_is_fetched_again(hub, lock) -> None:
    hub.faults.append(fault("content", times=1))
    assert download_file(NAME, lock(), LARGE).read_bytes() == hub.repos[NAME].files[LARGE]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_answer_that_passes_is_asked_for_again(hub, lock, waits, status: int, method: str) -> None:
    hub.faults.append(fault("status", times=2, status=status, method=method))
    assert download_file(NAME, lock(), LARGE).read_bytes() == hub.repos[NAME].files[LARGE]
    assert waits


def test_retry_after_is_honoured(hub, lock, waits) -> None:
    hub.faults.append(fault("status", times=1, status=429, retry_after=11))
    download_file(NAME, lock(), LARGE)
    assert max(waits) >= 11
    hub.faults.append(fault("status", times=1, status=503, retry_after=13))
    waits.clear()
    download_file(NAME, lock(), OTHER)
    assert max(waits) >= 13


def test_a_hub_that_stays_down_is_told_and_leaves_nothing(hub, lock, waits) -> None:
    root = lock()
    hub.faults.append(fault("status", status=500))
    with pytest.raises(DataError, match=rf"{LARGE} of {NAME}: the hub answered 500, after 5 tries.*data_root"):
        download_file(NAME, root, LARGE)
    assert waits == [1, 2, 4, 8]
    assert nothing_left(root)


def test_a_gate_that_closed_after_the_lock_is_told(hub, lock) -> None:
    root = lock()
    hub.repos[NAME].token = "hf_another"
    with pytest.raises(AccessError, match=r"is gated, and there is no token here.*hf auth login"):
        download_file(NAME, root, LARGE)
    assert nothing_left(root)


def test_a_file_that_is_gone_or_was_never_there_is_told(hub, lock) -> None:
    root = lock()
    with pytest.raises(DataError, match=r"has no IDC/more.h5 at c+ \(1 files\)"):
        download_file(NAME, root, "IDC/more.h5")
    del hub.repos[NAME].files[LARGE]
    with pytest.raises(DataError, match=rf"has no file {LARGE} at the locked commit"):
        download_file(NAME, root, LARGE)
    assert nothing_left(root)


def test_a_proxy_s_page_in_place_of_the_hub_is_told(hub, lock, waits, monkeypatch: pytest.MonkeyPatch) -> None:
    root = lock()
    monkeypatch.setattr(server.Handler, "answer", lambda self: self.send(200, PAGE))
    with pytest.raises(DataError, match=r"the answer is not the hub's. A proxy or a login page stands between"):
        download_file(NAME, root, LARGE)
    assert nothing_left(root)


def test_no_network_is_told_and_leaves_nothing(
    hub, lock, waits, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    root = lock()
    monkeypatch.setattr(constants, "ENDPOINT", closed_port)
    template = closed_port + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(DataError, match=r"no connection \(ConnectError\).*network and its proxy settings"):
        download_file(NAME, root, LARGE)
    assert nothing_left(root)


def test_what_a_killed_download_left_is_removed(hub, lock) -> None:
    """Also where the file itself is there already."""
    root = lock()
    stale = root / STAGING / LARGE.replace("/", "+") / ".cache" / "huggingface" / "download" / "x.incomplete"
    for _ in range(2):
        stale.parent.mkdir(parents=True)
        stale.write_bytes(b"half")
        download_file(NAME, root, LARGE)
        assert files_of(root) == {Path(LARGE).name}
    assert hub.fetched() == {LARGE: 1}


def test_a_full_disk_is_told(hub, lock, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    import huggingface_hub

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    root = lock()
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    with pytest.raises(ResourceError, match=f"disk full while fetching {LARGE}"):
        download_file(NAME, root, LARGE)


def test_a_folder_that_cannot_be_written_is_told(hub, lock, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    import huggingface_hub

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    root = lock()
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", denied)
    with pytest.raises(ResourceError, match=f"{LARGE} of {NAME} cannot be written: Permission denied"):
        download_file(NAME, root, LARGE)


def test_a_transfer_by_chunks_that_breaks_off_is_tried_again(hub, lock, waits, monkeypatch) -> None:
    """As xet tells it; this machine's hub has none."""
    import huggingface_hub

    root, whole, broken = lock(), huggingface_hub.hf_hub_download, [RuntimeError("cas"), TimeoutError("cas")]
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *a, **k: raised(broken.pop()) if broken else whole(*a, **k)
    )
    assert download_file(NAME, root, LARGE).read_bytes() == hub.repos[NAME].files[LARGE]
    assert waits == [1, 2]
    broken += [RuntimeError("cas")] * 5
    with pytest.raises(DataError, match=r"no connection \(RuntimeError\), after 5 tries"):
        download_file(NAME, root, OTHER)


def raised(error: Exception) -> None:
    """Raise an error where only an expression may stand."""
    raise error


COMMAND = (sys.executable, "-c", "from stflow.cli import main; main()", "hub")


def environment(hub) -> dict[str, str]:
    """As a user sets it whose hub is this one."""
    own = {"HF_ENDPOINT": hub.address, "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return {**os.environ, **own}


def test_a_download_killed_in_the_middle_of_a_file_starts_it_anew(hub, lock) -> None:
    root = lock()
    hub.faults.append(fault("stall", times=1, path=LARGE))
    started = subprocess.Popen(
        [*COMMAND, "download", "--repository", NAME, "--root", str(root), "--file", LARGE],
        env=environment(hub),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert hub.stalled.wait(timeout=60)
    started.kill()
    assert started.wait() == -signal.SIGKILL
    assert list(root.rglob("*.incomplete")), "it was killed before the file was begun"
    assert not (root / LARGE).exists()
    download_file(NAME, root, LARGE)
    assert (root / LARGE).read_bytes() == hub.repos[NAME].files[LARGE]
    assert files_of(root) == {Path(LARGE).name}


def test_the_commands_work_as_processes_and_offline_makes_no_call(hub, lock, tmp_path: Path) -> None:
    """What the rules run, with the client's environment as a user sets it."""
    root = lock()

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments], env={**environment(hub), **more}, capture_output=True, text=True, check=False
        )

    download = ("download", "--repository", NAME, "--root", str(root), "--file")
    done = run(*download, LARGE)
    assert done.returncode == 0, done.stderr
    assert (root / LARGE).read_bytes() == hub.repos[NAME].files[LARGE]
    hub.asked.clear()
    assert run(*download, LARGE, HF_HUB_OFFLINE="1").returncode == 0
    missing = run(*download, SMALL, HF_HUB_OFFLINE="1")
    assert missing.returncode == 3
    assert f"HF_HUB_OFFLINE=1, and {root / SMALL} is not there" in missing.stderr
    assert "Traceback" not in missing.stderr
    assert hub.asked == []
