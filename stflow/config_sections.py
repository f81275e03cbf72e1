"""The sections of the configuration: where benchmarks come from, genes, tiles, features, trainings, figures."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from stflow.data.hub.manifest import repositories
from stflow.data.splits import Protocol


def unit(name: str) -> dict[str, Any]:
    """Extra schema of a field with a unit; the docs table prints it."""
    return {"unit": name}


class Model(BaseModel):
    """Base of every configuration section: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


#: The method as it is, without a variant's differences.
DEFAULT_VARIANT = "default"

#: How genes are chosen, see `stflow.data.genes`; anything else is the path of a list.
GENE_CHOICES = ("official", "all", "train")


def _gene_choice(value: str) -> str:
    """Refuse a word that is neither a choice nor a path."""
    if value in GENE_CHOICES or "/" in value or Path(value).suffix in (".json", ".txt"):
        return value
    near = difflib.get_close_matches(value, GENE_CHOICES, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{value!r} is not official, all, train or the path of a gene list (.json or .txt).{hint}")


def _leak_free_choice(value: str) -> str:
    """Refuse, for the clean protocol, a choice that looks at the test slides."""
    if value in ("official", "all"):
        raise ValueError(
            f"{value!r} genes are chosen on the test slides too, so scores would leak: take train, or the path of a "
            "list of your own; the paper protocol takes official and all"
        )
    return value


GeneChoice = Annotated[str, AfterValidator(_gene_choice)]
CleanGeneChoice = Annotated[str, AfterValidator(_gene_choice), AfterValidator(_leak_free_choice)]


#: The cheap rows, then the paper's methods in the order of its table 1, where the forest has a column an encoder.
PAPER_METHODS = (
    *("mean", "ridge", "ridge/alpha_cv", "ridge/smoothed", "ridge/neighbours", "knn", "mlp"),
    *("random_forest", "stnet", "stnet/finetuned", "bleep", "histogene", "triplex", "stflow"),
)

#: Which numbers STFlow's ZINB prior takes beside the default's (0.1, 1), in the order of table 13: mu, phi.
_ZINB_GRID = ((0.2, 1), (0.4, 1), (0.1, 2), (0.2, 2), (0.4, 2), (0.1, 4), (0.2, 4), (0.4, 4))

#: The rows of the paper's ablations of STFlow on one encoder (its tables 5 and 13), and on three (3, 4, 9 to 11).
PAPER_ABLATIONS_UNI = (
    *("stflow/steps_2", "stflow/steps_10", "stflow/steps_16"),
    *(f"stflow/zinb_{mu}_{phi}" for mu, phi in _ZINB_GRID),
)
PAPER_ABLATIONS = (
    *("stflow/wo_fm", "stflow/wo_fa", "stflow/egnn", "stflow/e2cnn", "stflow/prior_zero", "stflow/prior_gaussian"),
    *PAPER_ABLATIONS_UNI,
)

#: The paper's ablations are of the datasets of HEST, and what it prints is of its own protocol.
PAPER_METHOD_DATASETS: Mapping[str, tuple[str, ...]] = dict.fromkeys(PAPER_ABLATIONS, ("hest@paper",))

#: Which of the paper's encoders a method runs on, where not on all four: those of tables 3 and 12, and for rows that
#: the paper does not have the one of its main results.
PAPER_METHOD_ENCODERS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("bleep", "triplex", "stflow"), ("ciga", "uni", "gigapath")),
    **dict.fromkeys(PAPER_ABLATIONS_UNI, ("uni",)),
    **dict.fromkeys(("ridge/alpha_cv", "ridge/smoothed", "ridge/neighbours", "knn", "mlp"), ("uni",)),
}


class Genes(Model):
    """Which genes are predicted."""

    paper: GeneChoice = Field(
        "official",
        description="genes of the paper protocol; official: the dataset's own list, or as all where it has none; all: "
        "the most variable of all slides; train: of each fold's training slides; or the path of a list",
    )
    clean: CleanGeneChoice = Field("train", description="genes of the clean protocol: train, or the path of a list")
    n: int = Field(50, gt=0, description="genes to choose; a list is taken whole", json_schema_extra=unit("genes"))


class BenchmarkGenes(Model):
    """What differs from `Genes` in one benchmark."""

    paper: GeneChoice | None = Field(None, description="as genes.paper, which is the default")
    clean: CleanGeneChoice | None = Field(None, description="as genes.clean, which is the default")
    n: int | None = Field(None, gt=0, description="as genes.n, which is the default", json_schema_extra=unit("genes"))


