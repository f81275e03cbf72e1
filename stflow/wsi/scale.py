"""How many um a level-0 pixel is, and who says so.

A picture's own word counts first: what OpenSlide found (``openslide.mpp-x`` and ``-y``), a vendor's own property, the
TIFF's resolution tags. Then a value from metadata, then the user's. Magnification is only a hint in the error: 20x is
0.5 um/px on one scanner and 0.36 on another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stflow.errors import SlideError

#: um/px outside these are a screen's resolution (72 dpi = 353 um/px) or a typing error, not a microscope's.
MPP_RANGE = (0.02, 20.0)

#: Pairs of properties that hold um/px of x and y, the first that is there counts; one name where it holds for both.
_PROPERTIES = (("openslide.mpp-x", "openslide.mpp-y"), ("aperio.MPP",), ("hamamatsu.MPP",), ("leica.MPP",))
#: um in a TIFF's unit of resolution, as OpenSlide spells it.
_UNIT_UM = {"centimeter": 1e4, "inch": 25_400.0}
_SQUARE = 0.01  # x and y may differ by this share

_REMEDY = (
    "Set pixel_size_um_estimated in metadata/<slide>.json, set benchmarks.<name>.mpp in the configuration, or write "
    "the image again with its resolution tags."
)


@dataclass(frozen=True, slots=True)
class Scale:
    """um per level-0 pixel, and where the number is from."""

    mpp: float
    source: str


def require_mpp(mpp: float | None, where: str, hint: str = "") -> float:
    """``mpp`` if it is a microscope's um/px.

    Raises
    ------
    SlideError
        It is missing, not a positive number, or implausible.
    """
    if mpp is None or not np.isfinite(mpp) or mpp <= 0:
        raise SlideError(f"{where} has no um/px, so tiles of a given size on the tissue cannot be cut{hint}. {_REMEDY}")
    low, high = MPP_RANGE
    if not low <= mpp <= high:
        raise SlideError(f"{where} claims {mpp:g} um/px, outside the {low:g}-{high:g} of microscopes. {_REMEDY}")
    return float(mpp)


def find_scale(
    where: str,
    properties: Mapping[str, str],
    *,
    tags: tuple[float, float] | None = None,
    metadata: Mapping[str, float | None] | None = None,
    given: float | None = None,
) -> Scale:
    """The um/px of a picture: of its properties, its tags, metadata, the user, in this order.

    Parameters
    ----------
    where
        The picture, for messages.
    properties
        OpenSlide's properties; empty for a plain image.
    tags
        um/px of x and y from resolution tags, if they were read apart from the properties.
    metadata
        Name of a source -> its um/px, or None where it is silent.
    given
        The user's um/px.

    Raises
    ------
    SlideError
        Nobody says, or no more than something that no microscope has, or pixels are not square.
    """
    own = _own(where, properties, tags)
    for source, mpp in own.items():
        if _is_microscopes(mpp):
            return Scale(mpp, source)
    for source, value in (*(metadata or {}).items(), ("the configuration", given)):
        if value is not None:
            return Scale(require_mpp(float(value), f"{where} ({source})"), source)
    power = properties.get("openslide.objective-power")
    hint = f"; its objective ({power}x) is a hint only" if power else ""
    require_mpp(next(iter(own.values()), None), where, hint)
    raise AssertionError("unreachable")


def _own(where: str, properties: Mapping[str, str], tags: tuple[float, float] | None) -> dict[str, float]:
    """Source -> um/px of all that a picture says of itself, what counts first in front.

    Values that no microscope has are among them: 72 dpi and the like are what programs write that know no better, and
    must not stand before somebody's word.
    """
    found = {}
    for names in _PROPERTIES:
        values = [value for name in names if (value := _number(properties.get(name))) is not None]
        if values:
            found[names[0]] = _square(values, where, names[0])
    tags = tags or _tags(properties)
    if tags is not None:
        found["TIFF resolution tags"] = _square(list(tags), where, "its resolution tags")
    return found


def _is_microscopes(mpp: float) -> bool:
    return bool(np.isfinite(mpp)) and MPP_RANGE[0] <= mpp <= MPP_RANGE[1]


def _tags(properties: Mapping[str, str]) -> tuple[float, float] | None:
    """um/px of the resolution tags among OpenSlide's properties."""
    unit = _UNIT_UM.get(properties.get("tiff.ResolutionUnit", ""))
    x, y = _number(properties.get("tiff.XResolution")), _number(properties.get("tiff.YResolution"))
    if unit is None or not x or x <= 0:
        return None
    return unit / x, unit / (y if y and y > 0 else x)


def _square(values: list[float], where: str, source: str) -> float:
    """The one um/px of both directions: x's, which is HEST's way, as long as y's is the same."""
    if max(values) - min(values) > _SQUARE * max(values):
        raise SlideError(
            f"{where}: its pixels are not square, {values[0]:g} x {values[1]:g} um by {source}. Resample the image to "
            "square pixels and write it again."
        )
    return values[0]


def _number(text: str | None) -> float | None:
    """A number that a property holds; None for what is none."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
