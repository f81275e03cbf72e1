"""The machine and the libraries here, without its name."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path


def hardware() -> dict[str, str]:
    """Processor, cores, memory, GPUs and system of this machine, as far as it tells them; no names or addresses."""
    found = {
        "processor": _processor(),
        "cores": str(_cores()),
        "memory": _memory(),
        "GPUs": ", ".join(_gpus()) or "none",
        "system": f"{platform.system()} on {platform.machine()}",
    }
    return {name: value for name, value in found.items() if value}


def packages() -> dict[str, str]:
    """Version of Python, of stflow and of every library that it asks for."""
    found = {"python": platform.python_version()}
    try:
        lines = [line for line in requires("stflow") or [] if not line.endswith('extra == "dev"')]
        asked = ["stflow", *(re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines)]
    except PackageNotFoundError:  # run from its folder, without an installation
        asked = list(_REQUIRED)
    for name in dict.fromkeys(asked):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # of an extra that is not installed
    return found


#: What decides numbers, for a tree that is run without being installed.
_REQUIRED = (
    *("torch", "torchvision", "timm", "torch-geometric", "numpy", "scipy", "scikit-learn", "numba", "pandas"),
    *("anndata", "h5py", "openslide-python", "pyvips", "snakemake"),
)


def commit(folder: Path) -> str:
    """Commit of the tree that holds ``folder``, and whether it has been changed since; empty without git or a tree."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=20
        )
        return done.stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        return f"{head}, with changes" if git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError):
        return ""


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        names = re.findall(r"^model name\s*:\s*(.+)$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        if names:
            return str(names[0]).strip()
    return platform.processor()


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (ValueError, OSError, AttributeError):
        return ""


def _gpus() -> list[str]:
    """Names and memory of NVIDIA GPUs, by the driver's own tool: torch would take seconds to import."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return [" ".join(line.replace(",", " of").split()) for line in done.stdout.splitlines() if line.strip()]
