"""From an encoder's name in a configuration, with its variants, to the encoder."""

from __future__ import annotations

from pathlib import Path

from stflow.encoders.around import Around
from stflow.encoders.base import Encoder
from stflow.encoders.dihedral import Dihedral
from stflow.encoders.names import DIHEDRAL, EncoderName
from stflow.encoders.stain import STAIN_VARIANTS
from stflow.encoders.views import VIEWS, Views
from stflow.errors import ResourceError

PRECISIONS = ("fp32", "bf16", "fp16")
_SYMMETRIES = {DIHEDRAL: Dihedral, VIEWS: Views}


def create(name: str, device: str = "cpu", precision: str = "fp32", weights: Path | None = None) -> Encoder:
    """The encoder of a name such as ``uni+macenko+dihedral``.

    Parameters
    ----------
    name
        Encoder and variants, see `EncoderName`.
    device, precision
        auto, cpu or cuda; fp32, bf16 or fp16. An encoder without torch runs on the CPU.
    weights
        The weights file; None where the encoder needs none.

    Raises
    ------
    RegistryError
        No such encoder, variant, or order of variants.
    ResourceError
        No such device or precision.
    """
    from stflow.device import resolve

    if precision not in PRECISIONS:
        raise ResourceError(f"no precision {precision!r}; choose {', '.join(PRECISIONS)}.")
    parsed = EncoderName.parse(name)
    where = resolve(device) if parsed.kind.uses_torch else "cpu"
    model = parsed.kind(where, precision, weights=weights, variants=parsed.own)
    if parsed.stain:
        model = STAIN_VARIANTS[parsed.stain](model)
    if parsed.symmetries:
        model = _SYMMETRIES[parsed.symmetries](model)
    return Around(model) if parsed.around else model
