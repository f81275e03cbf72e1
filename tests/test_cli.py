"""The command line answers fast, and an expected error is one line with its exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def stflow(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from stflow.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["list", "methods"]])
def test_help_and_lists_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, atexit\n"
        "heavy = {'torch', 'pandas', 'sklearn', 'scanpy', 'anndata', 'timm', 'matplotlib'}\n"
        "atexit.register(lambda: print('HEAVY', sorted(heavy & set(sys.modules))))\n"
        "from stflow.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert "HEAVY []" in done.stdout, done.stdout[-300:] + done.stderr[-300:]


def test_the_configuration_module_imports_nothing_heavy() -> None:
    code = (
        "import sys; from stflow import config; config.Config(); print('torch' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False False", done.stderr


def test_an_expected_error_is_one_line_with_its_exit_code(tmp_path: Path) -> None:
    arguments = ["train", "--results", str(tmp_path), "--run", "a/b/c/mean/default/clean/fold0/seed0"]
    done = stflow(*arguments, "--manifest", str(tmp_path / "none.csv"))
    assert done.returncode == 3
    assert done.stderr.startswith("stflow: no split manifest at")
    assert "Traceback" not in done.stderr
    assert "Traceback" in stflow("--debug", *arguments, "--manifest", str(tmp_path / "none.csv")).stderr


def test_a_wrong_option_is_told() -> None:
    done = stflow("train", "--nothing")
    assert done.returncode == 2
    assert "--nothing" in done.stderr


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("datasets", "LYMPH_IDC"),
        ("encoders", "classical"),
        ("methods", "random_forest"),
        ("variants", "stflow/zinb_0.2_4"),
        ("formats", "hest_bench"),
    ],
)
def test_lists_name_what_there_is(kind: str, expected: str) -> None:
    done = stflow("list", kind)
    assert expected in done.stdout, done.stderr


def test_parameter_counts_are_the_paper_s() -> None:
    for features, expected in ((1024, 1_147_724), (512, 1_082_188), (1536, 1_213_260)):
        done = stflow("params", "--json", "--features", str(features))
        assert json.loads(done.stdout)["parameters"]["stflow"] == expected


def test_parameters_are_told_of_the_variants_that_have_others() -> None:
    counts = json.loads(stflow("params", "--json").stdout)["parameters"]
    assert {"mean", "ridge", "random_forest", "stflow"} <= counts.keys()
    variants = {name.removeprefix("stflow/") for name in counts if name.startswith("stflow/")}
    assert variants <= {"wo_fa", "wo_fa_dot", "egnn", "e2cnn"}, "priors and steps have no parameters"
