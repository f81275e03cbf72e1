"""The H&E image: concentrations of stains, Beer-Lambert's law, and what the patient's scanner makes of it."""

from __future__ import annotations

import numpy as np

from stflow.data.demo.nuclei import clear_of, scatter_nuclei
from stflow.data.demo.recipe import Patient
from stflow.data.demo.senders import fill_slots
from stflow.data.demo.stamp import stamp
from stflow.data.demo.structures import WALL_UM, Layers, draw_senders, draw_vessels, scatter_vessels
from stflow.data.demo.texture import background, resize
from stflow.data.demo.tissue import Tissue
from stflow.seeds import numpy_generator

#: Optical density of R, G, B a unit of stain: haematoxylin and DAB of Ruifrok & Johnston (2001), DAB's brown standing
#: for haemosiderin; eosin between theirs and that of Macenko et al. (2009).
_STAINS = np.array([[0.65, 0.70, 0.29], [0.12, 0.90, 0.40], [0.27, 0.57, 0.78]])
_NUCLEAR = 1.30  # haematoxylin of a nucleus of value 1
_BAND = 128  # rows coloured at a time


def render(
    seed: int,
    benchmark: str,
    slide: str,
    patient: Patient,
    tissue: Tissue,
    centres_um: np.ndarray,
    strengths: np.ndarray,
) -> np.ndarray:
    """(H, W, 3) uint8 image of a slide at the patient's um/px; spots at (N, 2) um hold senders of strengths (N, 3)."""

    def rng(purpose: str) -> np.random.Generator:
        return numpy_generator(seed, benchmark, slide, "image", purpose)

    side = round(tissue.size_um / patient.mpp)
    soft_um = 0.3 + 2 * patient.blur_um
    haematoxylin, eosin = (resize(layer, side, side).copy() for layer in background(rng("background"), tissue))
    layers = Layers(
        haematoxylin=haematoxylin,
        eosin=eosin,
        pigment=np.zeros((side, side), dtype=np.float32),
        chromatin=np.zeros((side, side), dtype=np.float32),
        mpp=patient.mpp,
        soft_um=soft_um,
    )
    owners = centres_um[strengths.any(axis=1)]
    nuclei = scatter_nuclei(rng("nuclei"), tissue)
    stamp(layers.chromatin, nuclei.subset(clear_of(nuclei, owners)), patient.mpp, rim=0.4, soft_um=soft_um)
    vessels = scatter_vessels(rng("vessels"), tissue)
    draw_vessels(vessels.subset(clear_of(vessels, owners, WALL_UM / 2)), layers)
    draw_senders(fill_slots(rng("senders"), centres_um, strengths), layers)

    stains = _patient_stains(patient)
    scanner = rng("scanner")
    image = np.empty((side, side, 3), dtype=np.uint8)
    for top in range(0, side, _BAND):
        rows = slice(top, min(top + _BAND, side))
        _colour(scanner, layers, rows, stains, patient, image[rows])
    return image


def _colour(
    rng: np.random.Generator,
    layers: Layers,
    rows: slice,
    stains: np.ndarray,
    patient: Patient,
    out: np.ndarray,
) -> None:
    """Nuclei laid over the rest, light through stain, the sensor's noise: into ``out`` (rows, W, 3) uint8."""
    chromatin = layers.chromatin[rows]
    height, width = chromatin.shape
    clumps = resize(rng.standard_normal((height // 2 + 1, width // 2 + 1), dtype=np.float32), height, width)
    haematoxylin = np.maximum(layers.haematoxylin[rows], _NUCLEAR * chromatin * (1 + 0.20 * clumps))
    eosin = layers.eosin[rows] * (1 - 0.55 * np.minimum(chromatin, 1)) * (1 + 0.06 * clumps)
    noise = rng.standard_normal((height, width), dtype=np.float32) * np.float32(patient.noise)
    for channel in range(3):
        h, e, p = stains[:, channel]
        light = np.exp(-(h * haematoxylin + e * eosin + p * layers.pigment[rows]))
        light *= np.float32(patient.light[channel])
        light += noise
        out[..., channel] = np.clip(light, 0, 255)


def _patient_stains(patient: Patient) -> np.ndarray:
    """(3, 3) float32 stain vectors: of unit length, turned about the grey axis, scaled by the patient's strengths."""
    unit = _STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)
    axis = np.ones(3) / np.sqrt(3)
    cos, sin = np.cos(patient.hue), np.sin(patient.hue)
    turned = unit * cos + np.cross(axis, unit) * sin + np.outer(unit @ axis, axis) * (1 - cos)
    strength = np.array([patient.haematoxylin, patient.eosin, 1.0])
    return (turned * strength[:, None]).astype(np.float32)
