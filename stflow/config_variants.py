"""Which variants a configuration may name, and whether their settings fit the methods that they are of."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stflow.config_errors import lines
from stflow.config_sections import DEFAULT_VARIANT
from stflow.models import METHODS

if TYPE_CHECKING:
    from stflow.config import _Config

#: What a variant may be called: it is a folder of the results, and a word of the command line's lists.
VARIANT_NAME = re.compile(r"\w[\w.+-]*", re.ASCII)


def problems_of_variants(config: _Config) -> list[str]:
    """What is wrong with the variants that ``methods`` names and that ``variants`` defines."""
    problems = []
    for entry in config.methods:
        method, _, variant = entry.partition("/")
        if variant and variant not in (known := config.variants_of(method)):
            near = difflib.get_close_matches(variant, known, n=1)
            hint = f" Did you mean '{method}/{near[0]}'?" if near else ""
            problems.append(
                f"methods: {entry!r} names no variant, neither built-in (stflow list variants) nor of "
                f"variants.{method}.{hint}"
            )
        elif variant and variant not in config.variants.get(method, {}):
            problems += problems_of_settings(config, method, variant, f"methods: {entry}")
    for method, variants in config.variants.items():
        if method not in METHODS.names():
            problems.append(f"variants: no method {method!r}")
            continue
        for variant in variants:
            if variant == DEFAULT_VARIANT:
                problems.append(f"variants.{method}.default: the method as it is; set it under settings.{method}")
            elif not VARIANT_NAME.fullmatch(variant):
                problems.append(
                    f"variants.{method}: {variant!r} cannot be a folder's name; take letters, digits, _ . + -"
                )
            else:
                problems += problems_of_settings(config, method, variant, f"variants.{method}.{variant}")
    return problems


def problems_of_settings(
    config: _Config, method: str, variant: str, where: str, chosen: Mapping[str, Any] = MappingProxyType({})
) -> list[str]:
    """What is wrong with the settings of a variant."""
    try:
        config.settings_of(method, variant, chosen)
    except ValidationError as error:
        return [f"{where}.{line}" for line in lines(error)]
    return []
