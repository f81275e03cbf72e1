"""What the workflow asks about figures: which are drawn, and from which predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stflow.layout import Group

if TYPE_CHECKING:
    from stflow.workflow import Plan

#: Datasets whose expression the paper's figure 2 shows.
PAPER_HISTOGRAMS = (("hest", "IDC"), ("hest", "COAD"), ("hest", "LUNG"), ("hest", "SKCM"))
#: Name of a biomarker map, below figures/.
BIOMARKER = "biomarkers/{encoder}/{benchmark}/{slide}/{gene}"


class FigurePlan:
    """Figures of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def histograms(self) -> list[tuple[str, str]]:
        """(benchmark, dataset) of every panel: as configured, else those of the paper's figure that are run."""
        wanted = self._plan.config.figures.histograms
        if wanted is None:
            return [key for key in PAPER_HISTOGRAMS if self._plan.folds.get((*key, self._plan.config.protocols[0]))]
        return [(benchmark, dataset) for benchmark, _, dataset in (name.partition("/") for name in wanted)]

    def biomarkers(self) -> list[str]:
        """Figure names of all maps."""
        return [
            BIOMARKER.format(encoder=encoder, benchmark=entry.benchmark, slide=entry.slide, gene=entry.gene)
            for encoder in self._plan.config.encoders
            if encoder not in self._plan.config.not_run
            for entry in self._plan.config.figures.biomarkers
        ]

    def biomarker_predictions(self, encoder: str, benchmark: str, slide: str) -> list[Path]:
        """Every method's predictions of a slide: of the first fold that tests it, with the first seed.

        A method that does not run on the encoder is shown with those it runs on.
        """
        protocol = self._plan.config.figures.biomarker_protocol
        dataset, fold = self.testing(benchmark, slide)[0]
        return [
            self._plan.layout.predictions(
                Group(benchmark, dataset, which, *row, protocol).run(fold, self._plan.config.seeds[0])
            )
            for row in self._plan.methods
            for which in self._encoders(row, encoder)
        ]

    def _encoders(self, row: tuple[str, str], encoder: str) -> list[str]:
        """The encoder, or those in its place that a method runs on."""
        its = [name for name in self._plan.config.encoders_of(*row) if name not in self._plan.config.not_run]
        return [encoder] if encoder in its else its

    def testing(self, benchmark: str, slide: str) -> list[tuple[str, int]]:
        """(dataset, fold) of the folds that test a slide under the maps' protocol."""
        wanted = self._plan.config.figures.biomarker_protocol
        return [
            (dataset, index)
            for (name, dataset, protocol), folds in self._plan.folds.items()
            if name == benchmark and protocol == wanted
            for index, fold in folds.items()
            if slide in fold.test
        ]
