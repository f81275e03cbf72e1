"""The files of the hub that one configuration needs: written when the workflow is read, read by the job that asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stflow.errors import DataError
from stflow.io import SCHEMA_VERSION, read_json, reading
from stflow.names import file_problem


@dataclass(frozen=True, slots=True)
class Wanted:
    """Files of one repository, by their paths in it, the folder that they go to, and the encoders that need them."""

    repository: str
    root: Path
    files: tuple[str, ...]
    encoders: tuple[str, ...] = ()


def to_json(wanted: Sequence[Wanted]) -> dict:
    """The request as JSON values."""
    entries = [
        {
            "repository": item.repository,
            "root": str(item.root),
            "files": sorted(set(item.files)),
            "encoders": list(item.encoders),
        }
        for item in wanted
    ]
    return {"schema": SCHEMA_VERSION, "wanted": entries}


def read_request(path: Path) -> list[Wanted]:
    """Inverse of `to_json`, from a file.

    Raises
    ------
    IntegrityError
        The file is not a request.
    DataError
        It asks for a file outside of its folder.
    """
    values = read_json(path)
    with reading(path):
        wanted = [
            Wanted(entry["repository"], Path(entry["root"]), tuple(entry["files"]), tuple(entry.get("encoders", ())))
            for entry in values["wanted"]
        ]
    for item in wanted:
        if problems := [problem for file in item.files if (problem := file_problem(str(file)))]:
            raise DataError(f"{path}: {item.repository}: {problems[0]}. Correct the split manifest.")
    return wanted
