"""Genes are those of the recipe, and the clean protocol never looks at the test slides' expression."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from stflow.data.genes import listed_genes, make_genes, variable_genes
from stflow.data.slide import Slide, write_slide
from stflow.errors import GeneError
from stflow.layout import Layout

N, VARIABLE = 100, ("V1", "V2", "V3")
STABLE = tuple(f"G{index:03d}" for index in range(400))
GENES = (*STABLE, *VARIABLE, "BLANK-1", "NegControl", "RARE")


def make(name: str, seed: int, variable: tuple[str, ...] = VARIABLE, genes: tuple[str, ...] = GENES) -> Slide:
    """A slide on which the ``variable`` genes and the control probes vary, the rest do not, and RARE is rare."""
    rng = np.random.default_rng(seed)
    # Stable genes of many levels, as the recipe compares a gene with others of its mean.
    level = dict(zip(STABLE, np.geomspace(2, 20, len(STABLE)), strict=True))
    counts = rng.poisson([level.get(gene, 8.0) for gene in genes], (N, len(genes))).astype(np.float32)
    for index, gene in enumerate(genes):
        if gene in (*variable, "BLANK-1", "NegControl"):
            counts[:, index] = rng.negative_binomial(1.0, 1 / (1 + level.get(gene, 8.0)), N)
        if gene == "RARE":
            counts[:, index] = 0
            counts[:5, index] = 900
    return Slide(name, f"P{name}", np.array([f"b{i}" for i in range(N)], dtype=object), rng.random((N, 2)), 0.5,
                 genes, sparse.csc_matrix(counts), {})  # fmt: skip


def write(results: Path, slides: list[Slide], folds: dict[str, tuple[str, ...]]) -> Path:
    for slide in slides:
        write_slide(
            Layout(results).slide("hest", slide.name), name=slide.name, patient=slide.patient, mpp=slide.mpp,
            barcodes=slide.barcodes.tolist(), centres_px=slide.centres_px, spot_diameter_um=55, genes=slide.genes,
            counts=slide.counts,
        )  # fmt: skip
    rows = ["dataset,slide,patient,protocol,fold,role"]
    for fold, test in folds.items():
        rows += [
            f"IDC,{slide.name},{slide.patient},*,{fold},{'test' if slide.name in test else 'train'}" for slide in slides
        ]
    manifest = results / "hest.csv"
    manifest.write_text("\n".join(rows) + "\n")
    return manifest


def chosen(results: Path, manifest: Path, protocol: str, gene_list: Path | None = None) -> dict[str, list[str]]:
    out = results / f"{protocol}.json"
    make_genes(results, "hest", "IDC", protocol, manifest, out, 3, gene_list, False)
    written = json.loads(out.read_text())
    assert written["schema"] == 1
    return written["folds"]


def test_recipe_finds_what_varies_drops_controls_and_rare_genes() -> None:
    assert variable_genes([make("A", 0), make("B", 1)], 3, "IDC") == list(VARIABLE)


def test_choice_is_sorted_and_does_not_depend_on_the_slides_order() -> None:
    slides = [make("A", 0), make("B", 1), make("C", 2)]
    genes = variable_genes(slides, 10, "IDC")
    assert genes == sorted(genes) == variable_genes(slides[::-1], 10, "IDC")


def test_recipe_is_scanpys_on_stacked_counts() -> None:
    import anndata
    import scanpy as sc

    slides = [make("A", 0), make("B", 1)]
    names = sorted(set(GENES) - {"BLANK-1", "NegControl", "RARE"})
    stacked = np.concatenate([s.counts.toarray()[:, [s.genes.index(n) for n in names]] for s in slides])
    adata = anndata.AnnData(stacked)
    adata.var_names = names
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=8)
    assert variable_genes(slides, 8, "IDC") == adata.var_names[adata.var["highly_variable"]].tolist()


def test_clean_protocol_never_looks_at_test_expression(tmp_path: Path) -> None:
    train = [make("A", 0), make("B", 1)]
    folds = {"0": ("T",)}
    results = []
    for index, test in enumerate((make("T", 9), make("T", 10, variable=("G101", "G202", "G303")))):
        folder = tmp_path / str(index)
        manifest = write(folder, [*train, test], folds)
        results.append((chosen(folder, manifest, "clean"), chosen(folder, manifest, "paper")))
    (clean_a, paper_a), (clean_b, paper_b) = results
    assert clean_a == clean_b == {"0": list(VARIABLE)}
    assert paper_a != paper_b


def test_each_clean_fold_has_its_own_genes_and_the_paper_protocol_one_list(tmp_path: Path) -> None:
    slides = [make("A", 0), make("B", 1, variable=("G105", "G206", "G307"))]
    manifest = write(tmp_path, slides, {"0": ("B",), "1": ("A",)})
    clean, paper = chosen(tmp_path, manifest, "clean"), chosen(tmp_path, manifest, "paper")
    assert clean == {"0": list(VARIABLE), "1": ["G105", "G206", "G307"]}
    assert paper["0"] == paper["1"]


def test_a_gene_that_the_test_slide_did_not_measure_is_not_chosen(tmp_path: Path) -> None:
    without = tuple(gene for gene in GENES if gene != "V2")
    manifest = write(tmp_path, [make("A", 0), make("B", 1), make("T", 2, genes=without)], {"0": ("T",)})
    genes = chosen(tmp_path, manifest, "clean")["0"]
    assert "V2" not in genes
    assert {"V1", "V3"} < set(genes)


def test_a_given_list_is_the_paper_protocols_alone(tmp_path: Path) -> None:
    manifest = write(tmp_path, [make("A", 0), make("T", 1)], {"0": ("T",)})
    listed = tmp_path / "var_50genes.json"
    listed.write_text(json.dumps({"genes": ["G009", "G001"]}))
    assert chosen(tmp_path, manifest, "paper", listed) == {"0": ["G009", "G001"]}
    assert chosen(tmp_path, manifest, "clean", listed) == {"0": list(VARIABLE)}


def test_a_list_with_a_missing_gene_names_gene_and_slides(tmp_path: Path) -> None:
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"genes": ["V1", "KRT99", "G000"]}))
    with pytest.raises(GeneError, match=r"slide A lacks KRT99; slide B lacks KRT99.*Remove those genes"):
        listed_genes(listed, [make("A", 0), make("B", 1)])


@pytest.mark.parametrize("text", ['{"names": ["V1"]}', '{"genes": []}', '{"genes": [1, 2]}'])
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(GeneError, match=r"is not a gene list\. Its form is"):
        listed_genes(tmp_path / "list.json", [make("A", 0)])
    with pytest.raises(GeneError, match="no gene list at"):
        listed_genes(tmp_path / "none.json", [])


def test_too_few_candidates_are_refused() -> None:
    with pytest.raises(GeneError, match=r"only 403 genes are seen in 10% of the spots.*500 are asked for"):
        variable_genes([make("A", 0)], 500, "hest/IDC")