class Benchmark(Model):
    """One benchmark: where its slides come from, how they are laid out, which datasets to run."""

    source: Literal["folder", "hub", "demo", "her2st"] = Field(
        "folder",
        description="folder: already on disk; hub: downloaded from Hugging Face, or from its mirror below data_root; "
        "demo: made on the spot; her2st: pack folder or public download",
    )
    repository: str | None = Field(None, description="hub only: repository with the files, one of resources/hub.json")
    format: str = Field("hest_bench", description="layout of the files: hest, hest_bench, stimage, or a plug-in's name")
    root: Path | None = Field(
        None,
        description="folder with the files; default <results>/data/<benchmark>, filled by the source, or for source "
        "hub its mirror below data_root",
    )
    pack: Path | None = Field(None, description="her2st only: folder with the study's files; default: download them")
    datasets: list[str] | None = Field(None, description="datasets to run; default: all of the split manifest")
    manifest: Path | None = Field(None, description="split manifest; default resources/splits/<benchmark>.csv")
    split_by_slide: bool = Field(
        False,
        description="the paper protocol's folds may share patients, as STImage-1K4M's random 8:1:1 does",
    )
    genes: BenchmarkGenes = Field(default_factory=BenchmarkGenes, description="genes of this benchmark alone")
    mpp: float | None = Field(
        None,
        gt=0,
        description="um/px of slides whose files and metadata do not tell it; what they tell goes first",
        json_schema_extra=unit("um/px"),
    )
    gene_groups: Path | None = Field(
        None,
        description="JSON of named gene lists to score apart, relative to root; the demo's planted truth",
    )

    @model_validator(mode="after")
    def _known_repository(self) -> Benchmark:
        known = [name for name, entry in repositories().items() if entry.kind == "dataset"]
        if self.source == "hub" and self.repository is None:
            raise ValueError(f"source hub needs a repository: {', '.join(known)}")
        if self.source != "hub" and self.repository is not None:
            raise ValueError(f"repository {self.repository!r} is for source hub, not for source {self.source}")
        refuse_unknown("repository", [self.repository] if self.repository else [], known)
        return self


class Tiling(Model):
    """How tiles are cut."""

    tile_um: float = Field(112.0, gt=0, description="side of a tile on the tissue", json_schema_extra=unit("um"))
    tile_px: int = Field(224, gt=0, description="side of a tile as the encoder sees it", json_schema_extra=unit("px"))
    crop: Literal["spot", "pixels"] = Field(
        "spot",
        description="tile of a format whose tile is the spot itself, as stimage's; spot: the square of side 2 r around "
        "it; pixels: tile_px level-0 px around its centre",
    )
    min_tissue: float = Field(
        0.15,
        ge=0,
        le=1,
        description="a spot is kept if this share of its tile is tissue",
        json_schema_extra=unit("share"),
    )
    max_unreadable: float = Field(
        0.01,
        ge=0,
        le=1,
        description="tiles with damaged pixels are left out and named; a slide with more than this share of them fails",
        json_schema_extra=unit("share"),
    )


class Embedding(Model):
    """How features are computed."""

    batch_size: int | None = Field(
        None,
        gt=0,
        description="tiles a batch; default: found from the GPU's free memory, and on a CPU what is fastest there",
        json_schema_extra=unit("tiles"),
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="arithmetic of the encoder")
    threads: int = Field(1, gt=0, description="CPU threads a job", json_schema_extra=unit("threads"))
    workers: int | None = Field(
        None,
        ge=0,
        description="processes that read tiles ahead; default: 4 for an encoder on a GPU, else a thread",
        json_schema_extra=unit("processes"),
    )
    slides_per_job: int | None = Field(
        None,
        gt=0,
        description="slides that share a job and a loading of the weights; default: 8 for an encoder on a GPU, else 1",
        json_schema_extra=unit("slides"),
    )


