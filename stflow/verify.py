"""`stflow verify`: hash everything that was downloaded or made, and name what is not what it was.

- A download is compared with the lock beside it (`stflow.data.hub.lock`).
- Everything else is compared with the ledger ``<results>/hashes.json``, which the first call writes. A file that the
  ledger does not know yet, or knows otherwise, is also compared with the hash that it carries itself, as tiles and
  features do, or read in whole, as predictions are.

Left out is what is different each time or says nothing of a result: logs, timings, stamps, records of the
configuration, hidden files.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from stflow.data.hub.lock import Entry, read_lock
from stflow.data.hub.request import read_request
from stflow.errors import DataError, IntegrityError
from stflow.io import SCHEMA_VERSION, open_h5, read_json, reading, sha256_file, write_json
from stflow.layout import Layout

LEDGER = "hashes.json"
#: First part of a path below the results, or its whole, that is not looked at.
SKIPPED = frozenset({LEDGER, "logs", "timings", "code", "config.yaml", "hub.json"})
_BLOCK = 256

Verdict = Literal["new", "changed", "changed silently", "vanished", "broken"]
#: `new` is no fault: it is recorded, and checked from then on.
WRONG: frozenset[Verdict] = frozenset({"changed", "changed silently", "vanished", "broken"})


@dataclass(frozen=True, slots=True)
class Record:
    """What the ledger holds of a file."""

    bytes: int
    sha256: str
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that is not as recorded."""

    verdict: Verdict
    path: str
    detail: str = ""


def verify(results: Path, *, update: bool = False) -> int:
    """Print what is not as recorded; returns the exit status: 1 if anything is wrong, else 0.

    Parameters
    ----------
    results
        Results folder.
    update
        Take the present state as right, apart from broken files.

    Raises
    ------
    DataError
        No such folder.
    IntegrityError
        The ledger or a lock cannot be read.
    """
    if not results.is_dir():
        raise DataError(f"no results folder at {results}. Name the one to verify: stflow verify results/demo")
    before = read_ledger(results)
    downloads = list(_downloads(results))
    locked = {path.resolve() for path, _ in downloads}
    made = [path for path in made_files(results) if path.resolve() not in locked or path.is_symlink()]
    findings, now = check_made(results, _told(made, "made"), before)
    for path, entry in _told(downloads, "downloaded"):
        if fault := entry.fault(path):
            findings.append(Finding("broken", str(path), f"{fault}; delete it and run again to fetch it"))
    for finding in findings:
        if finding.verdict == "new" and not before:
            continue  # the first call: everything is
        print(f"{finding.verdict:<17} {finding.path}" + (f"  ({finding.detail})" if finding.detail else ""))
    count = Counter(finding.verdict for finding in findings)
    words = ", ".join(f"{n:,} {verdict}" for verdict, n in count.items()) or "all as recorded"
    print(f"{len(made):,} files made and {len(downloads):,} downloaded: {words}.")
    broken = {finding.path for finding in findings if finding.verdict == "broken"}
    kept = {name: record for name, record in now.items() if (update or name not in before) and name not in broken}
    write_ledger(results, kept if update else {**before, **kept})
    wrong = {finding.verdict for finding in findings} & WRONG
    if wrong - {"broken"} and not update:
        print("To take the present state as right: stflow verify --update", file=sys.stderr)
    return int(bool(broken) if update else bool(wrong))


