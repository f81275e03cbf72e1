"""Words of the workflow's shell lines, and names of its rules."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Container, Iterable
from pathlib import Path


def relative(path: Path | str) -> str:
    """``path`` from the working folder, if it lies below it, so that recorded commands name no machine."""
    path = Path(path)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def comma(items: Iterable[object]) -> str:
    """Items with a comma between, as the command line takes them."""
    return ",".join(map(str, items))


def option(flag: str, *values: Path | str | None) -> str:
    """``flag value``, quoted for the shell; nothing where there is no value."""
    return " ".join(f"{flag} {shlex.quote(str(value))}" for value in values if value is not None)


def free_name(kind: str, name: str, taken: Container[str]) -> str:
    """A rule name for a target: ``name``, or ``kind_name`` where a rule bears that already."""
    return f"{kind}_{name}" if name in taken else name


def asked_to_keep_going(words: Iterable[str]) -> bool:
    """Whether a command line of Snakemake says ``--keep-going`` or ``-k`` itself.

    The default profile has it too, for failed runs; whether closed encoders are left out is for the user to say.
    """
    return any(word == "--keep-going" or re.fullmatch("-[a-jl-zA-Z]*k", word) for word in words)


def put_on_path(folder: Path) -> None:
    """Let the commands of this process's jobs be found in ``folder`` first."""
    os.environ["PATH"] = os.pathsep.join([str(folder), os.environ.get("PATH", "")])
