"""What maps of genes show: which methods on which encoders, and which genes are known before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from stflow.config_sections import DEFAULT_VARIANT
from stflow.models import METHODS

if TYPE_CHECKING:
    from stflow.workflow import Plan

#: Panels of the paper's figures 4 and 7 in their order, and the encoder of all but ST-Net, which has its own.
PAPER_PANELS = (
    *(("stnet", "default"), ("bleep", "default"), ("triplex", "default")),
    *(("random_forest", "default"), ("stflow", "default"), ("stflow", "wo_fm")),
)
PAPER_ENCODER = "uni"


@dataclass(frozen=True, slots=True)
class Map:
    """A gene on a slide, and the fold whose predictions are drawn."""

    benchmark: str
    dataset: str
    slide: str
    gene: str
    protocol: str
    fold: int

    def __str__(self) -> str:
        """As the commands take it."""
        return "/".join((self.benchmark, self.slide, self.gene, self.protocol))


class MapRows:
    """The panels of a plan's maps: (method, variant, encoder)."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._config = plan, plan.config

    @property
    def main(self) -> str:
        """The encoder of figures that show one: the paper's if it is run, else the first that is run."""
        run = [name for name in self._config.encoders if name not in self._config.not_run]
        return PAPER_ENCODER if PAPER_ENCODER in run else next(iter(run), "")

    def encoders(self, row: tuple[str, str], encoder: str) -> list[str]:
        """The encoder, or those in its place that a method runs on."""
        its = [name for name in self._config.encoders_of(*row) if name not in self._config.not_run]
        return [encoder] if encoder in its else its

    def of_figure(self, *, by_paper: bool) -> list[tuple[str, str, str]]:
        """Panels of figure 4 or 7; ``by_paper``: it shows the paper's maps, and so the paper's methods."""
        if by_paper and self._config.figures.methods is None:
            return self._shown([(*row, "") for row in PAPER_PANELS], self.main)
        return self.on(self.main)

    def on(self, encoder: str) -> list[tuple[str, str, str]]:
        """Panels of a map on an encoder: those that the configuration names, else all rows."""
        return self._shown(self.named() or [(*row, "") for row in self._plan.methods], encoder)

    def named(self) -> list[tuple[str, str, str]]:
        """(method, variant, encoder or empty) of ``figures.methods``."""
        texts = (text.partition("@") for text in self._config.figures.methods or [])
        rows = ((*name.partition("/")[::2], encoder) for name, _, encoder in texts)
        return [(method, variant or DEFAULT_VARIANT, encoder) for method, variant, encoder in rows]

    def _shown(self, rows: Iterable[tuple[str, str, str]], encoder: str) -> list[tuple[str, str, str]]:
        found = [
            (method, variant, which)
            for method, variant, named in rows
            if self.predicted(method, variant)
            for which in self.encoders((method, variant), named or encoder)
            if not named or which == named
        ]
        return list(dict.fromkeys(found))

    def beside_the_tables(self) -> list[tuple[str, str]]:
        """(method, variant) of panels that are no rows of the tables: predicted for the maps alone."""
        rows = [(method, variant) for method, variant, _ in self.named()] or list(PAPER_PANELS)
        return [row for row in dict.fromkeys(rows) if row not in self._plan.methods and self.predicted(*row)]

    def predicted(self, method: str, variant: str) -> bool:
        """Whether there is a model: of a row of the tables, or of one that differs only in how it samples."""
        if (method, variant) in self._plan.methods:
            return True
        if method not in METHODS.names() or variant not in self._config.variants_of(method):
            return False
        try:
            model = self._config.trained_as(method, variant)
        except ValidationError:
            return False
        return model in (self._config.trained_as(*row) for row in self._plan.methods if row[0] == method)


def known_genes(plan: Plan, benchmark: str, dataset: str, protocol: str) -> list[str] | None:
    """The genes of a protocol where a list that lies there already holds them; None where they are chosen later."""
    paths = [path for path in plan.gene_lists(benchmark, dataset, protocol) if path.is_file()]
    if not paths:
        return None
    from stflow.data.genes import read_gene_list

    return read_gene_list(paths[0])
