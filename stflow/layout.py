"""Where every file lives: one set of path templates for the workflow and for the command line.

All paths hang below one results folder::

    data/<benchmark>/...                          what a source made or fetched, in its official format
    splits/<benchmark>.csv                        every fold as it was run, and what chose its epochs
    hub.json                                      which files of the hub are needed
    slides/<benchmark>/<slide>.h5ad               counts and spot centres, one format for all benchmarks
    tiles/<benchmark>/<slide>.h5                  img (N, 224, 224, 3) uint8, coords, barcode
    features/<encoder>/<benchmark>/<slide>.h5     features (N, D), barcodes, coords
    genes/<benchmark>/<dataset>/<protocol>.json   the genes of every fold
    map_genes/<benchmark>/<dataset>/<protocol>.json   that the genes which maps show are among them
    audit/<benchmark>/<dataset>/<protocol>.json   what leaks in every fold
    runs/<run>/{model.safetensors, history.csv, run.json, predictions.h5ad}
    refinement/<run>/<slide>.h5                   the network's guess at every sampling step, of a few genes
    efficiency/<method>/<variant>.{csv,json}      time and memory against spots, and the machine
    timings/<stage>/<run>.tsv                     what a job took: time, memory, GPUs
    search/<benchmark>/<dataset>/<encoder>/<method>/fold<n>/   trials and rankings of a search for settings
    search/<benchmark>/<dataset>/<encoder>/<method>.json       candidates in order, and the choice
    search/chosen.yaml                            the choices of all datasets
    metrics/<group>.parquet                       long: gene x slide x fold x seed x metric
    exports/<run>/<slide>.{h5ad, zarr}            predictions for other tools
    tables/, figures/, report.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from stflow.names import name_problem

#: Stands in an encoder's place where a method reads no features, but at most the tiles themselves.
TILES = "tiles"


@dataclass(frozen=True, slots=True)
class Group:
    """All folds and seeds of one benchmark x dataset x encoder x method x variant x protocol."""

    benchmark: str
    dataset: str
    encoder: str
    method: str
    variant: str
    protocol: str

    def __str__(self) -> str:
        return "/".join((self.benchmark, self.dataset, self.encoder, self.method, self.variant, self.protocol))

    @classmethod
    def parse(cls, text: str) -> Group:
        """Inverse of ``str(group)``; raises ``ValueError`` on another form."""
        parts = text.strip("/").split("/")
        if len(parts) != 6:
            raise ValueError(f"{text!r} is not benchmark/dataset/encoder/method/variant/protocol")
        if problems := [problem for part in parts if (problem := name_problem(part))]:
            raise ValueError(problems[0])
        return cls(*parts)

    def run(self, fold: int, seed: int) -> Run:
        """One run of this group."""
        return Run(self, fold, seed)


@dataclass(frozen=True, slots=True)
class Run:
    """One training: a group, a fold and a seed. Its name is a path: ``<group>/fold0/seed1``."""

    group: Group
    fold: int
    seed: int

    def __str__(self) -> str:
        return f"{self.group}/fold{self.fold}/seed{self.seed}"

    @classmethod
    def parse(cls, text: str) -> Run:
        """Inverse of ``str(run)``; raises ``ValueError`` on another form."""
        head, _, tail = text.strip("/").rpartition("/fold")
        fold, _, seed = tail.partition("/seed")
        if not (fold.isdigit() and seed.isdigit()):
            raise ValueError(f"{text!r} is not <group>/fold<number>/seed<number>")
        return cls(Group.parse(head), int(fold), int(seed))

    def of_variant(self, variant: str) -> Run:
        """The run of another variant, the same in all else."""
        return replace(self, group=replace(self.group, variant=variant))

    @property
    def names(self) -> tuple[str | int, ...]:
        """What the run's random generators are named after, the seed aside."""
        g = self.group
        return (g.benchmark, g.dataset, g.encoder, g.method, g.variant, g.protocol, self.fold)


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one results folder. Takes strings (also Snakemake wildcards), gives ``Path``."""

    results: Path

    def data(self, benchmark: str) -> Path:
        return self.results / "data" / benchmark

    def splits(self, benchmark: str) -> Path:
        return self.results / "splits" / f"{benchmark}.csv"

    def slide(self, benchmark: str, slide: str) -> Path:
        return self.results / "slides" / benchmark / f"{slide}.h5ad"

    def tiles(self, benchmark: str, slide: str) -> Path:
        return self.results / "tiles" / benchmark / f"{slide}.h5"

    def features(self, encoder: str, benchmark: str, slide: str) -> Path:
        return self.results / "features" / encoder / benchmark / f"{slide}.h5"

    def features_part(self, encoder: str, benchmark: str, part: str) -> Path:
        """Mark that a job of several slides is through; their features wait beside it, in ``.kept``."""
        return self.results / "features" / encoder / benchmark / ".parts" / part

    def kept_features(self, encoder: str, benchmark: str, slide: str) -> Path:
        """A second name of a features file, which the workflow does not know and so does not delete."""
        return self.results / "features" / encoder / benchmark / ".kept" / f"{slide}.h5"

    def genes(self, benchmark: str, dataset: str, protocol: str) -> Path:
        return self.results / "genes" / benchmark / dataset / f"{protocol}.json"

    def map_genes(self, benchmark: str, dataset: str, protocol: str) -> Path:
        return self.results / "map_genes" / benchmark / dataset / f"{protocol}.json"

    def audit(self, benchmark: str, dataset: str, protocol: str) -> Path:
        return self.results / "audit" / benchmark / dataset / f"{protocol}.json"

    def run_dir(self, run: Run | str) -> Path:
        return self.results / "runs" / str(run)

    def model(self, run: Run | str) -> Path:
        return self.run_dir(run) / "model.safetensors"

    def history(self, run: Run | str) -> Path:
        return self.run_dir(run) / "history.csv"

    def run_json(self, run: Run | str) -> Path:
        return self.run_dir(run) / "run.json"

    def predictions(self, run: Run | str) -> Path:
        return self.run_dir(run) / "predictions.h5ad"

    def refinement(self, run: Run | str, slide: str) -> Path:
        return self.results / "refinement" / str(run) / f"{slide}.h5"

    def efficiency(self, measured: str, suffix: str) -> Path:
        """``measured`` is ``method/variant``."""
        return self.results / "efficiency" / f"{measured}.{suffix}"

    def timing(self, stage: str, run: Run | str) -> Path:
        return self.results / "timings" / stage / f"{run}.tsv"

    def metrics(self, group: Group | str) -> Path:
        return self.results / "metrics" / f"{group}.parquet"

    def table(self, name: str, suffix: str) -> Path:
        return self.results / "tables" / f"{name}.{suffix}"

    def figure(self, name: str, suffix: str) -> Path:
        return self.results / "figures" / f"{name}.{suffix}"

    def search_fold(self, benchmark: str, dataset: str, encoder: str, method: str, fold: int | str) -> Path:
        return self.results / "search" / benchmark / dataset / encoder / method / f"fold{fold}"

    def search_choice(self, benchmark: str, dataset: str, encoder: str, method: str) -> Path:
        return self.results / "search" / benchmark / dataset / encoder / f"{method}.json"

    def export(self, run: Run | str, slide: str, suffix: str) -> Path:
        return self.results / "exports" / str(run) / f"{slide}.{suffix}"

    @property
    def search_chosen(self) -> Path:
        return self.results / "search" / "chosen.yaml"

    @property
    def hub_request(self) -> Path:
        """The hub's files that the configuration needs."""
        return self.results / "hub.json"

    @property
    def report(self) -> Path:
        return self.results / "report.html"
