"""Finished slides of a job that are not lost with it: ``features/<encoder>/<benchmark>/.kept/``.

The workflow deletes the outputs of a job that fails, those of its finished slides too. So a features file is written
here first and then linked to its place: a second name of one file, which takes no room. The next run looks here before
it encodes anything. The working file of a slide that is under way lies here as well (`stflow.embedding.blocks`).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stflow.embedding.features import Features, read_features, write_features
from stflow.errors import IntegrityError
from stflow.io import partial_of


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one slide.

    Attributes
    ----------
    out
        Where its features file is looked for.
    only
        Keep it, and leave it to a later job to put it in its place.
    """

    out: Path
    only: bool = False

    @property
    def file(self) -> Path:
        """The features file's other name."""
        return self.out.parent / ".kept" / self.out.name

    @property
    def blocks(self) -> Path:
        """The working file."""
        return self.file.with_suffix(".blocks")

    def find(self, identity: Mapping[str, Any]) -> Features | None:
        """The kept features if they are whole and agree with ``identity`` (attribute -> value); else they are dropped.

        Why they are dropped is told on stderr.
        """
        if not self.file.is_file():
            return None
        try:
            table = read_features(self.file)
        except IntegrityError as error:
            self.drop(f"it is broken ({error})")
            return None
        other = [name for name, value in identity.items() if getattr(table, name) != value]
        if other:
            self.drop(f"it is of another {', '.join(other)}")
            return None
        return table

    def drop(self, why: str) -> None:
        """Delete the kept features file, and say why; the name in its place stays."""
        print(f"stflow: kept features {self.file} are not used: {why}. The slide is encoded anew.", file=sys.stderr)
        self.file.unlink(missing_ok=True)

    def write(self, table: Features) -> None:
        """Write the features file here and put it in its place; a kill in between costs nothing."""
        write_features(self.file, table)
        self.place()

    def place(self) -> None:
        """Link the kept file to its place (copy it where the disk has no links), with the time of now.

        The workflow takes an output that is older than its inputs for stale. The working file is not needed any more.
        """
        if self.only:
            self.blocks.unlink(missing_ok=True)
            return
        os.utime(self.file)
        partial = partial_of(self.out)
        partial.unlink(missing_ok=True)
        try:
            try:
                os.link(self.file, partial)
            except OSError:  # a file system without hard links; if the disk is full, the copy says so
                shutil.copyfile(self.file, partial)
            partial.replace(self.out)
        finally:
            partial.unlink(missing_ok=True)  # a link over a link of the same file is left standing by the system
        self.blocks.unlink(missing_ok=True)
