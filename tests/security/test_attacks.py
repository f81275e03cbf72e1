"""Files and names made to harm: each is refused with a clear error, and nothing of it runs or is written."""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from stflow.config import load
from stflow.data.formats.h5ad import read_h5ad_counts
from stflow.data.hub.download import download_file
from stflow.data.splits import COLUMNS, Manifest
from stflow.encoders.weights import read_state
from stflow.errors import ConfigError, DataError, IntegrityError, SplitError, WeightsError
from stflow.io import open_h5
from stflow.names import file_problem, name_problem
from stflow.report.latex import to_latex
from stflow.report.page import to_html
from stflow.report.render import format_table, to_csv
from stflow.search.chosen import Chosen
from stflow.wsi.scale import Scale

ROOT = Path(__file__).parents[2]

EVIL_NAMES = [
    "../../x",
    "/etc/passwd",
    "a/b",
    "..",
    ".hidden",
    "-rf",
    "a b",
    "a\nb",
    "a\n",
    "a\0b",
    "$(touch x)",
    "a;b",
    "a|b",
    "`id`",
    "{slide}",
    "*",
    "=1+1",
    "a" * 300,
    "ä",
]


class _Bomb:
    """Makes a file at ``marker`` when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_the_bomb_goes_off(tmp_path: Path) -> None:
    """The other tests of this file would see it."""
    pickle.loads(pickle.dumps(_Bomb(tmp_path / "marker")))
    assert (tmp_path / "marker").is_file()


@pytest.mark.parametrize("name", ["w.bin", "w.pth", "model.safetensors"])
def test_a_pickle_as_weights_is_refused(tmp_path: Path, name: str) -> None:
    path, marker = tmp_path / name, tmp_path / "marker"
    path.write_bytes(pickle.dumps(_Bomb(marker), protocol=2))
    with pytest.raises(WeightsError):
        read_state(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["features.h5", "slide.h5ad"])
def test_a_pickle_as_hdf5_is_refused(tmp_path: Path, name: str) -> None:
    path, marker = tmp_path / name, tmp_path / "marker"
    path.write_bytes(pickle.dumps(_Bomb(marker)))
    with pytest.raises(IntegrityError), open_h5(path):
        pass
    assert not marker.exists()


def _external_link(handle: h5py.File, other: Path) -> None:
    handle.create_group("obsm")["spatial"] = h5py.ExternalLink(str(other), "/secret")


def _external_storage(handle: h5py.File, other: Path) -> None:
    handle.create_dataset("X", (4,), "u1", external=[(str(other), 0, 4)])


def _virtual(handle: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource(str(other), "secret", (4,))
    handle.create_virtual_dataset("X", layout)


def _huge(handle: h5py.File, _other: Path) -> None:
    handle.create_dataset("X", (1 << 22, 1 << 22), "f8", chunks=(1024, 1024), compression="gzip")


@pytest.mark.parametrize("attack", [_external_link, _external_storage, _virtual, _huge])
def test_hdf5_that_reads_elsewhere_or_bursts_is_refused(tmp_path: Path, attack) -> None:  # type: ignore[no-untyped-def]
    other, path = tmp_path / "other.h5", tmp_path / "slide.h5ad"
    with h5py.File(other, "w") as handle:
        handle["secret"] = np.arange(4, dtype=np.uint8)
    with h5py.File(path, "w") as handle:
        attack(handle, other)
    with pytest.raises(IntegrityError, match="refused"):
        read_h5ad_counts(path, "slide", Scale(0.5, "made"))


def test_links_within_a_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as handle:
        handle["a"] = np.zeros((3000, 1000))
        handle["b"] = h5py.SoftLink("/a")
    with open_h5(path) as handle:
        assert handle["b"].shape == (3000, 1000)


@pytest.mark.parametrize("name", EVIL_NAMES)
@pytest.mark.parametrize("column", ["dataset", "slide"])
def test_a_manifest_with_such_a_name_is_refused(tmp_path: Path, name: str, column: str) -> None:
    row = {"dataset": "d", "slide": "s", "patient": "p", "protocol": "*", "fold": "0", "role": "train", column: name}
    path = tmp_path / "m.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerow(row)
    with pytest.raises(SplitError, match="line 2"):
        Manifest.read(path)


@pytest.mark.parametrize("patient", ["=cmd|' /C calc'!A0", "@x", "-1+1", "a\x07"])
def test_a_patient_that_is_a_formula_is_refused(tmp_path: Path, patient: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(",".join(COLUMNS) + f"\nd,s,{patient},*,0,train\n", encoding="utf-8")
    with pytest.raises(SplitError, match="line 2"):
        Manifest.read(path)


def test_usual_names_are_names() -> None:
    assert not [name for name in ("TENX95", "A1", "GSE144239_GSM4284316", "a.b-c+d") if name_problem(name)]


@pytest.mark.parametrize("file", ["../x", "/etc/passwd", "a/../../x", "a//b", "./a", "a\\b", "a\nb", "-rf", "", "."])
def test_a_hub_file_outside_its_folder_is_refused(tmp_path: Path, file: str) -> None:
    assert file_problem(file)
    with pytest.raises(DataError, match="not a path below"):
        download_file("MahmoodLab/hest", tmp_path / "root", file)
    assert not list(tmp_path.iterdir())


def test_usual_hub_files_are_files() -> None:
    assert not [f for f in ("st/TENX95.h5ad", "IDC/splits/train_0.csv", ".gitattributes") if file_problem(f)]


@pytest.mark.parametrize("read", [load, Chosen.read])
def test_yaml_tags_make_no_objects(tmp_path: Path, read) -> None:  # type: ignore[no-untyped-def]
    path, marker = tmp_path / "c.yaml", tmp_path / "marker"
    path.write_text(f"results: !!python/object/apply:os.system ['touch {marker}']\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not yaml"):
        read(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_a_benchmark_with_such_a_name_is_refused(name: str) -> None:
    from stflow.config import validate

    with pytest.raises(ConfigError):
        validate({"benchmarks": {name: {"format": "hest", "manifest": "resources/splits/her2st.csv"}}}, "here")


def test_snakemake_s_own_reading_of_a_configuration_makes_no_objects(tmp_path: Path) -> None:
    from snakemake.common.configfile import load_configfile

    path, marker = tmp_path / "c.yaml", tmp_path / "marker"
    path.write_text(f"results: !!python/object/apply:os.system ['touch {marker}']\n", encoding="utf-8")
    with pytest.raises(Exception, match=r"YAML|yaml|constructor"):
        load_configfile(path)
    assert not marker.exists()


def test_formulas_in_csv_are_text_and_numbers_stay() -> None:
    cells = ["=1+1", "+cmd", "-2+3", "@x", "\tx", "\rx", "-0.5", "+1e-3", "-", "HLA-A", "-0.5 ± 0.1"]
    rows = list(csv.reader(io.StringIO(to_csv(["x"], [{"x": cell} for cell in [*cells, -0.25, -3]]), newline="")))
    shown = [row[0] for row in rows[1:]]
    assert shown[:5] == ["'" + cell for cell in cells[:5]]
    assert shown[5] == "x"
    assert shown[6:10] == cells[6:10]
    assert shown[-2:] == ["-0.25", "-3"]


def test_html_in_a_name_is_text() -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    page = to_html(
        f"# {evil}\n\n{evil}\n\n<script>block</script>\n\n" + format_table(["gene", "r"], [[evil, "<u>1</u>"]])
    )
    assert "<script" not in page
    assert "<img" not in page
    assert "<u>1</u>" in page
    assert "<img" not in to_html("![x](http://example.org/x.png)")
    assert "href" not in to_html("[x](javascript:alert(1))")


def test_pipes_and_line_breaks_stay_in_their_cell() -> None:
    table = format_table(["gene", "r"], [["a|b\nc", "1"]])
    assert [line.count("|") for line in table.splitlines()] == [3, 3, 3]


def test_latex_in_a_name_is_text() -> None:
    tex = to_latex("# T\n\n" + format_table(["gene", "r"], [["\\input{/etc/passwd}", "1"], ["`\\input{x}`", "2"]]))
    assert "\\input" not in tex
    assert "textbackslash" in tex


def test_formulas_in_the_tables_of_training_folds_and_benchmarks_are_text(tmp_path: Path) -> None:
    from stflow.csv_text import csv_text
    from stflow.data.split_record import splits_csv
    from stflow.models.base import Fit
    from stflow.training.train import _history_csv

    evil = "=cmd|' /C calc'!A0"
    history = _history_csv(Fit(history=[{"epoch": 1, "loss": -0.5, "=note": evil}]))
    assert evil in history
    cells = [cell for row in csv.reader(io.StringIO(history)) for cell in row]
    assert {"'=note", f"'{evil}", "-0.5"} <= set(cells)
    spec = importlib.util.spec_from_file_location("benchmark_output", ROOT / "benchmarks" / "output.py")
    assert spec is not None
    assert spec.loader is not None
    output = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(output)
    output.write_csv(tmp_path / "b.csv", [{"name": evil, "@x": -1.5, "inf": "-inf"}])
    assert (tmp_path / "b.csv").read_bytes() == f"name,'@x,inf\n'{evil},-1.5,-inf\n".encode()
    assert csv_text(["a", "b"], [{"a": evil}], quote_all=True) == f'"a","b"\n"\'{evil}",""\n'

    class Splits:
        """A manifest whose reason got past the check of manifests."""

        def folds(self, *_: str) -> tuple[int, ...]:
            return ()

        def reason(self, *_: str) -> str:
            return evil

    assert f",'{evil}\n" in splits_csv(Splits(), ["D"], ["clean"])  # type: ignore[arg-type]
