"""The paper's tables of scores, each as sections of rows and columns: tables 1 to 5 and 9 to 13.

Every table has the paper's own section(s). What a configuration runs beside the paper's datasets and encoders gets
sections of its own, of the same form, in front of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stflow.layout import TILES
from stflow.report.columns import encoder_label
from stflow.report.paper.datasets import ENCODER_LABELS, ENCODERS, as_run, average, averages, datasets
from stflow.report.paper.grid import Entry, Key, Section

#: benchmark -> the names of its datasets, as they were run.
Benchmarks = Mapping[str, Sequence[str]]
#: (benchmark, dataset, gene) of the maps of a configuration.
Genes = Sequence[tuple[str, str, str]]

_FOREST, _STFLOW = "random_forest", "stflow"
#: The encoder of ST-Net's frozen features.
_STNET_ENCODER = "densenet121+views"


def _entry(label: str, method: str, encoder: str = "", variant: str = "default", printed: str = "") -> Entry:
    return Entry(label, Key(encoder=encoder, method=method, variant=variant), printed or label)


#: Columns of table 1.
MAIN = (
    _entry("Ciga", _FOREST, "ciga"),
    _entry("UNI", _FOREST, "uni"),
    _entry("GigaPath", _FOREST, "gigapath", printed="Gigapath"),
    _entry("ST-Net", "stnet", _STNET_ENCODER, printed="STNet"),
    _entry("BLEEP", "bleep", "uni"),
    _entry("GigaPath-slide", _FOREST, "gigapath_slide", printed="Gigapath-slide"),
    _entry("HisToGene", "histogene", TILES),
    _entry("TRIPLEX", "triplex", "uni"),
    _entry("STFlow", _STFLOW, "uni"),
)
#: Rows of table 2, whose genes are those of `BIOMARKERS`.
_MARKED = (
    _entry("UNI", _FOREST, "uni"),
    _entry("ST-Net", "stnet", _STNET_ENCODER, printed="STNet"),
    _entry("BLEEP", "bleep", "uni"),
    _entry("TRIPLEX", "triplex", "uni"),
    _entry("STFlow", _STFLOW, "uni"),
    _entry("STFlow w/o FM", _STFLOW, "uni", "wo_fm", printed="STFlow_wo_FM"),
)
BIOMARKERS = (("IDC", "GATA3"), ("IDC", "ERBB2"), ("LUNG", "UBE2C"), ("SKCM", "VWF"))

#: Families of table 3, 11 and 12, of 4 and 9, and of 10: method and variant.
_EGNN, _E2CNN = _entry("EGNN", _STFLOW, variant="egnn"), _entry("E2CNN", _STFLOW, variant="e2cnn")
_BLEEP, _TRIPLEX, _FLOW = _entry("BLEEP", "bleep"), _entry("TRIPLEX", "triplex"), _entry("STFlow", _STFLOW)
_WO_FM = _entry("w/o FM", _STFLOW, variant="wo_fm", printed="wo_FM")
_WO_FA = _entry("w/o FA", _STFLOW, variant="wo_fa", printed="wo_FA")
_PRIORS = (
    _entry("Gaussian", _STFLOW, variant="prior_gaussian"),
    _entry("Zero", _STFLOW, variant="prior_zero"),
    _entry("ZINB", _STFLOW),
)
#: Columns of table 5: one step is the variant without flow matching, five are the method as it is.
_STEPS = (
    _entry("1 step", _STFLOW, variant="wo_fm", printed="S1"),
    _entry("2", _STFLOW, variant="steps_2", printed="S2"),
    _entry("5", _STFLOW, printed="S5"),
    _entry("10", _STFLOW, variant="steps_10", printed="S10"),
    _entry("16", _STFLOW, variant="steps_16", printed="S16"),
)
#: Columns of table 13; (0.1, 1) is the method as it is.
_ZINB = tuple(
    _entry(f"({mu}, {phi})", _STFLOW, variant="default" if (mu, phi) == (0.1, 1) else f"zinb_{mu}_{phi}")
    for phi in (1, 2, 4)
    for mu in (0.1, 0.2, 0.4)
)


@dataclass(frozen=True)
class PaperTable:
    """A table: number, title, what a reader must know, and its sections.

    ``section(benchmark, datasets, encoders, labels, source)`` makes one of them for any benchmark; ``source`` is the
    printed table or None. ``encoders`` are the paper's for this table.
    """

    name: str
    title: str
    note: str
    source: str
    encoders: tuple[str, ...]
    section: Callable[[tuple[Entry, ...], tuple[str, ...], str, str | None], Section]

    def paper_sections(self) -> list[Section]:
        """The paper's own."""
        return [self.section(datasets("hest"), self.encoders, "HEST", self.source)]

    def sections_as_run(self, ran: Benchmarks, encoders: Mapping[str, Sequence[str]]) -> list[Section]:
        """Of what is run beside the paper's: ``encoders`` are those of STFlow, benchmark by benchmark."""
        found = []
        for benchmark, names in ran.items():
            theirs = self.encoders if benchmark == "hest" else ()
            others = tuple(name for name in encoders.get(benchmark, ()) if name not in theirs)
            if others:
                found.append(self.section(as_run(benchmark, list(names)), others, benchmark, None))
        return found


