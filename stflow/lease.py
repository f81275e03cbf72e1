"""A GPU for each job: one lock file a device, held by the operating system for as long as the process lives.

Snakemake counts GPUs and does not hand them out, so eight jobs at a time would all compute on the first. A job takes a
lease before anything of CUDA is loaded and sees no other device. The kernel frees it however the job ends. The pool is
what ``CUDA_VISIBLE_DEVICES`` names, else what the driver shows.

Leases are held against each other on the whole machine, whoever runs the jobs. A cluster's scheduler that has given a
job its devices (it set ``CUDA_VISIBLE_DEVICES``) is trusted: leases then count among the processes of that job alone,
since the same number may be another device in the next job.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stflow.errors import ResourceError

#: Folder of the lock files; one place for all users of a machine, so not the temporary folder of a session. What lies
#: there under a lock's name is checked when it is opened.
FOLDER_VARIABLE = "STFLOW_LEASES"
DEFAULT_FOLDER = Path("/tmp/stflow-leases")  # nosec B108
#: Jobs that may share a device, from ``training.jobs_per_gpu``; the Snakefile sets it for its jobs.
SHARE_VARIABLE = "STFLOW_JOBS_PER_GPU"
#: A file that gets a line of JSON whenever a lease is taken or given back, where it is set.
RECORD_VARIABLE = "STFLOW_LEASE_RECORD"

_VISIBLE = "CUDA_VISIBLE_DEVICES"
#: Where schedulers tell a job its number: SLURM, LSF, PBS, Grid Engine.
_JOB_VARIABLES = ("SLURM_JOB_ID", "LSB_JOBID", "PBS_JOBID", "JOB_ID")
_NONE = ("", "-1", "NoDevFiles", "none", "void")
_FIRST_WAIT_S, _LONGEST_WAIT_S, _TOLD_AFTER_S = 0.05, 1.0, 2.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device: as ``CUDA_VISIBLE_DEVICES`` names it, and the name of its lock, the same for all who see it."""

    name: str
    lock: str


def visible(environment: Mapping[str, str] | None = None) -> list[Gpu]:
    """The GPUs that this process may use, in their order; empty on a machine without."""
    environment = os.environ if environment is None else environment
    physical = _physical()
    said = environment.get(_VISIBLE)
    if said is None:
        return [Gpu(uuid, _lock_name(uuid)) for uuid in physical]
    found = []
    for name in (part.strip() for part in said.split(",")):
        if name in _NONE:
            break  # CUDA takes no device after the first that is none
        uuid = physical[int(name)] if name.isdigit() and int(name) < len(physical) else name
        found.append(Gpu(name, _lock_name(uuid)))
    return list(dict.fromkeys(found))


def jobs_per_gpu(environment: Mapping[str, str] | None = None) -> int:
    """How many jobs may share a device.

    Raises
    ------
    ResourceError
        The variable holds no number of jobs.
    """
    said = (os.environ if environment is None else environment).get(SHARE_VARIABLE, "1")
    if not said.isdigit() or not int(said):
        raise ResourceError(f"{SHARE_VARIABLE}={said} is no number of jobs. Set training.jobs_per_gpu instead.")
    return int(said)


def folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where the lock files are: one folder a machine, or one a job of a cluster that was given its devices."""
    environment = os.environ if environment is None else environment
    base = Path(environment.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)
    job = next((value for name in _JOB_VARIABLES if (value := environment.get(name))), None)
    return base if job is None or _VISIBLE not in environment else base / f"job-{_lock_name(job)}"


def gpu_limit(device: str, jobs: int) -> int | None:
    """Jobs that may have a GPU at the same time on this machine; None where they run on the CPU, as many as there are.

    Parameters
    ----------
    device
        ``auto``, ``cpu`` or ``cuda`` of the configuration.
    jobs
        Jobs that may share a device.

    Raises
    ------
    ResourceError
        ``cuda`` is demanded, and no GPU is visible.
    """
    if device == "cpu":
        return None
    pool = visible()
    if not pool and device == "cuda":
        raise ResourceError(
            f"training.device is cuda, and no GPU is visible here ({_VISIBLE}={os.environ.get(_VISIBLE, 'not set')}). "
            "Set it to auto or cpu to run on the CPU, or see `stflow doctor`."
        )
    return len(pool) * jobs if pool else None


@contextmanager
def lease(n_gpus: int) -> Iterator[tuple[str, ...]]:
    """Hold ``n_gpus`` devices, and let this process see no others.

    Waits where all are held. Without any GPU nothing is leased: what then runs computes on the CPU, or says why it
    cannot (`stflow.device.resolve`).

    Parameters
    ----------
    n_gpus
        GPUs that the job asked the scheduler for; 0 leases none.

    Yields
    ------
    Names of the devices, as ``CUDA_VISIBLE_DEVICES`` now holds them.

    Raises
    ------
    ResourceError
        More are asked for than there are, or the lock files cannot be used.
    """
    pool = visible() if n_gpus > 0 else []
    if not pool:
        yield ()
        return
    if n_gpus > len(pool):
        raise ResourceError(
            f"{n_gpus} GPUs are asked for, and {len(pool)} visible ({_VISIBLE}={os.environ.get(_VISIBLE, 'not set')}). "
            "Ask for fewer, or let the job see more."
        )
    before = os.environ.get(_VISIBLE)
    with ExitStack() as held:
        names = _wait(pool, n_gpus, jobs_per_gpu(), held)
        os.environ[_VISIBLE] = ",".join(names)
        try:
            yield names
        finally:
            if before is None:
                os.environ.pop(_VISIBLE, None)
            else:
                os.environ[_VISIBLE] = before


def free(environment: Mapping[str, str] | None = None) -> dict[str, int]:
    """Device -> leases that could be had of it now, of every visible one."""
    place, slots = folder(environment), jobs_per_gpu(environment)
    found = {}
    for gpu in visible(environment):
        with ExitStack() as held:
            found[gpu.name] = sum(_take(place, gpu, slot, held) for slot in range(slots))
    return found


def _wait(pool: Sequence[Gpu], n_gpus: int, slots: int, held: ExitStack) -> tuple[str, ...]:
    """Take ``n_gpus`` leases, all or none at a time, so that two jobs never wait for each other."""
    place, start, pause, told = folder(), time.monotonic(), _FIRST_WAIT_S, False
    while True:
        with ExitStack() as attempt:
            taken: dict[Gpu, int] = {}
            # The first lease of every device before the second of any.
            for slot in range(slots):
                for gpu in pool:
                    if len(taken) < n_gpus and gpu not in taken and _take(place, gpu, slot, attempt):
                        taken[gpu] = slot
            if len(taken) == n_gpus:
                waited = time.monotonic() - start
                names = tuple(gpu.name for gpu in taken)
                print(f"stflow: GPU {', '.join(names)} leased after {waited:.1f} s", file=sys.stderr)
                _record("taken", taken)
                held.callback(_record, "given back", taken)
                held.push(attempt.pop_all())
                return names
        if not told and time.monotonic() - start > _TOLD_AFTER_S:
            print(f"stflow: waiting for {n_gpus} of {len(pool)} GPUs, all leased", file=sys.stderr)
            told = True
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_WAIT_S)


def _take(place: Path, gpu: Gpu, slot: int, held: ExitStack) -> bool:
    """Try to lock one lease of a device; ``held`` keeps it."""
    path = place / f"{gpu.lock}.{slot}"
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    held.callback(os.close, descriptor)
    return True


def _open(path: Path) -> int:
    """Open a lock file, made if need be, for users who may all be strangers: no link is followed, nothing written."""
    _make_shared(path.parent)
    try:
        for flags in (os.O_RDONLY, os.O_RDONLY | os.O_CREAT | os.O_EXCL, os.O_RDONLY):
            try:
                descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o444)
            except (FileNotFoundError, FileExistsError):
                continue
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            os.close(descriptor)
            break
    except OSError as error:
        raise ResourceError(f"the lock file {path} cannot be opened ({error}). {_REMEDY}") from error
    raise ResourceError(f"{path} is not a lock file. {_REMEDY}")


def _make_shared(place: Path) -> None:
    """Make a folder in which every user may make files, and only their maker may remove them."""
    if place.is_dir():
        return
    if place.parent != DEFAULT_FOLDER.parent:
        _make_shared(place.parent)
    try:
        place.mkdir()
        place.chmod(0o1777)
    except FileExistsError:
        return
    except OSError as error:
        raise ResourceError(f"the folder {place} for lock files cannot be made ({error}). {_REMEDY}") from error


_REMEDY = f"Remove it, or set {FOLDER_VARIABLE} to a folder on this machine that all its users may write to."


def _record(event: str, taken: Mapping[Gpu, int]) -> None:
    """Add lines to the record of leases, if one is kept; each is written at once, as others write there too."""
    path = os.environ.get(RECORD_VARIABLE)
    if not path:
        return
    lines = "".join(
        json.dumps({"time": time.time(), "event": event, "gpu": gpu.name, "slot": slot, "pid": os.getpid()}) + "\n"
        for gpu, slot in taken.items()
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, lines.encode())
    finally:
        os.close(descriptor)


def _lock_name(text: str) -> str:
    return re.sub(r"[^\w-]", "_", text)


@cache
def _physical() -> tuple[str, ...]:
    """UUIDs of the machine's GPUs, of their instances where they are divided, in the driver's order."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=60)  # nosec
    except (OSError, subprocess.SubprocessError):
        return ()
    return read_nvidia_smi(done.stdout)


def read_nvidia_smi(text: str) -> tuple[str, ...]:
    """UUIDs of ``nvidia-smi -L``: a GPU's own, or those of its MIG instances if it has any."""
    found: list[list[str]] = []
    for kind, uuid in re.findall(r"^\s*(GPU|MIG) .*\(UUID: ([\w/-]+)\)", text, re.MULTILINE):
        if kind == "GPU":
            found.append([uuid])
        else:
            found[-1].append(uuid)
    return tuple(uuid for gpu in found for uuid in (gpu[1:] or gpu))
