"""Encoders with weights from the hub: closed gates, open ones, slides that share a job, slide encoders, plug-ins."""

import hashlib
import os
import re

import h5py
import numpy as np
import pytest

from stflow.data.demo import make_slide
from stflow.embedding.features import read_features

from ..hub import server

pytestmark = pytest.mark.workflow

GATED, OPEN = "MahmoodLab/UNI", "owkin/phikon-v2"
WEIGHTS = b"3 1 4"
SLIDES = ("DEMO1A", "DEMO2A", "DEMO3A")
PLUGIN = '''
"""Encoders of a lab: one of tiles with weights from the hub, one of slides on its features."""
import numpy as np

from stflow.encoders import ENCODERS
from stflow.encoders.base import Encoder, SlideEncoder, Weights


@ENCODERS.register("colour")
class Colour(Encoder):
    name, dim, transform, licence, uses_torch = "colour", 3, "mean colour", "MIT", False
    weights = Weights("owkin/phikon-v2")
    variants = {"red": {"keep": [0], "dim": 1}}
    keep = [0, 1, 2]

    def encode(self, tiles):
        factors = np.array(self.weights_path.read_text().split(), dtype=np.float32)
        return (tiles.mean(axis=(1, 2)) * factors)[:, self.keep].astype(np.float32)


@ENCODERS.register("closed_colour")
class ClosedColour(Colour):
    name, weights = "closed_colour", Weights("MahmoodLab/UNI")


@ENCODERS.register("slide_colour")
class SlideColour(SlideEncoder):
    name, dim, transform, licence, uses_torch = "slide_colour", 5, "colour, and the slide's mean", "MIT", False
    tile_encoder, weights_sha256 = "colour", "none"

    def encode_slide(self, features, corners_px, mpp):
        place = corners_px.astype(np.float32) * mpp
        return np.concatenate([features - features.mean(axis=0), place], axis=1).astype(np.float32)
'''
CONFIG = {
    "benchmarks": {"lab": {"root": "lab", "format": "hest_bench", "manifest": "lab.csv"}},
    "plugins": ["lab_encoders.py"],
    "encoders": ["colour", "closed_colour", "slide_colour"],
    "methods": ["mean", "ridge"],
    "protocols": ["paper"],
    "seeds": [0],
    "training": {"device": "cpu"},
}


def features(lab, encoder: str, slide: str):
    """A slide's features."""
    return read_features(lab.layout.features(encoder, "lab", slide))


@pytest.fixture(scope="module")
def lab(make_lab, tmp_path_factory: pytest.TempPathFactory):
    """One repository open to all, one gated."""
    made = tmp_path_factory.mktemp("demo")
    for slide in SLIDES:
        make_slide("demo_hest", slide, made, size_um=700.0)
    closed = server.Repo({"pytorch_model.bin": WEIGHTS})
    closed.token = "hf_another"
    with server.serve({GATED: closed, OPEN: server.Repo({"model.safetensors": WEIGHTS})}) as hub:
        rows = [f"IDC,{slide},{slide[4]},*,0,{'test' if slide == SLIDES[-1] else 'train'}" for slide in SLIDES]
        lab = make_lab(hub, CONFIG, rows)
        root = lab.tree.root
        (made / "bench" / "DEMO_IDC").rename(made / "bench" / "IDC")
        (made / "bench").rename(root / "lab")
        (root / "lab_encoders.py").write_text(PLUGIN)
        yield lab


def test_a_closed_gate_names_encoder_page_and_command_before_anything_starts(lab) -> None:
    done = lab.run("table1")
    assert done.returncode == 1, done.stdout
    assert f"encoder closed_colour: {GATED} is gated, and there is no token here. Visit https://hugg" in done.stdout
    assert "run: hf auth login" in done.stdout
    assert "add --keep-going" in done.stdout
    assert "Traceback" not in done.stdout
    assert not lab.hub.fetched()
    assert not (lab.layout.results / "features").exists()


