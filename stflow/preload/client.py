"""The side of the command line: hand a job over, wait for its end. Imports nothing but the standard library."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Socket of the server, and which installation it is of.
ADDRESS_VARIABLE, INSTALLATION_VARIABLE = "STFLOW_PRELOADED", "STFLOW_PRELOADED_OF"
#: Set to ``off`` where no server is wanted.
SWITCH_VARIABLE = "STFLOW_PRELOAD"

#: A request is its length, then JSON; with the length go the three standard streams. An answer is one number.
LENGTH, STATUS = struct.Struct("!I"), struct.Struct("!i")
#: Answers that are no exit status: the server has not started the job, and the command runs by itself.
NOT_TAKEN = -1
#: Exit status of a job that ended without telling one, as a shell says it of a killed process.
KILLED = 128 + 9


def installation() -> str:
    """Which Python and which copy of the package this is: jobs of a conda environment are not for another's server."""
    return os.pathsep.join((sys.prefix, str(Path(__file__).resolve().parents[1])))


def hand_over(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int | None:
    """Exit status of a job that the server ran; None where it did not, and the command has to run by itself."""
    address = environment.get(ADDRESS_VARIABLE)
    if not address or environment.get(INSTALLATION_VARIABLE) != installation():
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        try:
            connection.connect(address)
        except OSError:
            return None  # not ready yet, or gone
        mask = os.umask(0o022)
        os.umask(mask)
        told = {"arguments": list(arguments), "folder": str(Path.cwd())}
        text = json.dumps({**told, "environment": dict(environment), "umask": mask}).encode()
        try:
            socket.send_fds(connection, [LENGTH.pack(len(text))], [0, 1, 2])
            connection.sendall(text)
        except OSError:
            return None  # it went away before it had the whole request
        answer = _receive(connection, STATUS.size)
    status = STATUS.unpack(answer)[0] if len(answer) == STATUS.size else KILLED
    return None if status == NOT_TAKEN else status


def _receive(connection: socket.socket, size: int) -> bytes:
    """``size`` bytes, or fewer where the other side is gone."""
    received = b""
    try:
        while len(received) < size and (part := connection.recv(size - len(received))):
            received += part
    except ConnectionError:
        pass  # as gone as an end of the stream: what is there says so
    return received


def main() -> None:
    """The command ``stflow``: through the server where there is one, else here."""
    status = hand_over(sys.argv[1:])
    if status is None:
        from stflow.cli import main as run

        run()
    else:
        sys.exit(status)
