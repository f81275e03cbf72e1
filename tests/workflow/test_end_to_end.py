"""The whole workflow, every command for real, on three small slides in hest-bench's layout."""

import json

import pytest
import yaml

from stflow.data.demo import make_slide
from stflow.layout import TILES, Group, Layout

pytestmark = pytest.mark.workflow

SLIDES = ("DEMO1A", "DEMO2A", "DEMO3A")
METHODS = ("mean", "ridge", "stflow")
SAMPLED = "stflow/samples_20"
GENES = ("ERBB2", "GATA3", "FTL", "SCD", "CXCL9", "COL1A1")
CONFIG = {
    "benchmarks": {"lab": {"root": "lab/bench", "manifest": "lab.csv"}},
    "encoders": ["classical"],
    "methods": [*METHODS, SAMPLED],
    "protocols": ["paper"],
    "seeds": [0],
    "training": {"device": "cpu"},
    "settings": {
        "stflow": {
            "hidden": 16,
            "edge_hidden": 16,
            "layers": 1,
            "epochs": 2,
            "regions_per_slide": 1,
            "standardise_features": True,
        }
    },
    "figures": {
        "biomarkers": [{"benchmark": "lab", "slide": "DEMO3A", "gene": "GATA3"}],
        "histograms": ["lab/DEMO_IDC"],
        "biomarker_protocol": "paper",
    },
}


@pytest.fixture(scope="module")
def done(make_tree) -> object:
    """A finished run in a copy of the repository."""
    tree = make_tree()
    for slide in SLIDES:
        make_slide("demo_hest", slide, tree.root / "lab", size_um=700.0)
    dataset = tree.root / "lab" / "bench" / "DEMO_IDC"
    (dataset / "var_50genes.json").write_text(json.dumps({"genes": list(GENES)}))
    rows = [f"DEMO_IDC,{slide},{slide[4]},*,0,{'test' if slide == 'DEMO3A' else 'train'}" for slide in SLIDES]
    (tree.root / "lab.csv").write_text("\n".join(["dataset,slide,patient,protocol,fold,role", *rows]) + "\n")
    (tree.root / "lab.yaml").write_text(yaml.safe_dump(CONFIG))
    ran = tree.snakemake("--cores", "2", "--configfile", "lab.yaml")
    assert ran.returncode == 0, ran.stdout
    return tree


def test_every_method_is_scored_on_every_gene(done) -> None:
    import pandas as pd

    layout = Layout(done.root / "results")
    for method in METHODS:
        encoder = TILES if method == "mean" else "classical"
        scores = pd.read_parquet(layout.metrics(Group("lab", "DEMO_IDC", encoder, method, "default", "paper")))
        assert set(scores["status"]) == {"ok"}
        assert set(scores.loc[(scores["slide"] == "all") & (scores["metric"] == "pearson"), "gene"]) == set(GENES)


def test_samples_come_from_the_model_that_is_there_and_are_scored_for_calibration(done) -> None:
    import pandas as pd

    layout = Layout(done.root / "results")
    group = Group("lab", "DEMO_IDC", "classical", *SAMPLED.split("/"), "paper")
    assert not layout.model(group.run(0, 0)).exists()
    scores = pd.read_parquet(layout.metrics(group))
    coverage = scores.loc[scores["metric"] == "coverage_90", "value"]
    assert coverage.between(0, 1).all()
    assert "STFlow (samples_20)" in layout.table("calibration", "md").read_text()


def test_the_table_has_a_line_a_method(done) -> None:
    page = Layout(done.root / "results").table("table1", "md").read_text()
    for name in ("Mean", "Ridge", "STFlow"):
        assert name.lower() in page.lower()


def test_the_report_holds_the_table_and_the_map(done) -> None:
    text = Layout(done.root / "results").report.read_text()
    tables = ("table1.html", "table1.csv", "calibration.html", "audit.html", "lab.html")
    for part in (*tables, "GATA3.png", "histograms.png", "Biomarker maps", "<!DOCTYPE html>"):
        assert part.lower() in text.lower(), part


def test_a_second_call_has_nothing_to_do(done) -> None:
    again = done.snakemake("--cores", "2", "--configfile", "lab.yaml")
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout


def test_a_failed_job_shows_its_own_message_and_leaves_no_half_file(done) -> None:
    """Last in this file: it spoils one slide's patches."""
    patches = done.root / "lab" / "bench" / "DEMO_IDC" / "patches" / "DEMO1A.h5"
    patches.write_bytes(patches.read_bytes()[: patches.stat().st_size // 2])
    failed = done.snakemake("tiles", "--cores", "2", "--configfile", "lab.yaml")
    assert failed.returncode == 1
    assert "is not a whole HDF5 file" in failed.stdout
    assert "Traceback" not in failed.stdout
    assert not Layout(done.root / "results").slide("lab", "DEMO1A").exists()