def check_made(
    results: Path, paths: Iterable[Path], before: Mapping[str, Record]
) -> tuple[list[Finding], dict[str, Record]]:
    """Compare files below a results folder with the ledger.

    Returns
    -------
    findings
        What is not as recorded, vanished files last.
    now
        Name below ``results`` -> what the ledger would say now.
    """
    findings, now = [], {}
    seen = set()
    for path in paths:
        name = path.relative_to(results).as_posix()
        seen.add(name)
        if path.is_symlink():  # ready tiles: what it leads to is checked where it lies
            if not path.exists():
                findings.append(Finding("broken", name, f"leads to {path.readlink()}, which is not there"))
            continue
        stat = path.stat()
        record = now[name] = Record(stat.st_size, sha256_file(path), stat.st_mtime_ns)
        earlier = before.get(name)
        if earlier and earlier.sha256 == record.sha256:
            continue
        if fault := own_fault(results, path):
            findings.append(Finding("broken", name, fault))
        elif earlier is None:
            findings.append(Finding("new", name))
        else:
            silent = record.mtime_ns <= earlier.mtime_ns
            findings.append(Finding("changed silently" if silent else "changed", name, _difference(earlier, record)))
    findings += [Finding("vanished", name) for name in before if name not in seen]
    return findings, now


def made_files(results: Path) -> list[Path]:
    """Files and links below a results folder that are looked at, in order."""
    every = (path for path in results.rglob("*") if path.is_file() or path.is_symlink())
    return sorted(path for path in every if _counts(path, results))


def _counts(path: Path, results: Path) -> bool:
    parts = path.relative_to(results).parts
    return parts[0] not in SKIPPED and not any(part.startswith(".") for part in parts)


def own_fault(results: Path, path: Path) -> str:
    """Why a file does not agree with itself, in words; empty if it does, or carries nothing to compare with."""
    kind = path.relative_to(results).parts[0]
    try:
        if kind == "tiles" and path.suffix == ".h5":
            return _tiles_fault(path)
        if kind == "features" and path.suffix == ".h5":
            from stflow.embedding.features import read_features

            read_features(path)
        if path.name == "predictions.h5ad":
            from stflow.evaluation.predictions import read_predictions

            read_predictions(path)
    except IntegrityError as error:
        return str(error)
    return ""


def _tiles_fault(path: Path) -> str:
    from stflow.wsi.tile_store import tiles_digest

    with open_h5(path) as handle, reading(path):
        recorded = handle.attrs.get("img_sha256")
        if recorded is None:
            return ""
        digest = hashlib.sha256()
        try:
            for start in range(0, len(handle["img"]), _BLOCK):
                tiles_digest(digest, handle["img"][start : start + _BLOCK])
        except OSError as error:
            return f"cut short ({error}): delete it and run `tile` again"
    return "" if digest.hexdigest() == recorded else "its tiles' hash is not the recorded one: delete it and run again"


def _downloads(results: Path) -> Iterator[tuple[Path, Entry]]:
    """Every locked file that is there, with what the lock says of it."""
    request = Layout(results).hub_request
    for item in read_request(request) if request.is_file() else ():
        if lock := read_lock(item.root):
            yield from ((path, entry) for name, entry in lock.files.items() if (path := item.root / name).is_file())


def _told(items: list, what: str) -> Iterable:
    """The items, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, f"Hash what was {what}", console=console, transient=True, disable=not console.is_terminal)


def _difference(earlier: Record, now: Record) -> str:
    sizes = f"{earlier.bytes:,} to {now.bytes:,} bytes, " if earlier.bytes != now.bytes else ""
    return f"{sizes}SHA-256 {earlier.sha256[:12]}... to {now.sha256[:12]}..."


def read_ledger(results: Path) -> dict[str, Record]:
    """The ledger of a results folder; empty before the first call.

    Raises
    ------
    IntegrityError
        The file is not a ledger.
    """
    path = results / LEDGER
    if not path.is_file():
        return {}
    try:
        return {name: Record(**values) for name, values in read_json(path)["files"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path} is not a ledger of hashes ({error!r}). Restore it, or delete it.") from error


def write_ledger(results: Path, files: Mapping[str, Record]) -> None:
    """Write the ledger of a results folder."""
    values = {name: asdict(record) for name, record in sorted(files.items())}
    write_json(results / LEDGER, {"schema": SCHEMA_VERSION, "files": values})
