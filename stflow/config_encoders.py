"""Which encoders a configuration may name, and which of them a method can use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from stflow.config_sections import DEFAULT_VARIANT
from stflow.encoders.around import is_around
from stflow.encoders.names import EncoderName
from stflow.encoders.views import SUFFIX as VIEWS_SUFFIX
from stflow.errors import RegistryError
from stflow.models import METHODS

if TYPE_CHECKING:
    from stflow.config import _Config


def problems_of_encoder(name: str) -> list[str]:
    """Why there is no such encoder, if there is none."""
    try:
        EncoderName.parse(name)
    except RegistryError as error:
        return [str(error)]
    return []


def problems_of_method_encoders(config: _Config) -> list[str]:
    """What is wrong with ``method_encoders``, and methods that cannot use what they are given."""
    problems = []
    for row, names in config.method_encoders.items():
        method, _, variant = row.partition("/")
        if method not in METHODS.names() or (variant and variant not in config.variants_of(method)):
            problems.append(f"method_encoders: no method or variant {row!r}")
        problems += [f"method_encoders.{row}: {line}" for name in names for line in problems_of_encoder(name)]
        if not names:
            problems.append(f"method_encoders.{row}: names no encoder; leave it out to take all of `encoders`")
    for row in () if problems else config.methods:
        method, _, variant = row.partition("/")
        try:
            names = config.encoders_of(method, variant or DEFAULT_VARIANT)
            own = METHODS.get(method).own_encoders(config.settings_of(method, variant or DEFAULT_VARIANT))
        except (KeyError, ValidationError):
            continue  # no such variant, or it does not fit: `_known_variants` tells
        for name in names:
            if name.endswith(VIEWS_SUFFIX) and not METHODS.get(method).views:
                problems.append(
                    f"methods: {row} cannot use encoder {name!r}, eight features a tile: give it others under "
                    f"method_encoders.{row}"
                )
            if is_around(name) != any(map(is_around, own)):
                problems.append(
                    f"methods: {row} {'cannot use' if is_around(name) else 'needs +around for'} encoder {name!r}, "
                    f"as it reads the features of {'one tile' if is_around(name) else '25 patches'} a spot: give "
                    f"it others under method_encoders.{row}"
                )
    return problems
