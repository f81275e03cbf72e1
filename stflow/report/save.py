"""Figures as files: PDF and PNG of the same figure, whole or absent, with the same bytes each time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stflow.io import atomic_path
from stflow.report.style import RC

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def house_style() -> Iterator[None]:
    """matplotlib with the settings of every figure here."""
    import matplotlib

    settings: Any = dict(RC)  # matplotlib's types list every key there is
    with matplotlib.rc_context(settings):
        yield


def save_figure(figure: Figure, pdf: Path, png: Path) -> None:
    """Write a figure as PDF and PNG, without dates and versions."""
    kinds = ((pdf, "pdf", {"CreationDate": None, "ModDate": None}), (png, "png", {"Software": None}))
    for path, kind, metadata in kinds:
        with atomic_path(path) as partial, house_style():
            figure.savefig(partial, format=kind, metadata=metadata)
