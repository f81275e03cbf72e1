"""Reading ``refinement/<run>/<slide>.h5``, which `stflow.training.refine` writes, checked for wholeness."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stflow.errors import IntegrityError
from stflow.io import numbers, open_h5, reading
from stflow.layout import Run


@dataclass(frozen=True, eq=False)
class Refinement:
    """What a network guessed at every sampling step.

    Attributes
    ----------
    run, slide, genes
        Whose guesses they are, on which slide, of which n_genes.
    times
        (S,) the flow's time at which each was asked.
    guesses
        (S, N, n_genes) log1p counts; (0, N, n_genes) where the run failed.
    measured
        (N, n_genes) log1p counts.
    centres_px
        (N, 2) spot centres, level-0 px.
    status, reason
        ``ok``, or ``failed`` and why.
    """

    run: Run
    slide: str
    genes: tuple[str, ...]
    times: np.ndarray
    guesses: np.ndarray
    measured: np.ndarray
    centres_px: np.ndarray
    status: str
    reason: str


def read_refinement(path: Path) -> Refinement:
    """Read a refinement file.

    Raises
    ------
    IntegrityError
        Missing, cut short, or with another number of spots than was written.
    """
    again = "Delete it and run `refine` again."
    with open_h5(path) as handle, reading(path, again):
        names = ("guesses", "times", "measured", "centres", "genes")
        if missing := [name for name in names if name not in handle]:
            raise IntegrityError(f"{path} lacks {', '.join(missing)}: it is not a refinement file. {again}")
        facts = handle.attrs
        found = Refinement(
            run=Run.parse(str(facts["run"])),
            slide=str(facts["slide"]),
            genes=tuple(handle["genes"].asstr()[:]),
            times=numbers(handle["times"], (None,)),
            guesses=numbers(handle["guesses"], (None, None, None)),
            measured=numbers(handle["measured"], (None, None)),
            centres_px=numbers(handle["centres"], (None, 2)),
            status=str(facts["status"]),
            reason=str(facts["reason"]),
        )
        expected = (int(facts["n_spots"]), len(found.genes))
    steps = len(found.times) if found.status == "ok" else 0
    if found.measured.shape != expected or found.guesses.shape != (steps, *expected):
        raise IntegrityError(
            f"{path} holds guesses {found.guesses.shape}, measured {found.measured.shape}; {steps} steps of {expected} "
            f"were promised. {again}"
        )
    return found
