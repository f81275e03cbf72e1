"""Senders: clusters of cells inside a spot that its neighbours answer to. Which spot holds which is pure chance.

Chance is the point. Senders are drawn independently for every spot, so a spot's own tile says nothing about its
neighbours' senders; and all that a sender changes in the image lies within ``REACH_UM`` of its spot's centre, where no
other spot's tile reaches: the nearest one, of a diagonal neighbour at (50, 86.6) um, begins 30.6 um away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stflow.data.demo.recipe import SENDER_RADIUS_UM, SENDER_RATE, SENDER_STRENGTH, SENDERS, SLOT_UM
from stflow.seeds import numpy_generator

_JITTER_UM = 1.0
_LARGEST_UM = 8.8  # diameter of the largest thing that a slot holds
#: Uniform numbers drawn for every slot, for what fills it.
CHANCES = 20


@dataclass(frozen=True, eq=False)
class Slots:
    """M filled places: centres_um (M, 2), kind (M,) index into SENDERS, chance (M, CHANCES) uniform in 0..1."""

    centres_um: np.ndarray
    kind: np.ndarray
    chance: np.ndarray


def draw_strengths(seed: int, benchmark: str, slide: str, on_tissue: np.ndarray) -> np.ndarray:
    """(N, 3) strengths of the senders of N spots: at most one kind a spot, none off the tissue."""
    rng = numpy_generator(seed, benchmark, slide, "senders")
    n, kinds = len(on_tissue), len(SENDERS)
    # The last choice is none.
    choice = rng.choice(kinds + 1, size=n, p=[SENDER_RATE] * kinds + [1 - kinds * SENDER_RATE])
    strength = rng.uniform(*SENDER_STRENGTH, n)
    return np.where((choice[:, None] == np.arange(kinds)) & on_tissue[:, None], strength[:, None], 0.0)


def fill_slots(rng: np.random.Generator, centres_um: np.ndarray, strengths: np.ndarray) -> Slots:
    """Spread every sender over its spot's disc: the share of the disc's slots that it fills is its strength.

    Numbers are drawn for all spots (N, 2), senders or not, so that one spot's sender never moves another's.
    """
    lattice = _disc_slots()
    n, m = len(centres_um), len(lattice)
    turn = rng.uniform(0, 2 * np.pi, (n, 1))
    # Slots fill from the inside out, with some disorder, as clusters do.
    reach = np.hypot(*lattice.T) + rng.uniform(0, 0.6 * SENDER_RADIUS_UM, (n, m))
    jitter = rng.uniform(-_JITTER_UM, _JITTER_UM, (n, m, 2))
    chance = rng.random((n, m, CHANCES))

    x, y = lattice.T
    turned = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=-1)
    rank = np.argsort(np.argsort(reach, axis=1), axis=1)
    spot, slot = np.nonzero(rank < np.round(strengths.max(axis=1) * m)[:, None])
    return Slots(
        centres_um=centres_um[spot] + (turned + jitter)[spot, slot],
        kind=strengths.argmax(axis=1)[spot],
        chance=chance[spot, slot],
    )


def _disc_slots() -> np.ndarray:
    """(S, 2) um: the hexagonal lattice points whose largest content stays inside the disc."""
    reach = SENDER_RADIUS_UM - _LARGEST_UM / 2 - _JITTER_UM * np.sqrt(2)
    n = int(reach / SLOT_UM) + 2
    row, column = np.meshgrid(np.arange(-n, n + 1), np.arange(-2 * n, 2 * n + 1), indexing="ij")
    keep = (row + column) % 2 == 0
    points = np.column_stack([column[keep] * SLOT_UM / 2, row[keep] * SLOT_UM * np.sqrt(3) / 2])
    return points[np.hypot(*points.T) <= reach]