class Training(Model):
    """What all trainings share; a method's own settings are under `settings`."""

    threads: int = Field(
        1,
        gt=0,
        description="CPU threads a job; part of the result's identity, as sums depend on it",
        json_schema_extra=unit("threads"),
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where one is leased, else CPU")
    jobs_per_gpu: int = Field(
        1,
        gt=0,
        description="jobs that may share a GPU at the same time",
        json_schema_extra=unit("jobs"),
    )


class Biomarker(Model):
    """One map: a gene on a slide."""

    benchmark: str = Field(description="benchmark of the slide")
    slide: str = Field(description="slide name")
    gene: str = Field(description="gene symbol")
    protocol: Protocol | None = Field(
        None, description="protocol whose predictions are drawn; default: figures.biomarker_protocol"
    )


#: Colour maps that are known without asking matplotlib, whose import takes longer than planning.
_KNOWN_COLORMAPS = ("coolwarm", "cividis", "viridis", "magma", "inferno", "plasma", "RdBu_r")


def _colormap(value: str) -> str:
    """Refuse what is no colour map of matplotlib."""
    if value not in _KNOWN_COLORMAPS:
        import matplotlib

        if value not in (known := list(matplotlib.colormaps)):
            near = difflib.get_close_matches(value, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"matplotlib has no colour map {value!r}.{hint} The paper's is coolwarm; viridis, cividis and magma "
                "are safe for the colour-blind."
            )
    return value


class Figures(Model):
    """What is drawn."""

    biomarkers: list[Biomarker] = Field(
        default_factory=list,
        description="maps of measured and predicted expression: a figure each, for every encoder",
    )
    figure4: list[Biomarker] | None = Field(
        None,
        description="maps that are the rows of figure 4, entries as of biomarkers; default: the paper's that are run",
    )
    figure6: list[Biomarker] | None = Field(
        None,
        description="the same of figure 6, STFlow's guess at every sampling step; default: the paper's that are run",
    )
    figure7: list[Biomarker] | None = Field(None, description="the same of figure 7; default: the paper's that are run")
    biomarker_protocol: Protocol = Field(
        "clean", description="protocol whose predictions are drawn where a map does not name its own"
    )
    methods: list[str] | None = Field(
        None,
        description="panels of maps in their order, `method[/variant][@encoder]`; default: all rows of `methods`, and "
        "for the paper's own maps the paper's",
    )
    histograms: list[str] | None = Field(
        None,
        description="benchmark/dataset whose counts are drawn; default: those of the paper's figure 2 that are run",
    )
    colormap: Annotated[str, AfterValidator(_colormap)] = Field(
        "coolwarm",
        description="matplotlib colour map of maps; viridis, cividis and magma are safe for the colour-blind",
    )
    width: Literal["double", "single"] = Field(
        "double", description="width of maps and of figure 5; double: 180 mm, two columns; single: 88 mm, one column"
    )


class Efficiency(Model):
    """What time and memory are measured on (figure 5, table 6); methods at their default settings."""

    methods: list[str] = Field(
        default_factory=lambda: ["stflow", "triplex", "histogene"],
        description="`method` or `method/variant` to measure; none: nothing is measured, which is the default where "
        "`benchmarks` is given",
    )
    spots: list[Annotated[int, Field(gt=1)]] = Field(
        default_factory=lambda: [1_000, 5_000, 10_000, 20_000, 30_000],
        min_length=1,
        description="sizes of the slide",
        json_schema_extra=unit("spots"),
    )
    what: list[Literal["predict", "train"]] = Field(
        default_factory=lambda: ["predict"],  # type: ignore[arg-type]
        min_length=1,
        description="predict: the whole slide, as the paper's figure 5; train: one step on all of its spots",
    )
    repeats: int = Field(5, gt=0, description="runs in a process; the median counts", json_schema_extra=unit("runs"))
    features: int = Field(1024, gt=0, description="size of the features", json_schema_extra=unit("features"))
    genes: int = Field(50, gt=0, description="genes that are predicted", json_schema_extra=unit("genes"))
    limit_s: float = Field(
        600.0, gt=0, description="most time of one measurement's process", json_schema_extra=unit("s")
    )
    limit_gb: float = Field(
        32.0,
        gt=0,
        description="most memory that a measurement on the CPU may take; a GPU's own memory is its limit",
        json_schema_extra=unit("GB"),
    )


def refuse_unknown(kind: str, names: list[str], known: list[str]) -> None:
    """Raise ``ValueError`` if a name is not known; the message has the nearest one."""
    problems = []
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            problems.append(f"no {kind} {name!r}; known are {', '.join(known)}.{hint}")
    if problems:
        raise ValueError(" ".join(problems))
