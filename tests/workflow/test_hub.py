"""The demo's hest-bench files pose as the published repository: from the hub on this machine to table 1."""

import json
import os
from pathlib import Path

import pytest

from stflow.data.demo import make_slide
from stflow.layout import Layout

from ..hub import server

pytestmark = pytest.mark.workflow

NAME = "MahmoodLab/hest-bench"
SLIDES = ("DEMO1A", "DEMO2A")
GENES = ("ERBB2", "GATA3", "FTL", "SCD", "CXCL9", "COL1A1")
CONFIG = {
    "benchmarks": {
        "lab": {"source": "hub", "repository": NAME, "format": "hest_bench", "manifest": "lab.csv"},
    },
    "encoders": ["classical"],
    "methods": ["mean", "ridge"],
    "protocols": ["paper"],
    "seeds": [0],
    "training": {"device": "cpu"},
}
CONFIGURED = ("--configfile", "lab.yaml")


def fault(kind: str, **values: object):
    """A fault of the server."""
    return server.Fault(kind, **values)


@pytest.fixture(scope="module")
def lab(make_lab, tmp_path_factory: pytest.TempPathFactory):
    """A hub with two datasets of two small slides; nothing is downloaded yet."""
    made = tmp_path_factory.mktemp("demo")
    for slide in SLIDES:
        make_slide("demo_hest", slide, made, size_um=700.0)
    bench = made / "bench" / "DEMO_IDC"
    files = {path.relative_to(bench).as_posix(): path.read_bytes() for path in bench.rglob("*") if path.is_file()}
    files["var_50genes.json"] = json.dumps({"genes": GENES}).encode()
    served = {f"{dataset}/{path}": content for dataset in ("IDC", "PRAD") for path, content in files.items()}
    for slide in SLIDES:  # a slide has one home
        for kind, suffix in (("adata", "h5ad"), ("patches", "h5")):
            served[f"PRAD/{kind}/{slide}B.{suffix}"] = served.pop(f"PRAD/{kind}/{slide}.{suffix}")
    rows = [
        f"{dataset},{slide}{more},{slide[4]}{more},*,0,{'test' if slide == 'DEMO2A' else 'train'}"
        for dataset, more in (("IDC", ""), ("PRAD", "B"))
        for slide in SLIDES
    ]
    with server.serve({NAME: server.Repo(served)}) as hub:
        yield make_lab(hub, CONFIG, rows)


def test_a_closed_gate_fails_before_anything_starts(lab) -> None:
    lab.hub.repos[NAME].token = "hf_another"
    done = lab.run("table1")
    lab.hub.repos[NAME].token = None
    assert done.returncode == 1, done.stdout
    assert f"{NAME} is gated, and there is no token here. Visit https://huggingface.co/" in done.stdout
    assert "hf auth login" in done.stdout
    assert "Traceback" not in done.stdout
    assert not lab.hub.fetched()
    assert not (lab.layout.results / "data").exists()


def test_a_slide_s_target_downloads_its_files_only(lab) -> None:
    done = lab.run("results/slides/lab/DEMO1A.h5ad")
    assert done.returncode == 0, done.stdout
    assert lab.hub.fetched() == {"IDC/adata/DEMO1A.h5ad": 1, "IDC/patches/DEMO1A.h5": 1}


def test_a_dataset_s_target_downloads_what_it_lacks_only_also_from_a_hub_with_faults(lab) -> None:
    lab.hub.faults += [fault("status", times=1, status=500), fault("drop", times=1), fault("content", times=1)]
    done = lab.run("IDC")
    assert done.returncode == 0, done.stdout
    assert not [fault for fault in lab.hub.faults if fault.times]
    assert lab.hub.fetched().keys() == {"IDC/adata/DEMO2A.h5ad", "IDC/patches/DEMO2A.h5", "IDC/var_50genes.json"}
    assert not [path for path in (lab.layout.results / "data").rglob("*") if path.suffix in (".incomplete", ".partial")]


