"""What the paper prints of time and memory: figure 5, read off its image, and the parameters of table 6."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from stflow.report.published import PUBLISHED

#: Method -> its name in the paper, in the order of table 6.
NAMES = {"stnet": "STNet", "bleep": "BLEEP", "histogene": "HisToGene", "triplex": "TRIPLEX", "stflow": "STFlow"}
#: The printed times are of so many predictions, on this GPU.
REPEATS, GPU = 100, "RTX A6000"
#: How well the curves could be read off the image: s and MB, both ways.
READ_S, READ_MB = 0.6, 150.0


@dataclass(frozen=True, slots=True)
class Curve:
    """A printed curve: (spots, s of 100 predictions, MB) of every point, and the spots where memory ran out."""

    points: tuple[tuple[int, float, float], ...]
    out_of_memory_at: int | None

    def at(self, spots: int) -> tuple[float, float] | None:
        """s of 100 predictions and MB at a number of spots that is printed."""
        return next(((seconds, mb) for n, seconds, mb in self.points if n == spots), None)


def printed_curve(method: str) -> Curve | None:
    """The curve of a method, or None where figure 5 has none."""
    figure = _published().get("figure5_digitised", {})
    name = NAMES.get(method)
    if name not in figure.get("time_s", {}):
        return None
    lines = list(zip(figure["spots"], figure["time_s"][name], figure["memory_MB"][name], strict=True))
    points = tuple((int(n), float(s), float(mb)) for n, s, mb in lines if s != "OOM")
    return Curve(points, next((int(n) for n, s, _ in lines if s == "OOM"), None))


def printed_millions(method: str) -> float | None:
    """Million parameters that table 6 prints."""
    value = _published().get("table6_params_M", {}).get(NAMES.get(method))
    return None if value is None else float(value)


@cache
def _published() -> dict[str, Any]:
    if not PUBLISHED.is_file():
        return {}
    values: dict[str, Any] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return values
