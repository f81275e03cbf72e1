"""What encoding costs: tiles times the arithmetic of the encoder's network, on a CPU core and on a GPU.

All CPU times are core-seconds, the processor time of one core; a job of several threads takes as many and ends sooner.
A core's speed is measured (docs/encoders.md, Speed); a GPU's is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping

from stflow.encoders.around import N_CELLS
from stflow.encoders.names import EncoderName

#: Billions of multiplications with addition that a tile costs, counted on the networks (tests/test_encoder_cost.py).
#: Here and not with the encoders: features are of their code, which this number does not change.
GMACS: Mapping[str, float] = {
    "ciga": 1.81,
    "conch_v1_5": 269.20,
    "ctranspath": 4.49,
    "densenet121": 2.83,
    "efficientnet_lite0": 0.38,
    "gigapath": 228.10,
    "h0_mini": 23.54,
    "h_optimus_0": 304.17,
    "h_optimus_1": 304.17,
    "hibou_l": 82.42,
    "midnight": 299.39,
    "phikon_v2": 61.55,
    "resnet50": 4.09,
    "uni": 61.55,
    "uni2_h": 185.47,
    "virchow2": 170.07,
}
#: Of a network that is not named, a plug-in's: each of so many tokens uses every parameter, as in a ViT of 224 px.
TOKENS = 200
#: Billions of operations (two a multiplication with addition) a second of one core, fp32: UNI 0.7 tiles/s, Ciga 27.
CORE_GFLOPS = 90.0
#: Of a GPU, fp32 without TF32: assumed, half of what an A100 could do at most. None was measured.
GPU_GFLOPS = 10_000.0
#: Core-seconds of a tile beside its network: read, scaled, written. An encoder without a network takes this alone.
TILE_S = 2.5e-3
#: Core-seconds of a tile in GigaPath's slide encoder, which reads features: 358 to 197 tiles/s, slower on large slides.
SLIDE_ENCODER_TILE_S = 5e-3
#: The eight symmetries of a tile, which ``+dihedral`` averages over and ``+views`` keeps.
N_SYMMETRIES = 8


def core_s(name: EncoderName, tiles: float) -> float:
    """Core-seconds that so many tiles of slides take on a CPU."""
    if name.kind.tile_encoder:
        return tiles * SLIDE_ENCODER_TILE_S
    return tiles * (TILE_S * times(name) + _gflop(name) / CORE_GFLOPS)


def gpu_s(name: EncoderName, tiles: float) -> float:
    """Seconds that they take on a GPU, whose tiles are read ahead on cores beside it."""
    if name.kind.tile_encoder:
        return tiles * SLIDE_ENCODER_TILE_S * CORE_GFLOPS / GPU_GFLOPS
    return tiles * _gflop(name) / GPU_GFLOPS


def times(name: EncoderName) -> int:
    """How often the network runs for one tile: its symmetries, the patches around it."""
    return (N_SYMMETRIES if name.symmetries else 1) * (N_CELLS if name.around else 1)


def dim(name: EncoderName) -> int:
    """Numbers that an encoder gives of a tile."""
    kept = (N_SYMMETRIES if name.symmetries == "views" else 1) * (N_CELLS if name.around else 1)
    return int(name.kind.dim) * kept


def _gflop(name: EncoderName) -> float:
    """Billions of operations of a tile, with all its views."""
    gmacs = GMACS.get(name.encoder, (name.kind.n_params or 0) * TOKENS / 1e9)
    return 2 * gmacs * times(name)
