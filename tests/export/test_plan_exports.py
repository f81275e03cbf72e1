"""Which files a configuration's exports are, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from stflow.config import validate
from stflow.errors import ConfigError
from stflow.plan_exports import ExportPlan
from stflow.workflow import Plan

ROWS = (
    "D,s1,p1,*,0,train\nD,s2,p2,*,0,train\nD,s3,p3,*,0,test\nD,s3,p3,*,1,train\nD,s1,p1,*,1,train\nD,s2,p2,*,1,test\n"
)


def files(tmp_path: Path, *entries: dict[str, object], **report: object) -> list[str]:
    manifest = tmp_path / "lab.csv"
    manifest.write_text(f"dataset,slide,patient,protocol,fold,role\n{ROWS}")
    plan = Plan(
        validate(
            {
                "benchmarks": {"lab": {"root": str(tmp_path), "manifest": str(manifest)}},
                "encoders": ["classical", "classical+dihedral"],
                "methods": ["mean", "ridge", "stflow", "stflow/samples_20"],
                "method_encoders": {"ridge": ["classical"]},
                "seeds": [4, 5],
                "report": {"exports": [{"benchmark": "lab", **entry} for entry in entries], **report},
            }
        )
    )
    return [path.relative_to("results/exports").as_posix() for path in ExportPlan(plan).files()]


def test_an_entry_is_the_run_of_the_fold_that_tests_its_slide(tmp_path: Path) -> None:
    found = files(
        tmp_path,
        {"slide": "s2", "method": "ridge"},
        {"slide": "s3", "method": "stflow/samples_20@classical+dihedral", "protocol": "paper", "seed": 5},
        {"slide": "s3", "method": "mean"},
        {"slide": "s2", "method": "ridge", "seed": 4},
    )
    assert found == [
        "lab/D/classical/ridge/default/clean/fold1/seed4/s2.h5ad",
        "lab/D/classical+dihedral/stflow/samples_20/paper/fold0/seed5/s3.h5ad",
        "lab/D/tiles/mean/default/clean/fold0/seed4/s3.h5ad",
    ]


def test_spatialdata_comes_beside_and_nothing_by_default(tmp_path: Path) -> None:
    found = files(tmp_path, {"slide": "s2", "method": "ridge"}, spatialdata=True)
    assert [name.rpartition(".")[2] for name in found] == ["h5ad", "zarr"]
    assert files(tmp_path) == []


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        files(
            tmp_path,
            {"slide": "s2", "method": "bleep"},
            {"slide": "s2", "method": "stflow"},
            {"slide": "s2", "method": "ridge@classical+dihedral"},
            {"slide": "s1", "method": "ridge"},
            {"slide": "s2", "method": "ridge", "seed": 5},
        )
    message = str(caught.value)
    assert "has 5 problem(s)" in message
    for told in (
        "report.exports[0]: 'bleep' is no row of `methods` (mean, ridge, stflow, stflow/samples_20)",
        "report.exports[1]: 'stflow' runs on classical, classical+dihedral; write which one, as stflow@classical",
        "report.exports[2]: 'ridge@classical+dihedral': ridge runs on classical here, not on classical+dihedral",
        "report.exports[3]: no fold of this configuration tests slide 's1' of 'lab' under the clean protocol",
        "report.exports[4]: seed 5 of ridge is not run; there are [4]",
    ):
        assert told in message


def test_an_unknown_key_is_told() -> None:
    with pytest.raises(ConfigError, match=r"report\.cpu_wats: unknown key. Did you mean 'cpu_watts'"):
        validate({"report": {"cpu_wats": 3}})
