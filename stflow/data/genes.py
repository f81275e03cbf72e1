"""Which genes are predicted: the dataset's own list, the most variable ones by a recipe, or a list of the user's.

- ``official``: the dataset's own list; where it has none, as ``all``.
- ``all``: the recipe of `stflow.data.variable_genes` on all slides, those of the test fold too, as was published.
- ``train``: the recipe on each fold's development slides alone. Of the other slides only the symbols are looked at, as
  a gene that was not measured there cannot be scored.
- ``list``: a file of the user's, ``{"genes": [...]}`` or one symbol a line.

``clean`` takes ``train`` or ``list``: the first two look at the expression of the test slides. What a list of the
user's was made from is the user's to know; the genes file says that it is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stflow.data.slide import Slide, read_slide
from stflow.data.splits import Manifest
from stflow.data.variable_genes import RECIPES, GeneSums, variable_genes
from stflow.errors import GeneError, IntegrityError, LeakageError
from stflow.io import SCHEMA_VERSION, read_json, write_json
from stflow.layout import Layout

CHOICES = ("official", "all", "train", "list")


def make_genes(
    results: Path,
    benchmark: str,
    dataset: str,
    protocol: str,
    manifest: Path,
    out: Path,
    *,
    choice: str,
    n_genes: int,
    recipe: str = "hest",
    gene_list: Path | None = None,
    by_slide: bool = False,
) -> None:
    """Write ``genes/<benchmark>/<dataset>/<protocol>.json``: the genes of every fold.

    ``chosen_on`` names the slides whose counts decided a fold's list. A list that came with the dataset counts as
    chosen on all of its slides, as the published ones were; of the user's own list nothing is known.

    Parameters
    ----------
    results
        Results folder; the slide files of all of the dataset's slides must be there. They are read one at a time.
    benchmark, dataset, protocol
        Names; the protocol is ``paper`` or ``clean``.
    manifest
        Split manifest.
    out
        JSON to write.
    choice
        See the module.
    n_genes
        Genes to choose; a list is taken whole.
    recipe
        A name of `stflow.data.variable_genes.RECIPES`.
    gene_list
        The list's file: the user's for ``list``; for ``official`` the dataset's own, if it has one.
    by_slide
        The paper protocol's folds may share patients.

    Raises
    ------
    LeakageError
        The clean protocol with a choice that looks at the test slides.
    GeneError
        An unknown choice or recipe, a listed gene that some slide lacks, or fewer candidates than ``n_genes``.
    """
    where = f"{benchmark}/{dataset} ({protocol})"
    if choice not in CHOICES or recipe not in RECIPES:
        raise GeneError(
            f"{where}: genes {choice!r} by recipe {recipe!r} are unknown. Take one of {', '.join(CHOICES)} and one of "
            f"{', '.join(RECIPES)}."
        )
    if protocol == "clean" and choice in ("official", "all"):
        raise LeakageError(
            f"{where}: genes {choice!r} are chosen on the test slides too, so scores would leak. "
            "Take train, or a list of your own."
        )
    folds = Manifest.read(manifest, by_slide=by_slide)
    indices = folds.folds(dataset, protocol)
    layout = Layout(Path(results))
    slides = {name: layout.slide(benchmark, name) for name in folds.slides(dataset)}
    words = RECIPES[recipe].words
    chosen_on = {index: tuple(slides) for index in indices}
    if choice in ("official", "list") and gene_list is not None:
        genes = listed_genes(gene_list, map(read_slide, slides.values()))
        source = f"{'the dataset' if choice == 'official' else 'the user'}'s own list, {gene_list.name}"
        if choice == "list":
            chosen_on = {}
        chosen = dict.fromkeys(indices, genes)
    elif choice == "list":
        raise GeneError(f"{where}: no gene list is named. Give its path.")
    else:
        sums = {name: GeneSums.of(read_slide(path)) for name, path in slides.items()}
        if choice == "train":
            source = f"{words} on each fold's development slides"
            chosen_on = {index: folds.fold(dataset, protocol, index).development for index in indices}
            shared = set.intersection(*(set(slide.genes) for slide in sums.values()))
            chosen = {}
            for index in indices:
                seen = [sums[name] for name in chosen_on[index]]
                chosen[index] = variable_genes(seen, n_genes, f"{where} fold {index}", recipe=recipe, among=shared)
        else:
            source = f"{words} on all slides"
            if choice == "official":
                source += ", as the dataset has no list of its own"
            genes = variable_genes(list(sums.values()), n_genes, where, recipe=recipe)
            chosen = dict.fromkeys(indices, genes)
    write_json(
        out,
        {
            "schema": SCHEMA_VERSION,
            "choice": choice,
            "source": source,
            "folds": {str(index): list(chosen[index]) for index in indices},
            "chosen_on": {str(index): list(names) for index, names in chosen_on.items()},
        },
    )


def listed_genes(path: Path, slides: Iterable[Slide]) -> list[str]:
    """The genes of a list file, after a check that every slide has them.

    Parameters
    ----------
    path
        ``{"genes": ["GATA3", "ERBB2"]}`` in a file named .json, else one symbol a line.
    slides
        Slides to check, one after another.

    Raises
    ------
    GeneError
        The file is missing, empty or not a list, names a gene twice, or some slides lack some of its genes: all of them
        named.
    """
    genes = read_gene_list(path)
    problems = []
    for slide in slides:
        known = set(slide.genes)
        missing = [gene for gene in genes if gene not in known]
        if missing:
            problems.append(f"slide {slide.name} lacks {', '.join(missing)}")
    if problems:
        raise GeneError(
            f"{path}: {'; '.join(problems)}. Remove those genes from the list, or take slides that measured them."
        )
    return genes


def read_gene_list(path: Path) -> list[str]:
    """The genes of a list file; see `listed_genes`."""
    if not path.is_file():
        raise GeneError(f"no gene list at {path}. Fetch it, or leave it out to have the genes chosen.")
    form = 'Its form is {"genes": ["GATA3", "ERBB2"]} in a file named .json, else one symbol a line.'
    if path.suffix == ".json":
        try:
            genes = read_json(path).get("genes")
        except IntegrityError as error:
            raise GeneError(f"{path} is not a gene list. {form} ({error})") from error
    else:
        try:
            genes = path.read_text(encoding="utf-8").split()
        except UnicodeDecodeError as error:
            raise GeneError(f"{path} is not UTF-8 ({error}). Save it as UTF-8. {form}") from error
    if not isinstance(genes, list) or not genes or not all(isinstance(gene, str) for gene in genes):
        raise GeneError(f"{path} is not a gene list. {form}")
    twice = sorted({gene for gene in genes if genes.count(gene) > 1})
    if twice:
        raise GeneError(f"{path} names {', '.join(twice)} more than once. Name each gene once.")
    return genes