def test_the_others_go_on_when_told_to_and_the_tables_say_what_is_missing(lab) -> None:
    done = lab.run("table1", "--keep-going")
    assert done.returncode == 0, done.stdout
    assert lab.hub.fetched() == {"model.safetensors": 1}
    table = lab.layout.table("table1", "md").read_text()
    block = table[table.index("### All methods, lab") :].split("\n\n")[1]
    shown = dict([cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines())
    assert (shown["method"], shown["Ridge, closed_colour"]) == ("IDC", "not run")
    assert re.search(r"0\.\d", shown["Ridge, colour"])
    assert re.search(r"0\.\d", shown["Ridge, slide_colour"])
    assert f"- closed_colour: {GATED} is gated, and there is no token here. Visit https://huggingface.co/" in table
    assert "closed_colour" in lab.layout.table("table1", "csv").read_text()
    assert not (lab.layout.results / "features" / "closed_colour").exists()
    again = lab.run("table1", "--keep-going")
    assert "Nothing to be done" in again.stdout, again.stdout


def test_the_report_leaves_them_out_too(lab) -> None:
    done = lab.run("all", "--keep-going")
    assert done.returncode == 0, done.stdout
    assert "closed_colour" in lab.layout.report.read_text()


def test_features_are_of_the_downloaded_weights_and_say_so(lab) -> None:
    table = features(lab, "colour", SLIDES[0])
    assert table.weights_sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    with h5py.File(lab.layout.tiles("lab", SLIDES[0])) as handle:
        mean = handle["img"][:].mean(axis=(1, 2))
    assert table.features == pytest.approx(mean * [3, 1, 4], rel=1e-5)


def test_a_slide_encoder_reads_the_features_of_its_tile_encoder(lab) -> None:
    tiles, slide = features(lab, "colour", SLIDES[0]), features(lab, "slide_colour", SLIDES[0])
    assert slide.barcodes.tolist() == tiles.barcodes.tolist()
    assert slide.features[:, :3] == pytest.approx(tiles.features - tiles.features.mean(axis=0), abs=1e-4)
    assert slide.tiles_sha256 == tiles.tiles_sha256


def test_weights_that_a_mirror_lacks_are_told_at_once(lab) -> None:
    lab.configure(weights_root="mirror")
    for words, returncode in ((("--dry-run",), 1), (("--dry-run", "--keep-going"), 1)):
        done = lab.run("table1", *words)
        assert done.returncode == returncode
        assert "encoder colour: its weights are not at mirror/phikon-v2/model.safetensors" in done.stdout
        assert "Traceback" not in done.stdout
    assert not lab.hub.asked
    lab.configure(weights_root="mirror", encoders=["colour", "classical"])
    done = lab.run("results/features/classical/lab/DEMO1A.h5", "--dry-run", "--keep-going")
    assert done.returncode == 0, done.stdout
    lab.configure()


def test_slides_share_a_job_and_what_is_done_stays_done(lab) -> None:
    lab.configure(encoders=["colour+red"], embedding={"slides_per_job": 2})
    done = lab.run("features")
    assert done.returncode == 0, done.stdout
    ran = lab.rules_run(done)
    assert (ran["embed_part"], ran["place_features"]) == (2, 3)
    before = {slide: features(lab, "colour+red", slide) for slide in SLIDES}
    assert before[SLIDES[0]].features.shape[1] == 1
    for slide in SLIDES:
        np.testing.assert_array_equal(before[slide].features, features(lab, "colour", slide).features[:, :1])
    assert "Nothing to be done" in lab.run("features").stdout

    lab.layout.features("colour+red", "lab", SLIDES[1]).unlink()
    assert lab.rules_run(lab.run("features")) == {"place_features": 1, "features": 1}

    lab.layout.features_part("colour+red", "lab", "IDC.0").unlink()  # as after a crash in the second slide
    lab.layout.features("colour+red", "lab", SLIDES[0]).unlink()
    lab.layout.features("colour+red", "lab", SLIDES[1]).unlink()
    lab.layout.kept_features("colour+red", "lab", SLIDES[1]).unlink()
    assert lab.run("features").returncode == 0
    log = (lab.layout.results / "logs/embed/colour+red/lab/partIDC.0.log").read_text()
    assert re.search(rf"{SLIDES[0]} \(1 of 2\): \d+ tiles from an earlier run", log)
    assert re.search(rf"{SLIDES[1]} \(2 of 2\): \d+ of \d+ tiles, \d+ tiles/s", log)
    for slide in SLIDES:
        np.testing.assert_array_equal(features(lab, "colour+red", slide).features, before[slide].features)
    lab.configure()


def test_another_dataset_makes_no_features_anew(lab) -> None:
    shared = {"encoders": ["colour+red"], "embedding": {"slides_per_job": 2}}
    for name in ("adata/X1.h5ad", "patches/X1.h5", "adata/X2.h5ad", "patches/X2.h5"):
        path = lab.tree.root / "lab" / "AAA" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    manifest = lab.tree.root / "lab.csv"
    rows = manifest.read_text()
    manifest.write_text(f"{rows}AAA,X1,8,*,0,train\nAAA,X2,9,*,0,test\n")
    lab.configure(**shared)
    planned = lab.tree.planned("features", "--configfile", "lab.yaml")
    assert (planned.count["embed_part"], planned.count["place_features"]) == (1, 2)
    manifest.write_text(rows)
    lab.configure()


def test_an_edited_plug_in_makes_its_features_again(lab) -> None:
    lab.configure(encoders=["colour", "classical"])
    assert lab.run("features").returncode == 0
    lab.tree.edit("lab_encoders.py", "mean(axis=(1, 2))", "max(axis=(1, 2))")
    planned = lab.tree.planned("features", "--configfile", "lab.yaml")
    assert planned.count["embed"] == len(SLIDES)
    assert all("with colour" in message for message in planned.messages if "Embed" in message)
    os.utime(lab.tree.root / "lab_encoders.py")
