"""The configuration: one pydantic tree from which the default yaml, the JSON schema and the docs table are made.

`stflow.config_files` makes them: config/config.yaml, workflow/schemas/config.schema.json and the key table of
config/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from stflow.config_datasets import problems_of_method_datasets
from stflow.config_encoders import problems_of_encoder, problems_of_method_encoders
from stflow.config_errors import lines
from stflow.config_report import Report
from stflow.config_search import Search
from stflow.config_sections import (
    DEFAULT_VARIANT,
    PAPER_ABLATIONS,
    PAPER_METHOD_DATASETS,
    PAPER_METHOD_ENCODERS,
    PAPER_METHODS,
    Benchmark,
    Efficiency,
    Embedding,
    Figures,
    Genes,
    Model,
    Tiling,
    Training,
    refuse_unknown,
)
from stflow.config_variants import problems_of_settings, problems_of_variants
from stflow.data.formats import FORMATS
from stflow.data.hub.manifest import repositories, repository
from stflow.data.splits import PROTOCOLS, Manifest, Protocol
from stflow.encoders.base import Weights
from stflow.errors import ConfigError, SplitError
from stflow.layout import TILES
from stflow.models import METHODS
from stflow.models.base import Settings
from stflow.names import name_problem
from stflow.plugins import load as load_plugins
from stflow.search.chosen import Chosen

ROOT = Path(__file__).resolve().parent.parent
SPLITS = ROOT / "resources" / "splits"


@cache
def _settings_model(methods: tuple[str, ...]) -> type[BaseModel]:
    """One field a method, of its own settings class."""
    fields: dict[str, Any] = {}
    for name in methods:
        cls: type[Settings] = METHODS.get(name).Settings
        fields[name] = (cls, Field(default_factory=cls, description=f"settings of {name}"))
    return create_model("MethodSettings", __base__=Model, **fields)


class _Config(Model):
    results: Path = Field(Path("results"), description="folder for everything that is made")
    data_root: Path | None = Field(
        None,
        description="folder with mirrors of hub repositories (hest-bench, hest, STimage-1K4M); nothing is downloaded",
    )
    benchmarks: dict[str, Benchmark] = Field(
        default_factory=lambda: {
            "hest": Benchmark(source="hub", repository="MahmoodLab/hest-bench"),
            "stimage": Benchmark(
                source="hub", repository="jiawennnn/STimage-1K4M", format="stimage", split_by_slide=True
            ),
        },
        description="benchmarks by name",
    )
    weights_root: Path | None = Field(
        None,
        description="folder with encoders' weights, each below its repository's folder (`UNI/pytorch_model.bin`); "
        "default: data_root, and without that they are downloaded",
    )
    plugins: list[Path] = Field(
        default_factory=list,
        description="Python files to load first: encoders, methods and formats that they register are names like any",
    )
    encoders: list[str] = Field(
        default_factory=lambda: ["ciga", "uni", "gigapath", "gigapath_slide"],
        min_length=1,
        description="encoders to run: `encoder`, or with variants `encoder+variant` (`stflow list encoders`)",
    )
    method_encoders: dict[str, list[str]] = Field(
        default_factory=lambda: {name: list(names) for name, names in PAPER_METHOD_ENCODERS.items()},
        description="method or method/variant -> encoders that it runs on, in place of `encoders`; default: the "
        "paper's choice where `encoders` is left out, else none",
    )
    not_run: dict[str, str] = Field(
        default_factory=dict,
        description="encoder -> why it is left out, which the tables tell; --keep-going adds those with closed weights",
    )
    methods: list[str] = Field(
        default_factory=lambda: [*PAPER_METHODS, *PAPER_ABLATIONS],
        min_length=1,
        description="methods to run, in the tables' order: `method` or `method/variant` (`stflow list variants`); "
        "default: those of the paper and cheap ones, and its ablations where `benchmarks` is left out",
    )
    method_datasets: dict[str, list[str]] = Field(
        default_factory=lambda: {name: list(places) for name, places in PAPER_METHOD_DATASETS.items()},
        description="method or method/variant -> `benchmark` or `benchmark/dataset`, each with `@protocol` or for "
        "both, that it runs on; default: the paper's choice where `benchmarks` is left out, else all",
    )
    protocols: list[Protocol] = Field(
        default_factory=lambda: list(PROTOCOLS),
        min_length=1,
        description="paper: as released; clean: leak-free",
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        default_factory=lambda: [0, 1, 2], min_length=1, description="seeds of stochastic methods"
    )
    tiling: Tiling = Field(default_factory=Tiling, description="how tiles are cut")
    genes: Genes = Field(default_factory=Genes, description="which genes are predicted")
    embedding: Embedding = Field(default_factory=Embedding, description="how features are computed")
    training: Training = Field(default_factory=Training, description="what all trainings share")
    variants: dict[str, dict[str, dict[str, Any]]] = Field(
        default_factory=dict,
        description="method -> variant -> the settings that differ; beside the built-in variants, or in place of one",
    )
    figures: Figures = Field(default_factory=Figures, description="what is drawn")
    efficiency: Efficiency = Field(default_factory=Efficiency, description="what time and memory are measured on")
    report: Report = Field(default_factory=Report, description="what the report assumes, and what is exported")
    search: Search = Field(default_factory=Search, description="settings that `snakemake search` tries")
    searched: Path | None = Field(
        None, description="settings that a search has chosen (`<results>/search/chosen.yaml`): all trainings take them"
    )

    @model_validator(mode="before")
    @classmethod
    def _own_names_go_before_the_papers(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        ours: dict[str, Any] = {"method_encoders": {}} if "encoders" in values else {}
        if "benchmarks" in values or "methods" in values:
            ours["method_datasets"] = {}
        if "benchmarks" in values:
            ours |= {"methods": list(PAPER_METHODS), "efficiency": {"methods": []}}
        return ours | values

    @field_validator("encoders")
    @classmethod
    def _known_encoders(cls, names: list[str]) -> list[str]:
        if problems := [problem for name in names for problem in problems_of_encoder(name)]:
            raise ValueError(" ".join(problems))
        return names

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, names: list[str]) -> list[str]:
        refuse_unknown("method", [name.partition("/")[0] for name in names], METHODS.names())
        return names

    @field_validator("benchmarks")
    @classmethod
    def _known_datasets(cls, benchmarks: dict[str, Benchmark]) -> dict[str, Benchmark]:
        for name, benchmark in benchmarks.items():
            if problem := name_problem(name):
                raise ValueError(problem)
            refuse_unknown("format", [benchmark.format], FORMATS.names())
            try:
                known = Manifest.read(benchmark.manifest or SPLITS / f"{name}.csv").datasets()
            except SplitError as error:
                raise ValueError(str(error)) from error
            refuse_unknown(f"dataset of benchmark {name}", benchmark.datasets or [], known)
        return benchmarks

    @model_validator(mode="after")
    def _known_method_encoders(self) -> _Config:
        if problems := problems_of_method_encoders(self):
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _known_method_datasets(self) -> _Config:
        if problems := problems_of_method_datasets(self):
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _known_variants(self) -> _Config:
        if problems := problems_of_variants(self):
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _usable_search(self) -> _Config:
        problems: list[str] = []
        if "search" in self.model_fields_set:
            known = [f"{benchmark}/{dataset}" for benchmark in self.benchmarks for dataset in self.datasets(benchmark)]
            problems += self.search.problems(self.settings_of, self.encoders, known)
        try:
            chosen = Chosen.read(self.searched)
        except ConfigError as error:
            raise ValueError("; ".join([*problems, f"searched: {error}"])) from error
        for where, method, settings in chosen:
            if method not in METHODS.names():
                problems.append(f"searched: {where}: no method {method!r}")
                continue
            rows = [row.partition("/")[2] for row in self.methods if row.partition("/")[0] == method]
            for variant in dict.fromkeys((DEFAULT_VARIANT, *filter(None, rows))):
                problems += problems_of_settings(self, method, variant, f"searched: {where} ({variant})", settings)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    # -- what the workflow asks ------------------------------------------------------------------------------

    def settings_of(
        self, method: str, variant: str = DEFAULT_VARIANT, chosen: Mapping[str, Any] = MappingProxyType({})
    ) -> Settings:
        """A method's settings with those that a search chose, and then its variant's differences, in their place."""
        base: Settings = getattr(self.settings, method)  # type: ignore[attr-defined]
        return type(base).model_validate({**base.model_dump(), **chosen, **self.variants_of(method)[variant]})

    def variants_of(self, method: str) -> dict[str, Mapping[str, Any]]:
        """Every known variant of a method -> the settings that differ: default, the built-in ones, this file's own.

        A variant of this file takes the place of a built-in one of the same name.
        """
        return {DEFAULT_VARIANT: {}, **METHODS.get(method).variants, **self.variants.get(method, {})}

    def encoders_of(self, method: str, variant: str = DEFAULT_VARIANT) -> list[str]:
        """The encoders that a method runs on; `TILES` alone for one that reads no features.

        What is given to a method is not for those of its variants that have encoders of their own.
        """
        cls = METHODS.get(method)
        own = list(cls.own_encoders(self.settings_of(method, variant)))
        if own == [TILES]:
            return own
        given = self.method_encoders.get(f"{method}/{variant}")
        if given is None and own == list(cls.own_encoders(self.settings_of(method))):
            given = self.method_encoders.get(method)
        return list(dict.fromkeys(given or own or self.encoders))

    def all_encoders(self) -> list[str]:
        """Every encoder of the configuration, run or not: those of all methods, and those of single ones."""
        rows = [row.partition("/") for row in self.methods]
        names = [name for method, _, variant in rows for name in self.encoders_of(method, variant or DEFAULT_VARIANT)]
        return [name for name in dict.fromkeys((*self.encoders, *names)) if name != TILES]

    def trained_as(self, method: str, variant: str) -> str:
        """The variant whose trained model predicts ``variant``.

        It is the first known one, in the order of `variants_of`, that has the same settings apart from those which
        matter only when the method predicts (`Method.sampling`); often ``variant`` itself. Which variants this
        configuration lists does not matter, so that another row in a table never trains a model again. A known
        variant that does not fit the method's settings here is passed over.
        """
        sampling = set(METHODS.get(method).sampling)
        wanted = self.settings_of(method, variant).model_dump(exclude=sampling)
        for other in self.variants_of(method):
            try:
                if other == variant or self.settings_of(method, other).model_dump(exclude=sampling) == wanted:
                    return other
            except ValidationError:
                continue
        return variant

    def genes_of(self, benchmark: str) -> Genes:
        """How a benchmark's genes are chosen."""
        return self.genes.model_copy(update=self.benchmarks[benchmark].genes.model_dump(exclude_none=True))

    def manifest(self, benchmark: str) -> Manifest:
        """The split manifest of a benchmark."""
        entry = self.benchmarks[benchmark]
        return Manifest.read(self.manifest_path(benchmark), by_slide=entry.split_by_slide)

    def manifest_path(self, benchmark: str) -> Path:
        """Path of the split manifest of a benchmark."""
        return self.benchmarks[benchmark].manifest or SPLITS / f"{benchmark}.csv"

    def datasets(self, benchmark: str) -> list[str]:
        """The datasets of a benchmark that this configuration runs."""
        return self.benchmarks[benchmark].datasets or self.manifest(benchmark).datasets()

    def root(self, benchmark: str) -> Path:
        """Where the benchmark's files are, or will be made."""
        return self.benchmarks[benchmark].root or self.mirror(benchmark) or self.results / "data" / benchmark

    def leaving_out(self, reasons: Mapping[str, str]) -> _Config:
        """This configuration without some encoders, with the reasons that the tables tell."""
        return self.model_copy(update={"not_run": {**self.not_run, **reasons}})

    def weights_mirror(self) -> Path | None:
        """The folder that encoders' weights are read from; None where they are downloaded."""
        return self.weights_root or self.data_root

    def weights_path(self, weights: Weights | Path) -> Path:
        """Where an encoder's weights are, or will be."""
        if isinstance(weights, Path):
            return weights
        place = repository(weights.repository)
        return (self.weights_mirror() or self.results / "weights") / place.folder / place.files[weights.file]

    def mirror(self, benchmark: str) -> Path | None:
        """The local mirror that a benchmark of the hub is read from; None where its files are downloaded."""
        entry = self.benchmarks[benchmark]
        if entry.repository is None or self.data_root is None or entry.root is not None:
            return None
        return self.data_root / repositories()[entry.repository].folder