def _on_encoders(family: Sequence[Entry], encoders: Sequence[str], *, paper: bool) -> tuple[Entry, ...]:
    """Every entry of a family on every encoder; with their names in the label where there are several."""
    return tuple(
        Entry(
            f"{entry.label}, {_label(encoder)}" if len(encoders) > 1 else entry.label,
            Key(encoder=encoder, method=entry.key.method, variant=entry.key.variant),
            f"{entry.printed}/{ENCODERS[encoder]}" if paper else "",
        )
        for entry in family
        for encoder in encoders
    )


def _label(encoder: str) -> str:
    return ENCODER_LABELS.get(encoder, encoder_label(encoder))


def _by_dataset(*family: Entry) -> Callable[..., Section]:
    """Rows of datasets, columns of a family on every encoder (tables 10 to 12)."""

    def section(rows: tuple[Entry, ...], encoders: tuple[str, ...], heading: str, source: str | None) -> Section:
        body = (*rows, average(rows)) if source else rows
        return Section(_heading(heading, encoders), body, _on_encoders(family, encoders, paper=bool(source)), source)

    return section


def _by_setting(*columns: Entry, printed_average: bool) -> Callable[..., Section]:
    """Rows of datasets, columns of settings on one encoder (tables 5 and 13)."""

    def section(rows: tuple[Entry, ...], encoders: tuple[str, ...], heading: str, source: str | None) -> Section:
        body = (*rows, average(rows, printed="average" if printed_average else "mean of cells")) if source else rows
        if source:
            told = tuple(Entry(c.label, _of(c, encoders[0]), c.printed.replace(", ", ",")) for c in columns)
        else:
            told = _on_encoders(columns, encoders, paper=False)
        return Section(_heading(heading, encoders), body, told, source)

    return section


def _by_encoder(*columns: Entry) -> Callable[..., Section]:
    """Rows of encoders, columns of methods, averages over datasets (tables 3 and 4)."""

    def section(rows: tuple[Entry, ...], encoders: tuple[str, ...], heading: str, source: str | None) -> Section:
        inner = rows if source else tuple(row for row in rows if not row.key.over)
        what = average(inner).key if len(inner) > 1 else inner[0].key
        body = tuple(
            Entry(_label(name), Key(what.benchmark, what.dataset, name, over=what.over), ENCODERS.get(name, ""))
            for name in encoders
        )
        told = f"{heading}, {'average of ' + str(len(inner)) + ' datasets' if len(inner) > 1 else inner[0].label}"
        return Section(told, body, columns, source)

    return section


def _by_variant(*family: Entry) -> Callable[..., Section]:
    """Rows of encoders and variants, columns of datasets (table 9)."""

    def section(rows: tuple[Entry, ...], encoders: tuple[str, ...], heading: str, source: str | None) -> Section:
        body = tuple(
            Entry(
                f"{_label(encoder)}, {entry.label}",
                _of(entry, encoder),
                f"{ENCODERS[encoder]}/{entry.printed}" if source else "",
            )
            for encoder in encoders
            for entry in family
        )
        return Section(heading, body, (*rows, average(rows)) if source else rows, source, "column")

    return section


def _of(entry: Entry, encoder: str) -> Key:
    return Key(encoder=encoder, method=entry.key.method, variant=entry.key.variant)


def _heading(heading: str, encoders: Sequence[str]) -> str:
    return f"{heading}, {_label(encoders[0])}" if len(encoders) == 1 else heading


_THREE = tuple(ENCODERS)
_AVERAGES = "Each number is the mean over the datasets of the section."

