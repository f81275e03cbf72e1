"""How methods are named and how figures look, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Method -> name in tables and figures; a method that is not here appears under its own name.
LABELS: Mapping[str, str] = {
    "mean": "Mean",
    "ridge": "Ridge",
    "random_forest": "Random forest",
    "mlp": "MLP",
    "knn": "Nearest neighbours",
    "stnet": "ST-Net",
    "bleep": "BLEEP",
    "histogene": "HisToGene",
    "triplex": "TRIPLEX",
    "stflow": "STFlow",
}

#: Width of a figure of two columns and of one, and the least size of its text.
DOUBLE_COLUMN_MM, SINGLE_COLUMN_MM = 180.0, 88.0
COLUMN_MM: Mapping[str, float] = {"double": DOUBLE_COLUMN_MM, "single": SINGLE_COLUMN_MM}
TEXT_PT = 7.0
SMALL_PT = 6.0
MM_PER_INCH = 25.4

#: matplotlib settings of every figure: text stays text in PDF, and the font is the one matplotlib brings along, so a
#: figure has the same bytes on every machine.
RC: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT_PT,
    "axes.titlesize": TEXT_PT,
    "axes.labelsize": TEXT_PT,
    "xtick.labelsize": SMALL_PT,
    "ytick.labelsize": SMALL_PT,
    "axes.linewidth": 0.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "pdf.fonttype": 42,
    "mathtext.fontset": "dejavusans",
    "savefig.dpi": 300,
}


def method_label(method: str, variant: str = "default") -> str:
    """Display name of a method: ``STFlow``; with its variant, ``STFlow (wo_fm)``."""
    label = LABELS.get(method, method)
    return label if variant == "default" else f"{label} ({variant})"
