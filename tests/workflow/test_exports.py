"""Exports in the workflow: a target for those of the configuration, and every single file is one."""

from __future__ import annotations

import pytest
import yaml

pytestmark = pytest.mark.workflow

CONFIG = {
    "benchmarks": {"lab": {"root": "lab", "manifest": "lab.csv"}},
    "encoders": ["classical"],
    "methods": ["mean", "ridge"],
    "seeds": [0],
    "training": {"device": "cpu"},
}
RUN = "results/exports/lab/D/classical/ridge/default/clean/fold0/seed0"


@pytest.fixture(scope="module")
def lab(tree):
    tree.set_up_lab(("s1", "s2", "s3"))
    (tree.root / "none.yaml").write_text(yaml.safe_dump(CONFIG))
    report = {"exports": [{"benchmark": "lab", "slide": "s3", "method": "ridge"}], "spatialdata": True}
    (tree.root / "two.yaml").write_text(yaml.safe_dump({**CONFIG, "report": report}))
    return tree


def test_without_exports_the_target_says_what_to_write(lab) -> None:
    done = lab.snakemake("exports", "--dry-run", "--configfile", "none.yaml")
    assert done.returncode != 0
    assert "report.exports is empty" in done.stdout
    assert "Traceback" not in done.stdout


def test_any_single_file_is_a_target(lab) -> None:
    planned = lab.planned(f"{RUN}/s3.h5ad", "--configfile", "none.yaml")
    assert (planned.count["export"], planned.count["predict"], planned.count["train"]) == (1, 1, 1)


def test_the_configured_exports_are_made_once(lab) -> None:
    done = lab.snakemake("exports", "--cores", "2", "--configfile", "two.yaml", "--until", "export")
    assert done.returncode == 0, done.stdout
    assert (lab.root / RUN / "s3.h5ad").is_file()
    planned = lab.planned("exports", "--configfile", "two.yaml")
    assert set(planned.count) == {"export_spatialdata", "exports"}