#: Tables 3 to 5 and 9 to 13; tables 1 and 2 have sections of their own below.
ABLATIONS: Mapping[str, PaperTable] = {
    table.name: table
    for table in (
        PaperTable(
            "table3",
            "Table 3: architectures by encoder",
            f"EGNN and E2CNN take the place of STFlow's attention, inside flow matching. {_AVERAGES}",
            "table3",
            _THREE,
            _by_encoder(_EGNN, _E2CNN, _BLEEP, _TRIPLEX, _FLOW),
        ),
        PaperTable(
            "table4",
            "Table 4: STFlow without flow matching, without frame averaging",
            f"w/o FM: one sampling step of the trained model; w/o FA: attention without positions. {_AVERAGES}",
            "table4",
            _THREE,
            _by_encoder(_WO_FM, _WO_FA, _FLOW),
        ),
        PaperTable(
            "table5",
            "Table 5: sampling steps",
            "Steps S of one and the same trained model, from the same noise.",
            "table5_steps_uni",
            ("uni",),
            _by_setting(*_STEPS, printed_average=True),
        ),
        PaperTable(
            "table9",
            "Table 9: ablation by dataset",
            "As table 4, dataset by dataset.",
            "table9_ablation",
            _THREE,
            _by_variant(_FLOW, _WO_FM, _WO_FA),
        ),
        PaperTable(
            "table10",
            "Table 10: where the flow starts",
            "Priors of the flow: Gaussian noise, zeros, or zero-inflated negative binomial counts.",
            "table10_prior",
            _THREE,
            _by_dataset(*_PRIORS),
        ),
        PaperTable(
            "table11",
            "Table 11: E(2) architectures by dataset",
            "As table 3's EGNN and E2CNN, dataset by dataset.",
            "table11_e2arch",
            _THREE,
            _by_dataset(_EGNN, _E2CNN, _FLOW),
        ),
        PaperTable(
            "table12",
            "Table 12: methods by encoder and dataset",
            "As table 3's BLEEP, TRIPLEX and STFlow, dataset by dataset.",
            "table12_pfm",
            _THREE,
            _by_dataset(_BLEEP, _TRIPLEX, _FLOW),
        ),
        PaperTable(
            "table13",
            "Table 13: the ZINB prior's mean and dispersion",
            "(mu, phi) of the zero-inflated negative binomial prior.",
            "table13_zinb_mu_phi_uni",
            ("uni",),
            _by_setting(*_ZINB, printed_average=False),
        ),
    )
}

#: Titles and notes of all tables of this module.
TITLES = {
    "table1": ("Table 1: Pearson correlation", ""),
    "table2": ("Table 2: biomarkers", "Pearson correlation of one gene; mean over the folds whose list holds it."),
    **{name: (table.title, table.note) for name, table in ABLATIONS.items()},
}


def main_sections() -> list[Section]:
    """The paper's table 1: nine methods on ten and on seven datasets, with averages."""
    return [
        Section(heading, (*entries, *averages(entries)), MAIN, source)
        for heading, entries, source in (
            ("HEST", datasets("hest"), "table1_hest"),
            ("STImage-1K4M", datasets("stimage"), "table1_stimage"),
        )
    ]


def biomarker_sections(genes: Genes, encoders: Mapping[str, Sequence[str]]) -> list[Section]:
    """Table 2: the paper's genes, and in front of them those of the configuration's maps that are not among these.

    ``encoders`` are those of STFlow, benchmark by benchmark; methods with one of their own keep it.
    """
    theirs = tuple(Entry(gene, Key("hest", dataset, gene=gene), gene) for dataset, gene in BIOMARKERS)
    found = []
    for benchmark, names in encoders.items():
        ours = tuple(
            Entry(f"{gene} ({dataset})", Key(where, dataset, gene=gene))
            for where, dataset, gene in dict.fromkeys(genes)
            if where == benchmark and not (where == "hest" and (dataset, gene) in BIOMARKERS)
        )
        for name in names if ours else ():
            forest = Entry("Random forest", _MARKED[0].key)
            rows = tuple(entry.on(name) for entry in (forest, *_MARKED[1:]))
            found.append(Section(_heading(benchmark, [name]), rows, ours, best="column"))
    return [*found, Section("HEST", _MARKED, theirs, "table2_biomarkers", "column")]


def sections(name: str, ran: Benchmarks, encoders: Mapping[str, Sequence[str]], genes: Genes) -> list[Section]:
    """All sections of a table, what was run beside the paper's first.

    Parameters
    ----------
    name
        ``table1`` to ``table5``, ``table9`` to ``table13``.
    ran
        What was run: benchmark -> datasets.
    encoders
        Benchmark -> the encoders that STFlow ran on.
    genes
        (benchmark, dataset, gene) of the configuration's maps.
    """
    if name == "table1":
        return main_sections()
    if name == "table2":
        return biomarker_sections(genes, encoders)
    table = ABLATIONS[name]
    return [*table.sections_as_run(ran, encoders), *table.paper_sections()]


def rows_of(name: str) -> set[tuple[str, str]]:
    """(method, variant) of every cell of a table: what its job reads."""
    found = sections(name, {"any": ["any"]}, {"any": ["any"]}, [("any", "any", "any")])
    return {(key.method, key.variant) for section in found for _, _, key in section.cells()}
