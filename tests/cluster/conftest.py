"""A small SLURM on this machine: a controller, a node for CPU jobs, one with two GPUs that are only named.

Needs root and Debian's slurm-wlm, slurm-client and munge. `make test-cluster` installs them where it may and runs this
folder; `make test` leaves it out. All daemons are stopped and all files put back at the end, also of a failed test.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import h5py
import pytest

ROOT = Path(__file__).parents[2]
#: The submitting plug-in drops all SLURM variables, so the configuration is where every command looks by itself.
ETC = Path("/etc/slurm")
DAEMONS = ("slurmctld", "slurmd", "munged")

CONFIG = """
ClusterName=small
SlurmctldHost={host}
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/%n
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/%n.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/%n.log
SlurmctldPort={port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
MinJobAge=300
SlurmdTimeout=10
ReturnToService=2
KillWait=1
GresTypes=gpu
NodeName=DEFAULT CPUs=8 Boards=1 SocketsPerBoard=1 CoresPerSocket=8 ThreadsPerCore=1 RealMemory=64000
NodeName=cpu1 NodeHostname={host} NodeAddr={host} Port={cpu}
NodeName=cpu2 NodeHostname={host} NodeAddr={host} Port={cpu2}
NodeName=gpu1 NodeHostname={host} NodeAddr={host} Port={gpu} Gres=gpu:2
PartitionName=cpu Nodes=cpu1,cpu2 Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=gpu1 MaxTime=INFINITE State=UP
"""


class Slurm:
    """The running cluster."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Write the configuration and start all daemons."""
        host = socket.gethostname()
        ports = dict(zip(("port", "cpu", "cpu2", "gpu"), _free_ports(4), strict=True))
        (self.state / "ctld").mkdir(parents=True)
        devices = []
        for number in range(2):
            device = self.state / f"device{number}"
            os.mknod(device, 0o20666, os.makedev(1, 3))  # SLURM wants a device node; /dev/null's will do
            devices.append(f"NodeName=gpu1 Name=gpu File={device}")
        ETC.mkdir(exist_ok=True)
        (ETC / "slurm.conf").write_text(CONFIG.format(host=host, state=self.state, **ports))
        (ETC / "gres.conf").write_text("\n".join(devices) + "\n")
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        self._run("munged", "munged", "--foreground", "--force", user="munge")
        self.start_controller()
        for node in ("cpu1", "cpu2", "gpu1"):
            self.start_node(node)
        wait_for(lambda: states() == {"cpu1": "idle", "cpu2": "idle", "gpu1": "idle"})

    def start_controller(self) -> None:
        self._run("slurmctld", "slurmctld", "-D")

    def start_node(self, node: str) -> None:
        (self.state / node).mkdir(exist_ok=True)
        self._run(node, "slurmd", "-D", "-N", node)

    def kill(self, name: str) -> None:
        """End a daemon as a crash does."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def kill_node(self, node: str) -> None:
        """End a node as a power cut does: its daemon, the steps on it, and what these run."""
        self.kill(node)
        for pid in _pids_of_node(node):
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue

    def stop(self) -> None:
        """Cancel all jobs and end all daemons."""
        with suppress(subprocess.TimeoutExpired):  # of a controller that is gone
            subprocess.run(["scancel", "--user=root"], check=False, capture_output=True, timeout=20)
            time.sleep(1.5)
        for name in list(self.processes):
            self.processes[name].terminate()
        for name in list(self.processes):
            try:
                self.processes.pop(name).wait(10)
            except subprocess.TimeoutExpired:
                continue
        subprocess.run(["pkill", "-9", "-x", "slurmstepd"], check=False)

    def _run(self, name: str, *command: str, user: str | None = None) -> None:
        with (self.state / f"{name}.out").open("ab") as out:
            self.processes[name] = subprocess.Popen(
                ["/usr/sbin/" + command[0], *command[1:]], stdout=out, stderr=out, user=user, start_new_session=True
            )
        if name == "munged":
            wait_for(lambda: subprocess.run(["munge", "-n"], capture_output=True).returncode == 0)


def states() -> dict[str, str]:
    """Node -> its state, as SLURM shows it."""
    done = subprocess.run(["sinfo", "-h", "-N", "-o", "%N %t"], capture_output=True, text=True, check=False)
    return dict(line.split() for line in done.stdout.splitlines())


def wait_for(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something holds; fails the test if it never does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def digest(path: Path) -> str:
    """Hash of a file; of predictions, of their arrays, as AnnData writes the time of day beside them."""
    if path.suffix != ".h5ad":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    found = hashlib.sha256()
    with h5py.File(path) as handle:
        for name in ("X", "layers/measured", "obsm/spatial"):
            found.update(handle[name][()].tobytes())
    return found.hexdigest()


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _pids_of_node(node: str) -> list[int]:
    """Processes of jobs on a node, and the daemons that watch over its steps."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            environment = (place / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"SLURMD_NODENAME={node}".encode() in environment:
            found.append(int(place.name))
    return found


@pytest.fixture(name="wait_for")
def _wait_for() -> Callable[..., None]:
    """`wait_for`, for tests, which cannot import it."""
    return wait_for


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A running SLURM."""
    missing = [name for name in DAEMONS if not Path("/usr/sbin", name).exists()]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'}: see docs/clusters.md")
    running = [name for name in DAEMONS if subprocess.run(["pgrep", "-x", name], capture_output=True).returncode == 0]
    if running:
        pytest.skip(f"{', '.join(running)} already run here, and are left alone")
    before = {path.name: path.read_bytes() for path in ETC.glob("*.conf")} if ETC.is_dir() else None
    cluster = Slurm(tmp_path_factory.mktemp("slurm"))
    cluster.state.parent.chmod(0o755)
    try:
        cluster.start()
        yield cluster
    finally:
        try:
            cluster.stop()
        finally:
            for path in (ETC / "slurm.conf", ETC / "gres.conf", *cluster.state.glob("device*")):
                path.unlink(missing_ok=True)
            for name, text in (before or {}).items():
                (ETC / name).write_bytes(text)
            if before is None:
                ETC.rmdir()