def _config_model() -> type[_Config]:
    """The model with the settings of every method that is registered by now."""
    return _config_model_of(_settings_model(tuple(METHODS.names())))


@cache
def _config_model_of(settings: type[BaseModel]) -> type[_Config]:
    return create_model(
        "Config",
        __base__=_Config,
        settings=(settings, Field(default_factory=settings, description="settings of each method")),
    )


def Config(**values: Any) -> _Config:
    """Build a configuration from values; see `load` for a checked one from a file."""
    return _config_model()(**values)


def validate(values: Mapping[str, Any], where: str = "configuration") -> _Config:
    """A configuration from plain values.

    Raises
    ------
    ConfigError
        Every problem in one message: unknown keys (with the nearest known one), wrong types, unknown names.
    """
    plugins = values.get("plugins")
    if isinstance(plugins, list) and all(isinstance(path, (str, Path)) for path in plugins):
        load_plugins(plugins)
    try:
        return _config_model().model_validate(values)
    except ValidationError as error:
        told = "\n".join(f"  - {line}" for line in lines(error))
        raise ConfigError(
            f"{where} has {error.error_count()} problem(s):\n{told}\n"
            "Every key is listed in config/README.md with its type, default and unit."
        ) from error


def load(path: Path | str) -> _Config:
    """Read a configuration file; keys that it leaves out take their defaults.

    Raises
    ------
    ConfigError
        See `validate`; also a missing file or one that is not yaml.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        raise ConfigError(f"no configuration at {path}. Start from config/config.yaml.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not yaml: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys and values, not {type(values).__name__}.")
    return validate(values, str(path))
