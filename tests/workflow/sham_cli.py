"""A stand-in for stflow/cli.py: every command writes its output files at once, with something in them.

GPUs are leased as by the real one, for as long as ``SHAM_SECONDS`` says.
"""

import os
import sys
import time
from itertools import pairwise
from pathlib import Path

from stflow.lease import lease

RUN_FILES = {
    "train": ("model.safetensors", "history.csv", "run.json"),
    "predict": ("predictions.h5ad",),
}


def main() -> None:
    """Write the files that the arguments name, and those of the run that they name."""
    words = sys.argv[1:]
    n_gpus = 0
    while words[0] in ("--gpus", "--timing"):
        option, value, *words = words
        n_gpus = int(value) if option == "--gpus" else n_gpus
    with lease(n_gpus) as gpus:
        time.sleep(float(os.environ.get("SHAM_SECONDS", "0")) * len(gpus))
        write(*words)


def write(command: str, *arguments: str) -> None:
    """Write the files of one command."""
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
