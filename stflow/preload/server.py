"""The process that has the libraries, and forks a child for each job.

    python -m stflow.preload.server <socket>

It lives as long as its standard input is open: `start` keeps the other end, so it ends with the process that started
it, however that ends. A child whose command is gone (Snakemake was stopped, a shell was killed) is interrupted, and
killed if it does not end by itself.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from stflow.lease import visible
from stflow.preload.client import (
    ADDRESS_VARIABLE,
    INSTALLATION_VARIABLE,
    LENGTH,
    NOT_TAKEN,
    STATUS,
    SWITCH_VARIABLE,
    installation,
)

#: What jobs import, and is slow to. Nothing that reads the environment while it is imported: a job has its own.
MODULES = (
    *("numpy", "h5py", "scipy.sparse", "scipy.stats", "scipy.spatial", "pandas", "pyarrow.parquet", "pydantic"),
    *("anndata", "sklearn.linear_model", "sklearn.decomposition", "torch", "safetensors.torch", "numba"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf"),
    *("stflow.cli", "stflow.training.train", "stflow.training.predict", "stflow.evaluation.evaluate"),
    "stflow.models.stflow.learner",
)
_GRACE_S = 10.0


def start(environment: MutableMapping[str, str] = os.environ) -> subprocess.Popen[bytes] | None:
    """Start a server, and let jobs of this process find it; None where forking is not safe or not wanted.

    The server ends with this process, or when the pipe to its standard input is closed.
    """
    if sys.platform != "linux" or environment.get(SWITCH_VARIABLE) == "off":
        return None
    address = Path(tempfile.mkdtemp(prefix="stflow-")) / "jobs"  # only its owner may look into the folder
    # One thread while it imports: a pool of threads does not live through a fork.
    alone = {**environment, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(  # nosec B603
        [sys.executable, "-m", "stflow.preload.server", str(address)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=alone,
        start_new_session=True,
    )
    environment[ADDRESS_VARIABLE], environment[INSTALLATION_VARIABLE] = str(address), installation()
    return process


def serve(address: Path, modules: Sequence[str] = MODULES) -> None:
    """Load the modules, then fork a child for each request until standard input is closed; its folder goes then."""
    for module in modules:
        importlib.import_module(module)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        # Bound elsewhere and renamed: whoever finds the address may connect.
        hidden = address.with_suffix(".new")
        listener.bind(str(hidden))
        listener.listen(128)
        hidden.rename(address)
        try:
            while True:
                ready, _, _ = select.select([listener, sys.stdin], [], [])
                if sys.stdin in ready and not os.read(0, 1):
                    return
                if listener in ready:
                    _accept(listener)
        finally:
            shutil.rmtree(address.parent, ignore_errors=True)


def _accept(listener: socket.socket) -> None:
    """Take one request and fork for it."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(_GRACE_S)
        try:
            request, streams = _read(connection)
        except (OSError, ValueError):
            return  # a client that was killed while it asked; its job has not begun
        connection.settimeout(None)
        try:
            if _wants_gpu(request):
                connection.sendall(STATUS.pack(NOT_TAKEN))
            elif os.fork() == 0:
                listener.close()
                _run(connection, request, streams)
        except OSError:
            return  # no process to be had, or the client is gone: it sees the closed connection
        finally:
            for stream in streams:
                os.close(stream)


def _read(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The request and the streams that came with it."""
    head, streams, _, _ = socket.recv_fds(connection, LENGTH.size, 3)
    with _closed_unless_read(streams):
        if len(head) != LENGTH.size or len(streams) != 3:
            raise ValueError("not a request")
        (size,) = LENGTH.unpack(head)
        with connection.makefile("rb") as reader:
            text = reader.read(size)
        return json.loads(text), streams


@contextmanager
def _closed_unless_read(streams: Sequence[int]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for stream in streams:
            os.close(stream)
        raise


def _wants_gpu(request: dict[str, Any]) -> bool:
    """Whether a job is to use a GPU that is there: CUDA is left to processes of their own."""
    words = request["arguments"]
    asked = words[words.index("--gpus") + 1] if "--gpus" in words[:-1] else "0"
    return asked != "0" and bool(visible(request["environment"]))


def _run(connection: socket.socket, request: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """In the child: become the job, run it, tell its status, end."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.chdir(request["folder"])
        os.umask(request["umask"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv[1:] = request["arguments"]
        threading.Thread(target=_end_with_the_command, args=(connection,), daemon=True).start()
        status = _status_of(request["arguments"])
    except BaseException:
        sys.excepthook(*sys.exc_info())
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            connection.sendall(STATUS.pack(status))
        finally:
            os._exit(status)


def _status_of(arguments: list[str]) -> int:
    """Run the command line, with as many threads as its environment says, as a process of its own would."""
    from stflow.cli import main
    from stflow.device import get_threads, set_threads

    set_threads(get_threads())
    try:
        main(arguments)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 1
        return int(stop.code or 0)
    return 0


def _end_with_the_command(connection: socket.socket) -> None:
    """Wait until the command that handed the job over is gone; then end the job and all that it started."""
    with suppress(OSError):
        connection.recv(1)
    os.kill(os.getpid(), signal.SIGINT)  # files that are being written are removed
    threading.Event().wait(_GRACE_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
