"""Write what belongs to a whole demo benchmark: folds, gene list, table of slides, planted truth.

Nothing is read: sections are drawn again without their images, which takes a tenth of a second each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from stflow.csv_text import csv_text
from stflow.data.demo import recipe
from stflow.data.demo.expression import GENES
from stflow.data.demo.manifest import manifest_rows
from stflow.data.demo.section import Section, make_section
from stflow.data.demo.truth import planted_truth
from stflow.data.demo.write_hest import metadata
from stflow.data.slide import Slide
from stflow.io import write_json, write_text

N_GENES = 50


def write_hest_task(benchmark: recipe.Benchmark, root: Path, size_um: float) -> None:
    """``bench/<dataset>/{splits/*.csv, var_50genes.json, truth.json}`` and HEST's table of slides."""
    from stflow.data.variable_genes import GeneSums, variable_genes

    sections = [make_section(benchmark.name, slide, size_um=size_um) for slide in benchmark.slides]
    bench = root / "bench" / benchmark.dataset
    rows = manifest_rows(benchmark)
    for fold in sorted({row["fold"] for row in rows}):
        for role in ("train", "test"):
            lines = [
                {
                    "sample_id": row["slide"],
                    "patches_path": f"patches/{row['slide']}.h5",
                    "expr_path": f"adata/{row['slide']}.h5ad",
                }
                for row in rows
                if row["fold"] == fold and row["role"] == role
            ]
            write_text(bench / "splits" / f"{role}_{fold}.csv", _csv(lines))
    write_text(root / "HEST_vdemo.csv", _csv(metadata(section) for section in sections))
    write_json(bench / "truth.json", planted_truth())
    sums = [GeneSums.of(as_slide(section)) for section in sections]
    genes = variable_genes(sums, N_GENES, benchmark.name)
    write_json(bench / "var_50genes.json", {"genes": genes})


def write_stimage_task(benchmark: recipe.Benchmark, root: Path, size_um: float) -> None:
    """``meta/meta_all_gene.csv`` and ``truth.json``."""
    lines = [
        {
            "slide": slide,
            "species": "human",
            "tissue": "breast",
            "pmid": "",
            "title": "Made slides with planted cell-cell interaction",
            "abstract": "Drawn from a recipe; no tissue was measured.",
            "keywords": "",
            "involve_cancer": "True",
            "tech": "Visium",
            "spot_num": len(make_section(benchmark.name, slide, size_um=size_um).grid),
            "gene_num": len(GENES),
        }
        for slide in benchmark.slides
    ]
    write_text(root / "meta" / "meta_all_gene.csv", _csv(lines, quote_all=True))
    write_json(root / "truth.json", planted_truth())


def as_slide(section: Section) -> Slide:
    """A section as methods see slides, without features."""
    return Slide(
        name=section.slide,
        patient=section.patient.name,
        barcodes=section.grid.barcodes,
        centres_px=section.centres_px,
        mpp=section.patient.mpp,
        genes=GENES,
        counts=sparse.csc_matrix(section.counts.astype(np.float32)),
        features={},
    )


def _csv(lines: Iterable[Mapping[str, Any]], *, quote_all: bool = False) -> str:
    rows = list(lines)
    return csv_text(list(rows[0]), rows, quote_all=quote_all)
