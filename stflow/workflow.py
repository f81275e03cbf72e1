"""From a checked configuration to what the workflow makes: groups, runs, the files of each, and what each reads.

The rules stay one shell line each because all that depends on the configuration is answered here. Light: no torch,
no pandas; the Snakefile, and every cluster job again, builds one `Plan`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from stflow.config_datasets import runs_on
from stflow.config_sections import DEFAULT_VARIANT, GENE_CHOICES
from stflow.data.formats import FORMATS
from stflow.data.formats.base import SlideFormat
from stflow.data.hub.lock import write_commit
from stflow.data.hub.request import Wanted, to_json
from stflow.data.official import require_official_folds
from stflow.data.sources import BRINGS_GENE_LISTS, DEMO_SLIDE_FILES, DEMO_TASK_FILES, HER2ST_SECTION_FILES
from stflow.data.splits import Fold
from stflow.layout import TILES, Group, Layout, Run
from stflow.models import METHODS
from stflow.plan_checks import refuse_incomplete_mirrors, refuse_unusable
from stflow.plan_encoders import EncoderPlan, refuse_missing_weights
from stflow.plan_figures import FigurePlan
from stflow.plan_options import RunOptions
from stflow.plan_paper import PaperPlan
from stflow.plan_search import SearchPlan
from stflow.provenance import write_if_changed
from stflow.search.chosen import Chosen
from stflow.shell import relative

if TYPE_CHECKING:
    from stflow.config import _Config


class Plan:
    """What one configuration asks for.

    Attributes
    ----------
    config, layout
        The configuration, and the paths below its results folder.
    formats
        benchmark -> its slide format, on the benchmark's root.
    folds
        (benchmark, dataset, protocol) -> fold number -> fold; reading them refuses leakage before anything runs.
    without_folds
        (benchmark, dataset, protocol) -> why the dataset cannot have folds under the protocol, as its manifest says;
        nothing is run for these, and the tables tell the reason.

    Raises
    ------
    ConfigError
        Names that fit the configuration's types but not its split manifests; all of them in one message.
    WeightsError
        Weights that are not where they are looked for.
    SplitError, LeakageError
        A fold that cannot be used, or hest-bench's own folds are others than its manifest's.
    DataError
        Files that a local mirror lacks.
    """

    def __init__(self, config: _Config) -> None:
        self.config = config
        self.layout = Layout(config.results)
        # A slide's paths are asked for by every run of its dataset.
        self._slide, self._features = cache(self.layout.slide), cache(self.layout.features)
        self._manifests = {name: config.manifest(name) for name in config.benchmarks}
        self.formats: dict[str, SlideFormat] = {
            name: FORMATS.get(entry.format)(config.root(name)) for name, entry in config.benchmarks.items()
        }
        self.folds: dict[tuple[str, str, str], dict[int, Fold]] = {
            (benchmark, dataset, protocol): {
                index: manifest.fold(dataset, protocol, index) for index in manifest.folds(dataset, protocol)
            }
            for benchmark, manifest in self._manifests.items()
            for dataset in config.datasets(benchmark)
            for protocol in config.protocols
        }
        self.without_folds: dict[tuple[str, str, str], str] = {
            key: reason
            for key, folds in self.folds.items()
            if not folds and (reason := self._manifests[key[0]].reason(*key[1:]))
        }
        for key in self.without_folds:
            del self.folds[key]
        for name, entry in config.benchmarks.items():
            if entry.format == "hest_bench" and entry.manifest is None:
                require_official_folds(config.root(name), self._manifests[name], config.datasets(name))
        self.encoders = EncoderPlan(config, self._manifests)
        self.figures, self.options, self.paper = FigurePlan(self), RunOptions(self), PaperPlan(self)
        self._rows = self.encoders.rows(self.methods)
        self.chosen, self.search = Chosen.read(config.searched), SearchPlan(self)
        drawn = self.figures.rows.beside_the_tables()
        self._trained_as = {pair: config.trained_as(*pair) for pair in (*self.methods, *drawn)}
        refuse_unusable(self)
        refuse_incomplete_mirrors(self)
        refuse_missing_weights(config)

    # -- names -----------------------------------------------------------------------------------------------

    @property
    def methods(self) -> list[tuple[str, str]]:
        """(method, variant) of every row of the tables, in their order."""
        pairs = [entry.partition("/") for entry in self.config.methods]
        return [(method, variant or DEFAULT_VARIANT) for method, _, variant in pairs]

    def variants(self) -> list[str]:
        """Names of the variants that are trained or predicted, each once."""
        return list(dict.fromkeys((*(variant for _, variant in self._trained_as), *self._trained_as.values())))

    def datasets(self) -> list[str]:
        """Dataset names over all benchmarks, each once."""
        return list(dict.fromkeys(dataset for _, dataset, _ in self.folds))

    def slides(self, benchmark: str, dataset: str | None = None) -> list[str]:
        """Slides of one dataset, or of all datasets of the benchmark that this configuration runs, each once."""
        datasets = self.config.datasets(benchmark) if dataset is None else [dataset]
        names = (slide for name in datasets for slide in self._manifests[benchmark].slides(name))
        return list(dict.fromkeys(names))

    def dataset_of(self, benchmark: str, slide: str) -> str:
        """The dataset whose folder holds the slide's files."""
        return self._manifests[benchmark].dataset_of(slide)

    def patient(self, benchmark: str, slide: str) -> str:
        """Patient of a slide."""
        return self._manifests[benchmark].patient(self.dataset_of(benchmark, slide), slide)

    def seeds(self, method: str) -> list[int]:
        """The configured seeds; only the first for a method that draws nothing at random."""
        return list(self.config.seeds) if METHODS.get(method).stochastic else list(self.config.seeds[:1])

    def runs_on(self, method: str, variant: str, benchmark: str, dataset: str, protocol: str) -> bool:
        """Whether a row of the tables runs on a dataset under a protocol."""
        return runs_on(self.config, method, variant, benchmark, dataset, protocol)

    def groups(
        self, *, benchmark: str | None = None, dataset: str | None = None, method: str | None = None
    ) -> list[Group]:
        """Every group, or those of one benchmark, dataset or method."""
        every = (
            Group(a_benchmark, a_dataset, encoder, a_method, variant, protocol)
            for a_benchmark, a_dataset, protocol in self.folds
            for encoder in (*self.encoders.run, TILES)
            for a_method, variant in self._rows[encoder]
            if self.runs_on(a_method, variant, a_benchmark, a_dataset, protocol)
        )
        return [
            group
            for group in every
            if benchmark in (None, group.benchmark)
            and dataset in (None, group.dataset)
            and method in (None, group.method)
        ]

    def sampled_groups(self) -> list[Group]:
        """Groups whose predictions are of several samples."""
        samples = {pair: getattr(self.config.settings_of(*pair), "samples", 1) for pair in self.methods}
        return [group for group in self.groups() if samples[group.method, group.variant] > 1]

    def named_targets(self) -> list[tuple[str, str]]:
        """(kind, name) of the targets made from names: every dataset, then every method."""
        methods = dict.fromkeys(method for method, _ in self.methods)
        return [("dataset", name) for name in self.datasets()] + [("method", name) for name in methods]

    # -- folds and runs --------------------------------------------------------------------------------------

    def fold_numbers(self, group: Group) -> list[int]:
        """Fold numbers of a group's dataset and protocol."""
        return list(self.folds[group.benchmark, group.dataset, group.protocol])

    def runs(self, group: Group) -> list[Run]:
        """All folds and seeds of a group."""
        return [group.run(fold, seed) for fold in self.fold_numbers(group) for seed in self.seeds(group.method)]

    def predictions(self, group: Group) -> list[Path]:
        """Predictions of all runs of a group."""
        return [self.layout.predictions(run) for run in self.runs(group)]

    def trained_as(self, run: Run) -> Run:
        """The run whose trained model predicts this one: itself, or a variant that differs only in its sampling."""
        own, shared = run.group.variant, self._trained_as[run.group.method, run.group.variant]
        if own != shared and (chosen := self.chosen.of(run)):
            trains = {self.options.trained_json(run.group.method, name, chosen) for name in (own, shared)}
            shared = shared if len(trains) == 1 else own
        return run.of_variant(shared)

    def trainings(self) -> list[Run]:
        """Every training that the configuration needs, each once."""
        return list(dict.fromkeys(self.trained_as(run) for group in self.groups() for run in self.runs(group)))

    def fold(self, run: Run) -> Fold:
        """The fold of a run."""
        return self.folds[run.group.benchmark, run.group.dataset, run.group.protocol][run.fold]

    def learning_slides(self, run: Run) -> list[str]:
        """Slides that a training reads: those it learns from and those that choose its epoch."""
        fold = self.fold(run)
        return list(dict.fromkeys((*fold.train, *fold.select)))

    def describe(self, run: Run) -> str:
        """What a fold's slides are for, in words: a changed role reruns the training though its files stay."""
        return _describe(self.fold(run))

    def describe_folds(self, benchmark: str, dataset: str, protocol: str) -> list[str]:
        """All folds of a dataset in words."""
        return [_describe(fold) for fold in self.folds[benchmark, dataset, protocol].values()]

    def describe_splits(self, benchmark: str) -> list[str]:
        """All folds of a benchmark in words, and why some of its datasets have none."""
        folds = [
            f"{dataset} {protocol} {words}"
            for name, dataset, protocol in self.folds
            if name == benchmark
            for words in self.describe_folds(name, dataset, protocol)
        ]
        reasons = [f"{' '.join(key[1:])}: {why}" for key, why in self.without_folds.items() if key[0] == benchmark]
        return folds + reasons

    # -- files -----------------------------------------------------------------------------------------------

    def sourced(self, source: str) -> list[str]:
        """Benchmarks with this source."""
        return [name for name, entry in self.config.benchmarks.items() if entry.source == source]

    def root(self, benchmark: str) -> str:
        """Folder of the benchmark's files."""
        return str(self.config.root(benchmark))

    def made_slide_files(self, benchmark: str) -> list[Path]:
        """Patterns, with ``{slide}``, of what the benchmark's source makes of one slide."""
        entry = self.config.benchmarks[benchmark]
        patterns = DEMO_SLIDE_FILES[entry.format] if entry.source == "demo" else HER2ST_SECTION_FILES
        return self._below_root(benchmark, patterns)

    def made_task_files(self, benchmark: str) -> list[Path]:
        """What a demo benchmark has beside its slides."""
        return self._below_root(benchmark, DEMO_TASK_FILES[self.config.benchmarks[benchmark].format])

    def _below_root(self, benchmark: str, patterns: Iterable[str]) -> list[Path]:
        dataset = self._manifests[benchmark].datasets()[0]
        return [self.config.root(benchmark) / pattern.replace("{dataset}", dataset) for pattern in patterns]

    def manifest(self, benchmark: str) -> str:
        """Split manifest of the benchmark."""
        return relative(self.config.manifest_path(benchmark))

    def by_slide(self, benchmark: str) -> str:
        """The flag for folds that may share patients."""
        return "--by-slide" if self.config.benchmarks[benchmark].split_by_slide else ""

    def format(self, benchmark: str) -> str:
        """Name of the benchmark's slide format."""
        return self.config.benchmarks[benchmark].format

    def crop(self, benchmark: str) -> str:
        """The flag for tiles of a width in pixels, of a format to which it matters."""
        crop = self.config.tiling.crop
        return f"--crop {crop}" if crop != "spot" and self.formats[benchmark].tile_is_spot else ""

    def given_mpp(self, benchmark: str) -> str:
        """The option for the configuration's um/px, where it gives one."""
        mpp = self.config.benchmarks[benchmark].mpp
        return "" if mpp is None else f"--mpp {mpp}"

    def counts_files(self, benchmark: str, slide: str) -> list[Path]:
        """Files that a slide's counts are read from."""
        slide_format, dataset = self.formats[benchmark], self.dataset_of(benchmark, slide)
        promised = self.config.benchmarks[benchmark].source == "hub"
        return [
            *slide_format.counts_files(dataset, slide),
            *(slide_format.sidecar_files(dataset, slide) if promised else ()),
        ]

    def hub_files(self, benchmark: str) -> list[Path]:
        """Files of a benchmark of the hub, each once."""
        slides = self.slides(benchmark)
        brings = ("hub", self.formats[benchmark].name) in BRINGS_GENE_LISTS
        lists = [self.formats[benchmark].gene_list_file(name) for name in self.config.datasets(benchmark) if brings]
        files = (
            *(path for slide in slides for path in self.counts_files(benchmark, slide)),
            *(path for slide in slides for path in self.image_files(benchmark, slide)),
            *(path for path in lists if path is not None),
        )
        return list(dict.fromkeys(files))

    def downloads(self) -> list[Wanted]:
        """What is downloaded: every repository and folder once, with the files of all benchmarks and encoders there."""
        files: dict[tuple[str, Path], list[str]] = {}
        for name in self.sourced("hub"):
            if self.config.mirror(name) is None:
                root = self.config.root(name)
                found = files.setdefault((str(self.config.benchmarks[name].repository), root), [])
                found += [path.relative_to(root).as_posix() for path in self.hub_files(name)]
        data = [Wanted(repository, root, tuple(sorted(set(names)))) for (repository, root), names in files.items()]
        return data + self.encoders.downloads()

    def write_hub_request(self) -> None:
        """Write to the results folder what is downloaded, and beside the data the commits of what is locked already.

        With the lock there, no question and no download is out of date, whatever became of the other file.
        """
        if wanted := self.downloads():
            write_if_changed(self.layout.hub_request, json.dumps(to_json(wanted), indent=1) + "\n")
        for item in wanted:
            write_commit(item.root)

    def image_files(self, benchmark: str, slide: str) -> list[Path]:
        """Files that a slide's tiles are made from."""
        return self.formats[benchmark].image_files(self.dataset_of(benchmark, slide), slide)

    def pictures(self, benchmark: str, slide: str) -> list[Path]:
        """The image to draw below a slide's spots; none where tiles come ready and no image is needed."""
        return self.image_files(benchmark, slide)[:1] if self.formats[benchmark].tiles == "cut" else []

    def slide_paths(self, benchmark: str, slides: Iterable[str]) -> list[Path]:
        """Slide files of these slides."""
        return [self._slide(benchmark, slide) for slide in slides]

    def tile_paths(self, benchmark: str, slides: Iterable[str]) -> list[Path]:
        """Tiles files of these slides."""
        return [self.layout.tiles(benchmark, slide) for slide in slides]

    def method_tile_paths(self, group: Group, slides: Iterable[str]) -> list[Path]:
        """Tiles files of these slides, where the group's method reads tiles; they also say which spots have one."""
        reads = METHODS.get(group.method).reads_tiles(self.config.settings_of(group.method, group.variant))
        return self.tile_paths(group.benchmark, slides) if reads or group.encoder == TILES else []

    def audits(self, group: Group) -> list[Path]:
        """The audit that a training waits for: under the clean protocol, which refuses a fold that leaks."""
        clean = group.protocol == "clean"
        return [self.layout.audit(group.benchmark, group.dataset, group.protocol)] if clean else []

    def feature_paths(self, encoder: str, benchmark: str, slides: Iterable[str]) -> list[Path]:
        """Features files of these slides; none for a method that reads no features."""
        return [] if encoder == TILES else [self._features(encoder, benchmark, slide) for slide in slides]

    def encoded_from(self, encoder: str, benchmark: str, slides: Iterable[str]) -> list[Path]:
        """What an encoder reads of each slide: its tiles, or their features from the encoder below."""
        below = self.encoders.names[encoder].tiles
        return self.feature_paths(below, benchmark, slides) if below else self.tile_paths(benchmark, slides)

    def embedded_images(self, encoder: str, benchmark: str, slides: Iterable[str]) -> list[Path]:
        """The image of each slide, for an encoder that reads it beside the tiles."""
        if not self.encoders.names[encoder].around:
            return []
        return [self.image_files(benchmark, slide)[0] for slide in slides]

    def gene_choice(self, benchmark: str, protocol: str) -> str:
        """How the genes of a protocol are chosen: a word of `stflow.data.genes`."""
        choice = getattr(self.config.genes_of(benchmark), protocol)
        return choice if choice in GENE_CHOICES else "list"

    def gene_lists(self, benchmark: str, dataset: str, protocol: str) -> list[Path]:
        """The list that the genes of a protocol are taken from: the user's, or the dataset's own if it has one.

        A list that a source brings does not exist before it ran, so it is known by name; asking the disk would give
        the first run and the second different inputs.
        """
        choice = self.gene_choice(benchmark, protocol)
        if choice == "list":
            return [Path(getattr(self.config.genes_of(benchmark), protocol))]
        path = self.formats[benchmark].gene_list_file(dataset) if choice == "official" else None
        entry = self.config.benchmarks[benchmark]
        if path is None or not ((entry.source, entry.format) in BRINGS_GENE_LISTS or path.is_file()):
            return []
        return [path]

    def n_genes(self, benchmark: str) -> int:
        """How many genes are chosen."""
        return self.config.genes_of(benchmark).n

    def gene_recipe(self, benchmark: str) -> str:
        """The recipe by which genes are chosen: the format's."""
        return self.formats[benchmark].gene_recipe

    def gene_groups(self) -> dict[str, Path]:
        """benchmark -> JSON of its named gene lists, where it has one."""
        return {
            name: self.config.root(name) / entry.gene_groups
            for name, entry in self.config.benchmarks.items()
            if entry.gene_groups is not None
        }

    def first_folds(self, benchmark: str) -> list[str]:
        """The first fold of every dataset in words."""
        every = (self.folds[benchmark, name, self.config.protocols[0]] for name in self.config.datasets(benchmark))
        return [_describe(fold) for folds in every for fold in list(folds.values())[:1]]


def _describe(fold: Fold) -> str:
    """A fold in words."""
    roles = {"train": fold.train, "select": fold.select, "test": fold.test}
    return f"fold {fold.index}: " + "; ".join(f"{role} {', '.join(slides)}" for role, slides in roles.items())
