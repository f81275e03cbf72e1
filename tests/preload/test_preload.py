"""A job that the server runs is the job that the command runs: status, streams, folder, files, and how it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stflow.preload import server
from stflow.preload.client import ADDRESS_VARIABLE, INSTALLATION_VARIABLE, KILLED, hand_over, installation

#: Serves with no modules loaded ahead, which is at once; the job's own imports then happen in the child.
SERVER = "import sys; from pathlib import Path; from stflow.preload.server import serve; serve(Path(sys.argv[1]), ())"
COMMAND = [sys.executable, "-c", "from stflow.preload.client import main; main()"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment whose jobs find a server."""
    address = tmp_path_factory.mktemp("server") / "jobs"
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(address)], stdin=subprocess.PIPE)
    wait_for(address.exists)
    yield {**os.environ, ADDRESS_VARIABLE: str(address), INSTALLATION_VARIABLE: installation()}
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert not address.parent.exists()


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run(environment: dict[str, str], *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False, **options
    )


def alone(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != ADDRESS_VARIABLE}


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "formats"),
        ("list", "nothing"),  # an error with its own status
        ("train", "--no-such-option"),  # a mistake on the command line
        ("--help",),
    ],
)
def test_the_same_words_and_status(served: dict[str, str], arguments: tuple[str, ...]) -> None:
    ours, plain = run(served, *arguments), run(alone(served), *arguments)
    assert (ours.returncode, ours.stdout, ours.stderr) == (plain.returncode, plain.stdout, plain.stderr)


def test_folder_environment_and_mask_are_the_commands(served: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'umask 027; exec "$@"', "sh", *COMMAND, "--timing", "here.tsv", "list", "formats"],
        env={**served, "COLUMNS": "60"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    written = tmp_path / "here.tsv"
    assert written.stat().st_mode & 0o777 == 0o640
    assert max(map(len, done.stdout.splitlines())) <= 60
    wall, _, cpu = (float(value) for value in written.read_text().splitlines()[1].split("\t")[:3])
    assert 0 < cpu < wall + 1
    assert wall < 60


def test_streams_go_where_the_command_sent_them(served: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as stream:
        subprocess.run([*COMMAND, "list", "nothing"], env=served, stdout=stream, stderr=subprocess.STDOUT, check=False)
    assert "nothing" in log.read_text()


def test_many_at_a_time(served: dict[str, str]) -> None:
    jobs = [subprocess.Popen([*COMMAND, "list", "methods"], env=served, stdout=subprocess.PIPE) for _ in range(12)]
    said = {job.communicate(timeout=120)[0] for job in jobs}
    assert len(said) == 1
    assert {job.returncode for job in jobs} == {0}


def jobs_of(root: Path) -> list[int]:
    """Processes whose working folder is this one."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if str(root) in str((place / "cwd").readlink()):
                found.append(int(place.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_job_ends_with_its_command(served: dict[str, str], tmp_path: Path) -> None:
    words = ("source", "demo-slide", "--benchmark", "demo_hest", "--slide", "DEMO1A", "--root", str(tmp_path / "data"))
    command = subprocess.Popen([*COMMAND, *words], env=served, cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(jobs_of(tmp_path)) == 2)  # the command and its job
    os.kill(command.pid, signal.SIGKILL)
    command.wait()
    wait_for(lambda: not jobs_of(tmp_path))
    assert not list(tmp_path.rglob("*.partial*"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_job_is_told_as_killed(served: dict[str, str], tmp_path: Path) -> None:
    words = ("source", "demo-slide", "--benchmark", "demo_hest", "--slide", "DEMO1A", "--root", str(tmp_path / "data"))
    command = subprocess.Popen([*COMMAND, *words], env=served, cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(jobs_of(tmp_path)) == 2)
    (job,) = set(jobs_of(tmp_path)) - {command.pid}
    os.kill(job, signal.SIGKILL)
    assert command.wait(timeout=30) == KILLED


def test_without_a_server_the_command_runs_by_itself(tmp_path: Path) -> None:
    gone = {ADDRESS_VARIABLE: str(tmp_path / "gone"), INSTALLATION_VARIABLE: installation()}
    assert hand_over(["list", "formats"], gone) is None
    assert run({**os.environ, **gone}, "list", "formats").returncode == 0


def test_a_server_of_another_installation_is_not_asked(served: dict[str, str]) -> None:
    assert hand_over(["list", "formats"], {**served, INSTALLATION_VARIABLE: "/another"}) is None


def test_a_job_with_a_gpu_has_a_process_of_its_own(served: dict[str, str], tmp_path: Path) -> None:
    leases = {"STFLOW_LEASES": str(tmp_path)}
    seen = {**served, **leases, "CUDA_VISIBLE_DEVICES": "0"}
    assert hand_over(["--gpus", "1", "list", "formats"], seen) is None
    assert hand_over(["--gpus", "0", "list", "nothing"], seen) == 6
    assert hand_over(["--gpus", "1", "list", "nothing"], {**seen, "CUDA_VISIBLE_DEVICES": ""}) == 6  # it uses none


def test_the_server_ends_with_who_started_it() -> None:
    environment = dict(os.environ)
    process = server.start(environment)
    assert process is not None
    address = Path(environment[ADDRESS_VARIABLE])
    assert address.parent.stat().st_mode & 0o777 == 0o700
    wait_for(address.exists)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    assert not address.parent.exists()


def test_it_can_be_switched_off() -> None:
    environment = {"STFLOW_PRELOAD": "off"}
    assert server.start(environment) is None
    assert ADDRESS_VARIABLE not in environment


def test_what_is_loaded_ahead_reads_no_settings_of_a_job() -> None:
    code = (
        "import importlib, sys\nfrom stflow.preload.server import MODULES\n"
        "for name in MODULES: importlib.import_module(name)\n"
        "import threading; print('huggingface_hub' in sys.modules, threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "1"]
