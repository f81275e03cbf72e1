"""What the workflow asks about figures: which are drawn, of what, and from which files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stflow.config_sections import Biomarker
from stflow.layout import Group, Run
from stflow.plan_maps import Map, MapRows, known_genes

if TYPE_CHECKING:
    from stflow.workflow import Plan

#: Datasets whose expression the paper's figure 2 shows.
PAPER_HISTOGRAMS = (("hest", "IDC"), ("hest", "COAD"), ("hest", "LUNG"), ("hest", "SKCM"))
#: Name of a biomarker map, below figures/.
BIOMARKER = "biomarkers/{encoder}/{benchmark}/{slide}/{gene}"
#: The paper's maps: (slide of hest-bench, gene), a row each.
PAPER_MAPS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "figure4": (("TENX141", "UBE2C"), ("TENX115", "VWF")),
    "figure6": (("TENX141", "UBE2C"), ("TENX115", "VWF")),
    "figure7": (("TENX95", "GATA3"), ("TENX95", "ERBB2")),
}
#: The run whose refinement figure 6 shows.
REFINED = ("stflow", "default")


class FigurePlan:
    """Figures of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._config = plan, plan.config
        self.rows = MapRows(plan)

    def histograms(self) -> list[tuple[str, str]]:
        """(benchmark, dataset) of every panel: as configured, else those of the paper's figure that are run."""
        wanted = self._config.figures.histograms
        if wanted is None:
            return [key for key in PAPER_HISTOGRAMS if self._plan.folds.get((*key, self._config.protocols[0]))]
        return [(benchmark, dataset) for benchmark, _, dataset in (name.partition("/") for name in wanted)]

    # -- maps ------------------------------------------------------------------------------------------------

    def configured(self) -> dict[str, list[Biomarker]]:
        """Key below ``figures`` -> the maps that the configuration itself asks for."""
        figures = self._config.figures
        named = {"biomarkers": figures.biomarkers, **{name: getattr(figures, name) for name in PAPER_MAPS}}
        return {name: entries for name, entries in named.items() if entries}

    def maps(self, figure: str) -> list[Map]:
        """Rows of figure 4, 6 or 7: as configured, else the paper's that are run; none if there is nothing to draw."""
        if figure == "figure6" and not self.refined_encoder():
            return []
        entries = getattr(self._config.figures, figure)
        if entries is not None:
            return [self.map_of(entry) for entry in entries]
        return [found for place in PAPER_MAPS[figure] if (found := self._paper_map(*place))]

    def map_of(self, entry: Biomarker) -> Map:
        """A configured map on the first fold that tests its slide."""
        protocol = self.protocol_of(entry)
        dataset, fold = self.testing(entry.benchmark, entry.slide, protocol)[0]
        return Map(entry.benchmark, dataset, entry.slide, entry.gene, protocol, fold)

    def protocol_of(self, entry: Biomarker) -> str:
        """The protocol of a configured map."""
        return entry.protocol or self._config.figures.biomarker_protocol

    def _paper_map(self, slide: str, gene: str) -> Map | None:
        """One of the paper's, where its slide is tested and its gene is, or is not yet known to lack, in the list."""
        if "hest" not in self._config.benchmarks or not (found := self.testing("hest", slide, "paper")):
            return None
        dataset, fold = found[0]
        genes = known_genes(self._plan, "hest", dataset, "paper")
        if self._plan.gene_choice("hest", "paper") != "official" if genes is None else gene not in genes:
            return None
        return Map("hest", dataset, slide, gene, "paper", fold)

    def testing(self, benchmark: str, slide: str, protocol: str) -> list[tuple[str, int]]:
        """(dataset, fold) of the folds that test a slide under a protocol."""
        return [
            (dataset, index)
            for (name, dataset, its), folds in self._plan.folds.items()
            if (name, its) == (benchmark, protocol)
            for index, fold in folds.items()
            if slide in fold.test
        ]

    def map_predictions(self, figure: str) -> list[Path]:
        """Predictions of figure 4 or 7, each once, in the order of the panels."""
        by_paper = getattr(self._config.figures, figure) is None
        return self._predictions(self.maps(figure), self.rows.of_figure(by_paper=by_paper))

    # -- one gene a figure -----------------------------------------------------------------------------------

    def biomarkers(self) -> list[str]:
        """Figure names of all maps of one gene."""
        return [
            BIOMARKER.format(encoder=encoder, benchmark=entry.benchmark, slide=entry.slide, gene=entry.gene)
            for encoder in self._config.encoders
            if encoder not in self._config.not_run
            for entry in self._config.figures.biomarkers
        ]

    def biomarker(self, benchmark: str, slide: str, gene: str) -> Map:
        """The configured map of a gene."""
        wanted = (benchmark, slide, gene)
        entries = self._config.figures.biomarkers
        return self.map_of(next(entry for entry in entries if (entry.benchmark, entry.slide, entry.gene) == wanted))

    def biomarker_predictions(self, encoder: str, benchmark: str, slide: str, gene: str) -> list[Path]:
        """Every method's predictions of a slide: of the first fold that tests it, with the first seed.

        A method that does not run on the encoder is shown with those it runs on.
        """
        return self._predictions([self.biomarker(benchmark, slide, gene)], self.rows.on(encoder))

    def _predictions(self, maps: Iterable[Map], rows: Iterable[tuple[str, str, str]]) -> list[Path]:
        seed = self._config.seeds[0]
        maps = list(maps)
        return list(
            dict.fromkeys(
                self._plan.layout.predictions(
                    Group(place.benchmark, place.dataset, encoder, method, variant, place.protocol).run(
                        place.fold, seed
                    )
                )
                for method, variant, encoder in rows
                for place in maps
                if self._plan.runs_on(method, variant, place.benchmark, place.dataset, place.protocol)
            )
        )

    # -- refinement ------------------------------------------------------------------------------------------

    def refined_encoder(self) -> str:
        """The encoder of the run whose refinement is drawn; empty where STFlow itself is not run."""
        found = self.rows.encoders(REFINED, self.rows.main) if REFINED in self._plan.methods else []
        return found[0] if found else ""

    def refined_run(self, place: Map) -> Run:
        """The run that draws a map of figure 6."""
        group = Group(place.benchmark, place.dataset, self.refined_encoder(), *REFINED, place.protocol)
        return group.run(place.fold, self._config.seeds[0])

    def refinements(self) -> list[Path]:
        """Files of figure 6, each once."""
        maps = self.maps("figure6")
        return list(dict.fromkeys(self._plan.layout.refinement(self.refined_run(a), a.slide) for a in maps))

    def refined_genes(self, run: Run, slide: str) -> list[str]:
        """Genes whose refinement on a slide is kept."""
        maps = [place for place in self.maps("figure6") if (self.refined_run(place), place.slide) == (run, slide)]
        return list(dict.fromkeys(place.gene for place in maps))

    # -- what maps need --------------------------------------------------------------------------------------

    def all_maps(self) -> list[Map]:
        """Every row of every figure, each once."""
        rows = [self.map_of(entry) for entry in self._config.figures.biomarkers]
        return list(dict.fromkeys([*rows, *(place for name in PAPER_MAPS for place in self.maps(name))]))

    def wanted(self, benchmark: str, dataset: str, protocol: str) -> list[str]:
        """``fold/slide/gene`` of the maps that predictions of a dataset are wanted for."""
        key = (benchmark, dataset, protocol)
        return [
            f"{place.fold}/{place.slide}/{place.gene}"
            for place in self.all_maps()
            if (place.benchmark, place.dataset, place.protocol) == key
        ]

    def gene_checks(self, maps: Iterable[Map]) -> list[Path]:
        """The files that tell that the genes of maps are predicted."""
        keys = dict.fromkeys((place.benchmark, place.dataset, place.protocol) for place in maps)
        return [self._plan.layout.map_genes(*key) for key in keys]

    def slides(self, maps: Iterable[Map]) -> list[tuple[str, str]]:
        """(benchmark, slide) of maps, each once."""
        return list(dict.fromkeys((place.benchmark, place.slide) for place in maps))

    def tissue_paths(self, maps: Iterable[Map]) -> list[Path]:
        """Tiles files and slide files of maps, and the images of slides that are cut."""
        layout, slides = self._plan.layout, self.slides(maps)
        pictures = [path for slide in slides for path in self._plan.pictures(*slide)]
        return [*(layout.tiles(*slide) for slide in slides), *(layout.slide(*slide) for slide in slides), *pictures]

    def images(self, maps: Iterable[Map]) -> list[str]:
        """``benchmark/slide=image`` of the slides of maps that have an image."""
        return [
            f"{benchmark}/{slide}={path}"
            for benchmark, slide in self.slides(maps)
            for path in self._plan.pictures(benchmark, slide)
        ]
