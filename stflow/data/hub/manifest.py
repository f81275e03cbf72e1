"""Where the paper's data and weights are published: ``resources/hub.json``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from stflow.errors import DataError
from stflow.io import read_json

PATH = Path(__file__).resolve().parents[3] / "resources" / "hub.json"


class Known(BaseModel):
    """What is known of a file's content without asking."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int | None = Field(None, ge=0)
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")


class Repository(BaseModel):
    """One place where files are published.

    Attributes
    ----------
    kind
        ``dataset`` or ``model`` of the hub, or ``release``: an asset of a GitHub release.
    revision
        A commit; or the name of a branch or tag, which is turned into a commit at the first download and kept.
    folder
        Name of its local mirror below ``data_root``.
    page
        Page to visit for the terms.
    licence
        As published; None where the source does not say.
    gated
        ``auto``: access is granted at once; ``manual``: a person grants it; True: gated, how is not known; None: not
        known. The hub is asked in any case.
    access
        How to get through the gate, in words.
    files
        Purpose -> path in the repository, with ``{dataset}``, ``{slide}``, ``{technology}`` in place of names.
    known
        Path -> bytes and SHA-256, where they are known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["dataset", "model", "release"]
    revision: str
    folder: str
    page: str
    licence: str | None
    gated: Literal["auto", "manual"] | bool | None
    access: str
    files: Mapping[str, str]
    known: Mapping[str, Known] = {}


@cache
def repositories() -> Mapping[str, Repository]:
    """Name -> repository, for every one that the project uses."""
    return {name: Repository.model_validate(entry) for name, entry in read_json(PATH)["repositories"].items()}


def repository(name: str) -> Repository:
    """A repository by name.

    Raises
    ------
    DataError
        There is none of that name in ``resources/hub.json``.
    """
    known = repositories()
    if name not in known:
        raise DataError(f"resources/hub.json has no repository {name!r}. Known: {', '.join(known)}.")
    return known[name]
