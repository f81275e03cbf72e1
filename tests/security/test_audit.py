"""`make audit` gives no all-clear for packages that nobody has looked up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: pip-audit, with a service that gives the same answer for every package.
_WITH_A_SERVICE = """
import sys
from pip_audit._service.interface import ResolvedDependency, SkippedDependency
from pip_audit._service.pypi import PyPIService
from pip_audit._cli import audit

def query(self, spec):
    if answer == "known":
        return spec, []
    return SkippedDependency(name=spec.name, skip_reason="not found"), []

PyPIService.query = query
answer, *words = sys.argv[1:]
sys.argv = ["pip-audit", *words]
audit()
"""


def options() -> list[str]:
    """What `make audit` gives to pip-audit."""
    (line,) = [line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "-m pip_audit" in line]
    return line.partition("-m pip_audit")[2].partition(";")[0].split()


@pytest.mark.parametrize(("answer", "code"), [("known", 0), ("unknown", 1)])
def test_a_package_that_cannot_be_looked_up_is_no_all_clear(answer: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITH_A_SERVICE, answer, *options()],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == code, done.stderr[-2000:]
    assert ("not found" in done.stderr) == bool(code)
