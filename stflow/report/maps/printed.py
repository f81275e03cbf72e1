"""The Pearson correlations that the paper prints in the titles of its maps, figures 4 and 7.

One is given only where slide, gene, method and encoder are the printed ones, under the paper protocol.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache

from stflow.layout import Group
from stflow.report.published import PUBLISHED

#: (method, variant) -> its name in those titles.
_NAMES: Mapping[tuple[str, str], str] = {
    ("stnet", "default"): "STNet",
    ("bleep", "default"): "BLEEP",
    ("triplex", "default"): "TRIPLEX",
    ("random_forest", "default"): "UNI",
    ("stflow", "default"): "STFlow",
    ("stflow", "wo_fm"): "STFlow_wo_FM",
}
#: The encoder of all of these but ST-Net, which has its own.
_ENCODER = "uni"


def printed_r(benchmark: str, slide: str, gene: str, group: Group) -> float | None:
    """The printed r of one map, or None if the paper has no such map."""
    name = _NAMES.get((group.method, group.variant))
    if (benchmark, group.protocol) != ("hest", "paper") or name is None:
        return None
    if group.encoder != _ENCODER and group.method != "stnet":
        return None
    return _titles().get(f"{gene}@{slide}", {}).get(name)


@cache
def _titles() -> dict[str, dict[str, float]]:
    if not PUBLISHED.is_file():
        return {}
    values = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return {**values["figure4_titles"], **values["figure7_titles"]}