def test_fewer_files_put_nothing_out_of_date(lab) -> None:
    lab.configure(benchmarks={"lab": {**CONFIG["benchmarks"]["lab"], "datasets": ["IDC"]}})
    done = lab.run("table1")
    assert done.returncode == 0, done.stdout
    assert lab.rules_run(done).keys() == {"splits", "table1"}, "the record of the folds is of fewer datasets too"
    assert lab.hub.asked == []
    table = lab.layout.table("table1", "md").read_text()
    assert all(name in table for name in ("IDC", "Mean", "Ridge"))


def test_a_second_run_does_nothing_and_asks_nobody(lab) -> None:
    done = lab.run("table1")
    assert "Nothing to be done" in done.stdout
    assert lab.hub.asked == []


def test_what_was_downloaded_and_made_is_verified(lab, capsys) -> None:
    """Of a whole run: tiles that are links, features, runs, tables. The ledger is on the side of the results."""
    from stflow.verify import verify

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(lab.tree.root)
        assert verify(Path("results")) == 0
        capsys.readouterr()
        assert verify(Path("results")) == 0
        assert " and 5 downloaded: all as recorded." in capsys.readouterr().out
        patches = Path("results/data/lab/IDC/patches/DEMO2A.h5")
        content, stat = patches.read_bytes(), patches.stat()
        patches.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert verify(Path("results")) == 1
        assert f"broken            {patches}  (hash " in capsys.readouterr().out
        patches.write_bytes(content)
        os.utime(patches, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert verify(Path("results")) == 0
        (Path("results") / "hashes.json").unlink()


def test_neither_more_files_nor_a_lost_or_newer_commit_file_put_a_download_out_of_date(lab) -> None:
    lab.configure()
    commit = lab.layout.data("lab") / ".hub-commit"
    os.utime(commit)
    assert lab.tree.planned("IDC", *CONFIGURED).count.keys() <= {"IDC"}
    commit.unlink()
    assert lab.tree.planned("IDC", *CONFIGURED).count.keys() <= {"IDC"}
    planned = lab.tree.planned("PRAD", *CONFIGURED).count
    assert (planned["download_0"], planned["hub_lock_0"]) == (5, 0)


def test_a_file_that_the_hub_lacks_is_told_and_the_others_stay(lab) -> None:
    text = (lab.tree.root / "lab.csv").read_text()
    (lab.tree.root / "lab.csv").write_text(f"{text}READ,NONE,9,*,0,train\nREAD,NONE2,8,*,0,test\n")
    failed = lab.run("results/slides/lab/NONE.h5ad")
    (lab.tree.root / "lab.csv").write_text(text)
    assert failed.returncode == 1
    assert f"{NAME} has no READ/adata/NONE.h5ad at ccc" in failed.stdout
    assert lab.tree.planned("IDC", *CONFIGURED).count.keys() <= {"IDC"}


def test_a_mirror_gives_the_same_slide_and_asks_nobody(lab) -> None:
    from stflow.data.slide import read_slide

    before = read_slide(lab.layout.slide("lab", "DEMO1A"))
    (lab.layout.results / "data" / "lab").rename(lab.tree.root / "hest-bench")
    entry = {**CONFIG["benchmarks"]["lab"], "datasets": ["IDC"]}
    lab.configure(data_root=".", results="mirrored", benchmarks={"lab": entry})
    done = lab.run("mirrored/slides/lab/DEMO1A.h5ad")
    assert done.returncode == 0, done.stdout
    assert lab.hub.asked == []
    after = read_slide(Layout(lab.tree.root / "mirrored").slide("lab", "DEMO1A"))
    assert (after.counts != before.counts).nnz == 0
    (lab.tree.root / "hest-bench" / "IDC" / "patches" / "DEMO2A.h5").unlink()
    missing = lab.tree.snakemake("--dry-run", *CONFIGURED)
    assert missing.returncode == 1
    assert (
        "lacks 1 files that benchmark lab needs, or has them empty: hest-bench/IDC/patches/DEMO2A.h5" in missing.stdout
    )
    assert "Traceback" not in missing.stdout
