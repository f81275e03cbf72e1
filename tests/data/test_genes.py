"""Genes are those of the recipe, and the clean protocol never looks at the test slides' expression."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from stflow.data.genes import listed_genes, make_genes, read_gene_list
from stflow.data.slide import Slide, write_slide
from stflow.errors import DataError, GeneError, LeakageError
from stflow.layout import Layout

BENCH = Path(__file__).resolve().parents[3] / "shared" / "data" / "hest_bench"
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


def made(results: Path, manifest: Path, protocol: str, choice: str = "", **values: object) -> dict[str, object]:
    out = results / f"{protocol}.json"
    choice = choice or {"paper": "official", "clean": "train"}[protocol]
    make_genes(results, "hest", "IDC", protocol, manifest, out, **{"choice": choice, "n_genes": 3, **values})
    written = json.loads(out.read_text())
    assert (written["schema"], written["choice"]) == (1, choice)
    return written


def chosen(results: Path, manifest: Path, protocol: str, choice: str = "", **values: object) -> dict[str, list[str]]:
    return made(results, manifest, protocol, choice, **values)["folds"]


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


def test_the_dataset_s_own_list_is_taken_whole_and_where_there_is_none_the_recipe_runs(tmp_path: Path) -> None:
    manifest = write(tmp_path, [make("A", 0), make("T", 1)], {"0": ("T",)})
    listed = tmp_path / "var_50genes.json"
    listed.write_text(json.dumps({"genes": ["G009", "G001"]}))
    official = made(tmp_path, manifest, "paper", gene_list=listed)
    assert official["folds"] == {"0": ["G009", "G001"]}
    assert official["source"] == "the dataset's own list, var_50genes.json"
    without = made(tmp_path, manifest, "paper")
    assert without["source"] == "HEST's recipe on all slides, as the dataset has no list of its own"
    assert without["folds"] == chosen(tmp_path, manifest, "paper", "all", gene_list=listed) == {"0": list(VARIABLE)}
    assert made(tmp_path, manifest, "paper", "all")["source"] == "HEST's recipe on all slides"


def test_the_paper_protocol_may_take_genes_of_training_slides(tmp_path: Path) -> None:
    train, test = [make("A", 0), make("B", 1)], make("T", 9, variable=("G101", "G202", "G303"))
    manifest = write(tmp_path, [*train, test], {"0": ("T",)})
    assert chosen(tmp_path, manifest, "paper", "train") == {"0": list(VARIABLE)}
    assert made(tmp_path, manifest, "paper", "train")["source"] == "HEST's recipe on each fold's development slides"


@pytest.mark.parametrize("choice", ["official", "all"])
def test_the_clean_protocol_takes_no_genes_of_the_test_slides(tmp_path: Path, choice: str) -> None:
    with pytest.raises(LeakageError, match=rf"hest/IDC \(clean\): genes '{choice}' are chosen on the test slides too"):
        chosen(tmp_path, tmp_path / "none.csv", "clean", choice)


@pytest.mark.parametrize(("name", "text"), [("mine.json", '{"genes": ["G009", "V1"]}'), ("mine.txt", "G009\n\nV1\n")])
def test_a_list_of_the_user_s_serves_both_protocols_and_is_recorded_as_such(
    tmp_path: Path, name: str, text: str
) -> None:
    manifest = write(tmp_path, [make("A", 0), make("T", 1)], {"0": ("T",)})
    (tmp_path / name).write_text(text)
    for protocol in ("paper", "clean"):
        written = made(tmp_path, manifest, protocol, "list", gene_list=tmp_path / name)
        assert written["folds"] == {"0": ["G009", "V1"]}
        assert written["source"] == f"the user's own list, {name}"


def test_a_panel_of_any_size_can_be_chosen(tmp_path: Path) -> None:
    manifest = write(tmp_path, [make("A", 0), make("B", 1), make("T", 2)], {"0": ("T",)})
    for n_genes in (1, 17, 300):
        for protocol in ("paper", "clean"):
            assert len(chosen(tmp_path, manifest, protocol, n_genes=n_genes)["0"]) == n_genes


def test_the_recipe_of_stimage_keeps_rare_genes(tmp_path: Path) -> None:
    manifest = write(tmp_path, [make("A", 0), make("T", 1)], {"0": ("T",)})
    written = made(tmp_path, manifest, "paper", recipe="stimage", n_genes=404)
    assert set(written["folds"]["0"]) == {*STABLE, *VARIABLE, "RARE"}
    assert written["source"].startswith("STImage-1K4M's recipe on all slides")


@pytest.mark.parametrize("values", [{"choice": "some"}, {"choice": "all", "recipe": "mine"}])
def test_unknown_choices_are_told(tmp_path: Path, values: dict[str, str]) -> None:
    with pytest.raises(GeneError, match=r"are unknown\. Take one of official, all, train, list and one of hest, st"):
        make_genes(tmp_path, "hest", "IDC", "paper", tmp_path, tmp_path / "g.json", **{"n_genes": 3, **values})


def test_a_list_that_is_not_named_is_told(tmp_path: Path) -> None:
    manifest = write(tmp_path, [make("A", 0), make("T", 1)], {"0": ("T",)})
    with pytest.raises(GeneError, match="no gene list is named"):
        chosen(tmp_path, manifest, "clean", "list")


@pytest.mark.real_data
@pytest.mark.skipif(not BENCH.is_dir(), reason=f"no hest-bench gene lists at {BENCH}")
def test_the_published_lists_are_of_the_recipe_s_form() -> None:
    """Ten lists of fifty genes in alphabetical order, no control probe, and the paper's biomarkers among them."""
    lists = {path.parent.name: read_gene_list(path) for path in BENCH.glob("*/var_50genes.json")}
    assert len(lists) == 10
    for genes in lists.values():
        assert len(genes) == 50
        assert genes == sorted(genes)
        assert not [gene for gene in genes if "BLANK" in gene or "Control" in gene]
    assert {"GATA3", "ERBB2"} < set(lists["IDC"])
    assert "UBE2C" in lists["LUNG"]
    assert "VWF" in lists["SKCM"]


def test_a_list_with_a_missing_gene_names_gene_and_slides(tmp_path: Path) -> None:
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"genes": ["V1", "KRT99", "G000"]}))
    with pytest.raises(GeneError, match=r"slide A lacks KRT99; slide B lacks KRT99.*Remove those genes"):
        listed_genes(listed, [make("A", 0), make("B", 1)])


@pytest.mark.parametrize("text", ['{"names": ["V1"]}', '{"genes": []}', '{"genes": [1, 2]}', '["V1"]'])
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(GeneError, match=r"is not a gene list\. Its form is"):
        listed_genes(tmp_path / "list.json", [make("A", 0)])
    with pytest.raises(GeneError, match="no gene list at"):
        listed_genes(tmp_path / "none.json", [])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("list.txt", b"\n", "is not a gene list"),
        ("list.txt", b"V1 V2 V1", "names V1 more than once"),
        ("list.txt", "caf\xe9".encode("latin-1"), "is not UTF-8 .*Save it as UTF-8"),
        ("list.json", b'{"genes": ["\xe9"]}', "is not valid JSON"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} {words}"):
        listed_genes(tmp_path / name, [])
