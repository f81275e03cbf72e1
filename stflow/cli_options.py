"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[Path, typer.Option("--results", help="Folder of everything that is made.")]
Out = Annotated[Path, typer.Option("--out", help="File to write.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Root = Annotated[Path, typer.Option("--root", help="Folder with the benchmark's files.")]
Format = Annotated[str, typer.Option("--format", help="Layout of those files (stflow list formats).")]
RunName = Annotated[str, typer.Option("--run", help="benchmark/dataset/encoder/method/variant/protocol/foldN/seedN.")]
ManifestPath = Annotated[Path, typer.Option("--manifest", help="Split manifest of the benchmark.")]
BySlide = Annotated[bool, typer.Option("--by-slide", help="The paper protocol's folds may share patients.")]
NotRun = Annotated[list[str] | None, typer.Option("--not-run", help="encoder=why nothing was run with it.")]
NotSame = Annotated[
    list[str] | None,
    typer.Option("--not-same", help="benchmark or method=why its numbers are not comparable with the printed ones."),
]


def pairs(texts: list[str] | None) -> dict[str, str]:
    """``name=text`` of each."""
    return dict(text.split("=", 1) for text in texts or [])


def words(text: str) -> list[str]:
    """What stands between commas."""
    return [part for part in text.split(",") if part]
