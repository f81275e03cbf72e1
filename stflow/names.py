"""Names from outside that become paths, words of a shell line and cells of a table: checked once, where they come in.

A slide is a file name and a wildcard, so ``../../x``, ``-rf`` and ``$(touch x)`` are no slides. Letters, digits and
``_ . + -`` are enough for every published data set.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_NAME = re.compile(r"\w[\w.+-]*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST = 150
#: What a patient may not begin with: a spreadsheet would take the cell for a formula.
_FORMULA = ("=", "+", "-", "@")


def name_problem(text: str) -> str:
    """Why a dataset, slide or benchmark cannot have this name, in words; empty if it can."""
    if not _NAME.fullmatch(text):
        return f"{text!r} is not a name: use letters, digits and _ . + -, and begin with a letter, a digit or _"
    return f"{text[:20]!r}... has more than {_LONGEST} characters" if len(text) > _LONGEST else ""


def text_problem(text: str) -> str:
    """Why a text cannot be a barcode or a gene, in words; empty if it can. NUL would end it, a line break its line."""
    return f"{text[:40]!r} holds a control character" if _CONTROL.search(text) else ""


def label_problem(text: str) -> str:
    """Why a text that is shown and compared, but never a path, cannot be used (a patient); empty if it can."""
    if not text.isprintable() or text.startswith(_FORMULA):
        return f"{text!r} holds a control character or begins with = + - @: give it another name"
    return ""


def file_problem(text: str) -> str:
    """Why a path in a repository cannot be a path below a folder, in words; empty if it can.

    Absolute paths, ``..``, control characters and backslashes would lead out of the folder, or into another file.
    """
    path = PurePosixPath(text)
    inside = not path.is_absolute() and str(path) == text and text != "." and ".." not in path.parts
    # Git would run what stands in .git; .hub-lock.json and its like are this project's own.
    ours = any(part.lower() == ".git" or part.startswith(".hub-") for part in path.parts)
    if not inside or ours or "\\" in text or not text.isprintable() or text.startswith("-"):
        return f"{text!r} is not a path below its repository"
    return ""
