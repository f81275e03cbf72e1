"""Stage `map-genes`: whether the genes that maps show are among those that their folds predict.

A map needs trainings that take hours; that its gene is on no list is known as soon as the lists are chosen. This stage
reads the list alone, so it is over before the first training, and no training waits for it or is done again for it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from stflow.errors import GeneError
from stflow.io import SCHEMA_VERSION, read_json, reading, write_json
from stflow.layout import Layout

#: Genes of a fold that a message names.
_NAMED_GENES = 8


def check_map_genes(
    results: Path, benchmark: str, dataset: str, protocol: str, wanted: Sequence[str], out: Path
) -> None:
    """Write ``out`` with what maps want of a dataset, all of which its folds predict.

    Parameters
    ----------
    results
        Results folder with the genes file.
    benchmark, dataset, protocol
        Names.
    wanted
        ``fold/slide/gene`` of every map.
    out
        JSON to write.

    Raises
    ------
    GeneError
        Genes that a fold does not predict: all of them, each with its slide and fold.
    """
    path = Layout(Path(results)).genes(benchmark, dataset, protocol)
    values = read_json(path)
    with reading(path, "Run the genes stage again."):
        folds = {fold: list(map(str, genes)) for fold, genes in values["folds"].items()}
    problems = []
    for text in wanted:
        fold, slide, gene = text.split("/")
        if gene not in (genes := folds.get(fold, [])):
            near = difflib.get_close_matches(gene, genes, n=1, cutoff=0.75)
            hint = f"did you mean {near[0]}?" if near else f"they are {', '.join(genes[:_NAMED_GENES])} ..."
            problems.append(f"  - {gene} on {slide}: fold {fold}, which tests it, predicts {len(genes)} others; {hint}")
    if problems:
        other = "paper" if protocol == "clean" else "clean"
        lines = "\n".join(problems)
        raise GeneError(
            f"{benchmark}/{dataset} ({protocol}): {len(problems)} map(s) show genes that are not predicted:\n{lines}\n"
            f"Name other genes under figures (all that are predicted: {path}); or write protocol: {other} at the map, "
            "whose list may hold them; or give a list of your own that does: "
            f"benchmarks.{benchmark}.genes.{protocol}: path/to/list.json"
        )
    write_json(out, {"schema": SCHEMA_VERSION, "wanted": list(wanted)})
