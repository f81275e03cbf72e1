"""Figures 4 to 7 and table 6 as targets; what another map reruns. Commands are stand-ins."""

from __future__ import annotations

import pytest
import yaml

SLIDES = ("s1", "s2", "s3")
MAP = {"benchmark": "lab", "slide": "s3", "gene": "GATA3"}
TARGETS = ("figure4", "figure5", "figure6", "table6")
CONFIG = {
    "benchmarks": {"lab": {"root": "lab", "manifest": "lab.csv"}},
    "encoders": ["classical"],
    "methods": ["mean", "stflow"],
    "protocols": ["clean"],
    "seeds": [0],
    "figures": {"figure4": [MAP, {**MAP, "slide": "s1"}], "figure6": [MAP], "methods": ["stflow", "stflow/wo_fm"]},
    "efficiency": {"methods": ["stflow", "stflow/wo_fa"], "spots": [100]},
}


@pytest.fixture(scope="module")
def tree(make_tree):
    """A copy of the repository in which the targets are made."""
    tree = make_tree()
    tree.set_up_lab(SLIDES)
    configure(tree)
    ran = tree.snakemake(*TARGETS, "--cores", "2", "--configfile", "lab.yaml")
    assert ran.returncode == 0, ran.stdout
    return tree


def configure(tree, **figures: object) -> None:
    values = {**CONFIG, "figures": {**CONFIG["figures"], **figures}}
    (tree.root / "lab.yaml").write_text(yaml.safe_dump(values))


def planned(tree, *targets: str) -> dict[str, int]:
    return dict(tree.planned(*(targets or TARGETS), "--configfile", "lab.yaml").count)


def test_the_targets_leave_their_files_and_have_nothing_more_to_do(tree) -> None:
    results = tree.root / "results"
    for name in ("figure4.png", "figure4.pdf", "figure5.png", "figure6.png", "figure6.pdf"):
        assert (results / "figures" / name).is_file()
    assert (results / "tables/table6.csv").is_file()
    assert {path.relative_to(results / "efficiency").as_posix() for path in (results / "efficiency").rglob("*.*")} == {
        f"stflow/{variant}.{suffix}" for variant in ("default", "wo_fa") for suffix in ("csv", "json")
    }
    wo_fm = results / "runs/lab/D/classical/stflow/wo_fm/clean"
    assert (wo_fm / "fold0/seed0/predictions.h5ad").is_file(), "predicted for the map alone"
    assert not list(wo_fm.rglob("model.safetensors"))
    assert planned(tree) == {}


def test_another_gene_checks_the_lists_and_draws_and_retrains_nothing(tree) -> None:
    configure(tree, figure4=[{**MAP, "gene": "ERBB2"}])
    assert planned(tree, "figure4") == {"map_genes": 1, "figure4": 1}
    configure(tree, figure6=[MAP, {**MAP, "gene": "ERBB2"}])
    assert planned(tree, "figure6") == {"map_genes": 1, "refine": 1, "figure6": 1}
    configure(tree, width="single")
    assert planned(tree) == {"figure4": 1, "figure5": 1, "figure6": 1}
    configure(tree)


def test_editing_a_network_measures_it_again(tree) -> None:
    tree.edit("stflow/models/stflow/denoiser.py", "from __future__", "EDITED = 1\nfrom __future__")
    again = planned(tree, "table6")
    tree.edit("stflow/models/stflow/denoiser.py", "EDITED = 1\n", "")
    assert (again["efficiency"], again["table6"]) == (2, 1)


def test_a_figure_with_nothing_to_draw_is_no_target(tree) -> None:
    done = tree.snakemake("figure7", "--dry-run", "--configfile", "lab.yaml")
    assert done.returncode == 1
    assert "figure7" in done.stdout
