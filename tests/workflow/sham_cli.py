"""A stand-in for stflow/cli.py: every command writes its output files at once, with something in them."""

import sys
from itertools import pairwise
from pathlib import Path

RUN_FILES = {
    "train": ("model.safetensors", "history.csv", "run.json"),
    "predict": ("predictions.h5ad",),
}


def main() -> None:
    """Write the files that the arguments name, and those of the run that they name."""
    command, *arguments = sys.argv[1:]
    given = dict(pairwise(arguments))
    flags = (
        ("--html", "--tex") if "--html" in given else ("--out", "--csv", "--md", "--rst", "--pdf", "--png", "--facts")
    )
    outputs = [Path(given[flag]) for flag in flags if flag in given]
    if command in RUN_FILES:
        outputs += [Path(given["--results"], "runs", given["--run"], name) for name in RUN_FILES[command]]
    if command == "embed":
        outputs.append(
            Path(given["--results"], "features", given["--encoder"], given["--benchmark"], given["--slide"] + ".h5")
        )
    for path in outputs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("method,IDC\nmean,0.0\n")
