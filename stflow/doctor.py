"""`stflow doctor`: what this machine can run, each finding with its remedy. Prints no secret."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stflow.data.hub.manifest import repositories
from stflow.lease import free as free_leases

Verdict = Literal["PASS", "WARN", "FAIL"]

PYTHONS = ((3, 11), (3, 14))
DEMO_GB, PAPER_GB = 3, 500
_NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination; ``remedy`` is empty on PASS."""

    verdict: Verdict
    what: str
    seen: str
    remedy: str = ""


def examine(results: Path) -> int:
    """Print every finding; returns the exit status: 1 if anything is FAIL, else 0."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "what", "seen", "remedy", box=None, pad_edge=False)
    colour = {"PASS": "green", "WARN": "yellow", "FAIL": "red"}
    findings = list(all_findings(results))
    for finding in findings:
        mark = f"[{colour[finding.verdict]}]{finding.verdict}[/]"
        table.add_row(mark, finding.what, finding.seen, finding.remedy)
    Console().print(table)
    return int(any(finding.verdict == "FAIL" for finding in findings))


def all_findings(results: Path) -> Iterator[Finding]:
    """Every check in turn; a check never raises."""
    yield python_version(sys.version_info[:2])
    yield torch_build()
    yield cuda_devices()
    yield openslide()
    yield disk(results)
    token = hub_token()
    yield token
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        yield Finding("WARN", "hub", "HF_HUB_OFFLINE=1, not asked", "unset HF_HUB_OFFLINE to download")
        return
    asked = [name for name, place in repositories().items() if place.kind != "release"]
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(hub_access, asked))
    if {answer.seen for answer in answers} == {answers[0].seen} and answers[0].seen.startswith(_NOT_REACHED):
        yield replace(answers[0], what=f"hub: all {len(asked)} repositories")
    else:
        yield from answers


def python_version(version: tuple[int, ...]) -> Finding:
    """Python 3.11 to 3.13."""
    seen = f"{platform.python_implementation()} {'.'.join(map(str, version))}"
    if PYTHONS[0] <= version[:2] < PYTHONS[1]:
        return Finding("PASS", "python", seen)
    return Finding("FAIL", "python", seen, "install Python 3.11, 3.12 or 3.13 and run: make PYTHON=python3.12 demo")


def torch_build() -> Finding:
    """The installed torch and the CUDA version it was built for."""
    try:
        import torch
    except ImportError as error:
        return Finding("FAIL", "torch", str(error), "run: make demo, which installs envs/requirements.lock")
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    seen = f"{torch.__version__}, built for {build}"
    try:
        vision = importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError:
        return Finding("FAIL", "torch", seen, "torchvision is missing: install envs/requirements.lock")
    return Finding("PASS", "torch", f"{seen}; torchvision {vision}")


def cuda_devices() -> Finding:
    """The GPUs that torch can use."""
    try:
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        names = [
            f"{torch.cuda.get_device_name(i)} ({torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB)"
            for i in range(count)
        ]
    except (ImportError, RuntimeError, AssertionError) as error:
        return Finding("WARN", "CUDA devices", f"none: {error}", "check the driver with nvidia-smi")
    if names:
        free = sum(leases > 0 for leases in free_leases().values())
        return Finding("PASS", "CUDA devices", f"{'; '.join(names)}; {free} of {count} not leased by a job")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    remedy = "the demo needs none; for the paper, check nvidia-smi and the driver"
    if visible is not None:
        remedy = f"CUDA_VISIBLE_DEVICES={visible!r} hides them, or the driver is missing (nvidia-smi)"
    return Finding("WARN", "CUDA devices", "none, jobs run on CPU", remedy)


def openslide() -> Finding:
    """OpenSlide, which reads the slides."""
    try:
        import openslide

        return Finding("PASS", "openslide", f"{openslide.__library_version__}")
    except (ImportError, OSError) as error:
        return Finding("FAIL", "openslide", str(error), "install envs/requirements.lock (openslide-bin)")


def disk(results: Path, free_gb: Callable[[Path], float] | None = None) -> Finding:
    """Free space where results go."""
    place = next(path for path in (results.absolute(), *results.absolute().parents) if path.exists())
    free = free_gb(place) if free_gb else shutil.disk_usage(place).free / 1e9
    seen = f"{free:.0f} GB free for {results}"
    if free < DEMO_GB:
        return Finding("FAIL", "disk", seen, f"the demo needs {DEMO_GB} GB: free some, or set `results` elsewhere")
    if free < PAPER_GB:
        remedy = f"enough for the demo; the whole paper needs about {PAPER_GB} GB: set `results` to a larger disk"
        return Finding("WARN", "disk", seen, remedy)
    return Finding("PASS", "disk", seen)


def hub_token() -> Finding:
    """Whether a Hugging Face token is present; the token itself is never shown."""
    from huggingface_hub import get_token

    if get_token():
        return Finding("PASS", "hub token", "present")
    return Finding(
        "WARN",
        "hub token",
        "none",
        "only for gated encoders and HEST: run `hf auth login`; the demo needs none",
    )


def hub_access(repository: str) -> Finding:
    """Whether the hub lets this account read a repository of ``resources/hub.json``."""
    from httpx2 import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    place, what = repositories()[repository], f"hub: {repository}"
    try:
        HfApi().auth_check(repository, repo_type=place.kind)
    except GatedRepoError:
        remedy = f"gated: get access at {place.page}, then run `hf auth login`"
        return Finding("WARN", what, "closed to this account", remedy)
    except RepositoryNotFoundError:
        return Finding(
            "WARN", what, "not found for this account", "run `hf auth login` with an account that has access"
        )
    except (HfHubHTTPError, HTTPError, OSError) as error:
        return Finding("WARN", what, f"{_NOT_REACHED} ({type(error).__name__})", "check the network or a proxy")
    return Finding("PASS", what, "open to this account")
