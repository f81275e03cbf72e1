"""What is drawn beside tissue and its nuclei: capillaries, and what fills the slots of each kind of sender."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stflow.data.demo.recipe import COMPARTMENTS, MODIFIERS, SENDERS
from stflow.data.demo.senders import Slots
from stflow.data.demo.stamp import Ellipses, clear, discs, stamp
from stflow.data.demo.tissue import Tissue

_VESSEL_PITCH_UM = 42.0
WALL_UM = 5.0  # both walls of a vessel together
_NUCLEUS_SHARE = 0.15  # of a macrophage's slots
_GRANULES = 4  # in a clump of pigment
_LYMPHOID, _SIDEROPHAGE, _FOAM = (
    [sender.name for sender in SENDERS].index(name) for name in ("lymphoid", "siderophage", "foam")
)


@dataclass(frozen=True, eq=False)
class Layers:
    """(H, W) float32 each: concentrations of haematoxylin, eosin and pigment; nuclear chromatin, drawn last.

    mpp is um per pixel; soft_um the width of borders, which grows with the scanner's blur.
    """

    haematoxylin: np.ndarray
    eosin: np.ndarray
    pigment: np.ndarray
    chromatin: np.ndarray
    mpp: float
    soft_um: float


def scatter_vessels(rng: np.random.Generator, tissue: Tissue) -> Ellipses:
    """Capillary lumens in the stroma, more where the vessel field is high; value in 0..1 is chance for their cells."""
    n = int(tissue.size_um / _VESSEL_PITCH_UM)
    centres = (np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=-1).reshape(-1, 2) + 0.5) * _VESSEL_PITCH_UM
    centres = centres + rng.uniform(-0.4, 0.4, centres.shape) * _VESSEL_PITCH_UM
    stroma = tissue.at(tissue.compartments[COMPARTMENTS.index("stroma")], centres)
    field = tissue.at(tissue.modifiers[MODIFIERS.index("vessels")], centres)
    keep = rng.random(len(centres)) < stroma * np.clip(0.28 + 0.30 * field, 0.01, 0.9)
    centres = centres[keep]
    m = len(centres)
    return Ellipses(centres, rng.uniform(10, 20, m), rng.uniform(5.5, 8, m), tissue.fibre_angle(centres), rng.random(m))


def draw_vessels(vessels: Ellipses, layers: Layers) -> None:
    """Walls, flat endothelial nuclei on them, empty lumens, red cells inside."""
    m = len(vessels.centres_um)
    axis = np.column_stack([np.cos(vessels.angle), np.sin(vessels.angle)])
    normal = axis[:, ::-1] * [-1, 1]
    wall = Ellipses(
        vessels.centres_um,
        vessels.long_um + WALL_UM,
        vessels.short_um + WALL_UM,
        vessels.angle,
        np.full(m, 0.85),
    )
    stamp(layers.eosin, wall, layers.mpp, soft_um=1.0)
    lumen = replace(vessels, value=np.ones(m))
    clear((layers.haematoxylin, layers.eosin), lumen, layers.mpp, soft_um=layers.soft_um)
    for side in (-1, 1):
        shift = normal * (side * (vessels.short_um / 2 + 1.2))[:, None]
        shift += axis * (side * 6 * (vessels.value - 0.5))[:, None]
        flat = Ellipses(
            vessels.centres_um + shift, 8 + 3 * vessels.value, np.full(m, 2.6), vessels.angle, np.full(m, 1.25)
        )
        stamp(layers.chromatin, flat, layers.mpp, soft_um=layers.soft_um)
    for step, present in ((-0.25, vessels.value < 0.7), (0.2, vessels.value > 0.3)):
        along = axis * (vessels.long_um * step)[:, None]
        red = discs((vessels.centres_um + along)[present], 5.2 + 1.2 * vessels.value[present], 1.25)
        stamp(layers.eosin, red, layers.mpp, soft_um=layers.soft_um)


def draw_senders(slots: Slots, layers: Layers) -> None:
    """Fill the slots: a small dark nucleus, a clump of brown granules, or a clear vacuole."""
    mpp, soft_um = layers.mpp, layers.soft_um
    macrophage_nucleus = (slots.kind != _LYMPHOID) & (slots.chance[:, 0] < _NUCLEUS_SHARE)

    of_kind = slots.kind == _LYMPHOID
    chance = slots.chance[of_kind]
    lymphocytes = discs(slots.centres_um[of_kind], 6.0 + 1.4 * chance[:, 1], 1.45 + 0.30 * chance[:, 2])
    stamp(layers.chromatin, lymphocytes, mpp, rim=0.1, soft_um=soft_um)

    of_kind = (slots.kind == _FOAM) & ~macrophage_nucleus
    centres, chance = slots.centres_um[of_kind], slots.chance[of_kind]
    stamp(layers.eosin, discs(centres, np.full(len(centres), 8.8), 0.34), mpp, soft_um=1.5)
    vacuoles = discs(centres, 6.4 + 1.8 * chance[:, 1], 0.97)
    clear((layers.haematoxylin, layers.eosin), vacuoles, mpp, soft_um=soft_um)

    of_kind = (slots.kind == _SIDEROPHAGE) & ~macrophage_nucleus
    centres, chance = slots.centres_um[of_kind], slots.chance[of_kind]
    stamp(layers.eosin, discs(centres, np.full(len(centres), 8.5), 0.40), mpp, soft_um=1.5)
    for dx, dy, size, dark in chance[:, 1 : 1 + 4 * _GRANULES].reshape(-1, _GRANULES, 4).transpose(1, 2, 0):
        shift = 4.8 * (np.column_stack([dx, dy]) - 0.5)
        stamp(layers.pigment, discs(centres + shift, 2.0 + 1.6 * size, 0.8 + 0.6 * dark), mpp, soft_um=soft_um)

    chance = slots.chance[macrophage_nucleus]
    nuclei = discs(slots.centres_um[macrophage_nucleus], 4.8 + 1.2 * chance[:, 1], 0.9 + 0.2 * chance[:, 2])
    stamp(layers.chromatin, nuclei, mpp, rim=0.3, soft_um=soft_um)
