"""Whether our number is the paper's: a stated rule.

Ours *agrees* with a printed one if they differ by at most the sum of the two spreads (±, each over seeds) and one unit
of the last printed digit; else it is *higher* or *lower*. A spread that is not there (one seed; a printed average)
counts as 0. They are *not comparable* where the printed number is not of the same thing, or there is no number on one
side; the reason is told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from stflow.report.paper.printed import Printed
from stflow.report.paper.scores import Score

Kind = Literal["agrees", "higher", "lower", "not comparable"]

#: One unit of the last printed digit.
LAST_DIGIT = 0.001

RULE = (
    "**Verdict.** = agrees: the difference is at most the sum of the two spreads and 0.001, one unit of the last "
    "printed digit; ↑ higher, ↓ lower. A letter: not comparable, for the reason told below. A spread that is not there "
    "(one seed, a printed average) counts as 0."
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict, the difference (ours minus printed; None without both), and why it is not comparable."""

    kind: Kind
    difference: float | None = None
    reason: str = ""


def judge(ours: Score | None, printed: Printed, *, not_run: str, not_same: str = "") -> Verdict:
    """The verdict on one cell.

    Parameters
    ----------
    ours
        Our number; None if nothing was run.
    printed
        The printed cell.
    not_run
        Why nothing was run, where ``ours`` is None.
    not_same
        Why the printed number is not of the same thing; empty if it is.
    """
    if ours is None:
        return Verdict("not comparable", None, not_run)
    if math.isnan(ours.mean):
        return Verdict("not comparable", None, ours.reason or "undefined")
    if printed.mean is None:
        return Verdict("not comparable", None, f"the paper prints {printed.text or 'no number'}")
    difference = ours.mean - printed.mean
    if reason := printed.doubt or not_same:
        return Verdict("not comparable", difference, reason)
    spreads = [spread for spread in (ours.std, printed.std) if spread is not None and not math.isnan(spread)]
    # A hair more than the sum, so that numbers which differ by just that agree whatever their binary digits are.
    if abs(difference) <= sum(spreads) + LAST_DIGIT + 1e-9:
        return Verdict("agrees", difference)
    return Verdict("higher" if difference > 0 else "lower", difference)
