"""The her2st sections: pinned, fetched whole or not at all, and where the study says their spots are."""

import functools
import gzip
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import anndata
import h5py
import numpy as np
import openslide
import pandas as pd
import pytest
from PIL import Image

from stflow.data import her2st
from stflow.data.counts import make_counts
from stflow.data.download import fetch
from stflow.data.splits import Manifest
from stflow.errors import DataError, IntegrityError
from stflow.wsi.tiles import make_tiles

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT.parent / "shared" / "data" / "her2st"
real_data = [pytest.mark.real_data, pytest.mark.skipif(not PACK.is_dir(), reason=f"no her2st pack at {PACK}")]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A local web server: its address, and the folder it serves. ``busy`` answers 503 once, then its content."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path.endswith("busy") and asked.count(self.path) == 1:
                self.send_error(503)
            else:
                super().do_GET()

        def log_message(self, *args: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", folder
    httpd.shutdown()
    thread.join()


@pytest.fixture
def made_up(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A study of one tiny section, served; returns a pack folder with the same files."""
    address, folder = server
    pack = tmp_path / "pack"
    pack.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(pack / "image.png")
    (pack / "counts.tsv.gz").write_bytes(gzip.compress(b"\tGATA3\tERBB2\n2x1\t0\t5\n1x1\t3\t0\n"))
    (pack / "spots.tsv").write_text(
        "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n1\t1\t1\t1\t10\t20\t1\n2\t1\t2\t1\t30\t20\t1\n9\t9\t9\t9\t0\t0\t1\n"
    )
    files = {}
    for kind, name in (("image", "image.png"), ("counts", "counts.tsv.gz"), ("spots", "spots.tsv")):
        data = (pack / name).read_bytes()
        (folder / f"{kind}.up").write_bytes(data)
        files[kind] = {
            "pack": name,
            "upstream": f"{kind}.up",
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    section = {
        "patient": "Z", "hest_id": "none", "mpp": 2.0, "size_px": [80, 60], "n_spots": 2,
        "spots_to_image": [[0.5, 0.0, 1.0], [0.0, 0.5, 2.0]], "files": files,
    }  # fmt: skip
    study = json.loads(her2st.FACTS.read_text()) | {"address": f"{address}/{{path}}", "sections": {"Z1": section}}
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps(study))
    monkeypatch.setattr(her2st, "FACTS", facts)
    return pack


@pytest.mark.parametrize("from_pack", [True, False])
def test_a_section_becomes_a_hest_slide_from_pack_or_download(made_up: Path, tmp_path: Path, from_pack: bool) -> None:
    root = tmp_path / "root"
    her2st.make_section("Z1", root, made_up if from_pack else None)
    adata = anndata.read_h5ad(root / "st" / "Z1.h5ad")
    assert adata.obs_names.tolist() == ["2x1", "1x1"]
    np.testing.assert_allclose(adata.obsm["spatial"], [[16, 12], [6, 12]])
    assert adata[:, "ERBB2"].X.toarray().ravel().tolist() == [5, 0]
    with openslide.OpenSlide(root / "wsis" / "Z1.tif") as slide:
        assert slide.dimensions == (80, 60)
    make_counts("hest", root, "HER2ST", "Z1", "Z", tmp_path / "s.h5ad")
    assert json.loads((root / "metadata" / "Z1.json").read_text())["pixel_size_um_estimated"] == 2.0
    assert (root / "download").exists() is not from_pack


def test_a_changed_file_is_refused(made_up: Path, tmp_path: Path, server: tuple[str, Path]) -> None:
    (made_up / "spots.tsv").write_text("x\n")
    with pytest.raises(IntegrityError, match=r"spots\.tsv is not the published file: SHA-256 .*fetch it again"):
        her2st.make_section("Z1", tmp_path / "root", made_up)
    (server[1] / "counts.up").write_bytes(b"cut short")
    with pytest.raises(IntegrityError, match=r"counts\.up is not the published file.*9 bytes"):
        her2st.make_section("Z1", tmp_path / "root", None)
    assert not (tmp_path / "root" / "download" / "counts.tsv.gz").exists()


def test_a_pack_without_a_file_and_an_unknown_section(made_up: Path, tmp_path: Path) -> None:
    (made_up / "image.png").unlink()
    with pytest.raises(DataError, match=r"the her2st pack lacks .*image\.png.*leave it out to download"):
        her2st.make_section("Z1", tmp_path, made_up)
    with pytest.raises(DataError, match=r"her2st has no section 'Z9'\. Known: Z1"):
        her2st.make_section("Z9", tmp_path, made_up)


def test_fetch_tries_again_keeps_what_is_whole_and_says_what_is_missing(
    tmp_path: Path, server: tuple[str, Path]
) -> None:
    address, folder = server
    (folder / "busy").write_bytes(b"content")
    sha256 = hashlib.sha256(b"content").hexdigest()
    path = fetch(f"{address}/busy", tmp_path / "got", sha256, pause_s=0.01)
    assert path.read_bytes() == b"content"
    (folder / "busy").unlink()
    assert fetch(f"{address}/busy", tmp_path / "got", sha256) == path  # no call is made
    with pytest.raises(DataError, match=r"could not fetch .*/none .*404.*after 1 tries. Check the network"):
        fetch(f"{address}/none", tmp_path / "other", sha256)
    assert not (tmp_path / "other").exists()


def test_no_network_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"could not fetch http://127\.0\.0\.1:9/.*after 4 tries"):
        fetch("http://127.0.0.1:9/x", tmp_path / "x", "0" * 64, pause_s=0.001)


def test_folds_leave_one_patient_out() -> None:
    manifest = Manifest.read(ROOT / "resources" / "splits" / "her2st.csv")
    assert manifest.slides("HER2ST") == her2st.sections()
    for protocol in ("paper", "clean"):
        tests = [manifest.fold("HER2ST", protocol, index).test for index in manifest.folds("HER2ST", protocol)]
        assert tests == [("A1", "A2"), ("B4",), ("C2", "C3", "C4")]


def test_every_file_is_pinned() -> None:
    study = json.loads(her2st.FACTS.read_text())
    assert len(study["commit"]) == 40
    for section in study["sections"].values():
        assert {len(entry["sha256"]) for entry in section["files"].values()} == {64}
        assert set(section["files"]) == {"image", "counts", "spots"}


@pytest.mark.real_data
@pytest.mark.skipif(not PACK.is_dir(), reason=f"no her2st pack at {PACK}")
@pytest.mark.parametrize("section", ["A1", "A2"])
def test_reduced_sections_have_their_spots_where_the_pack_says(section: str) -> None:
    facts = json.loads(her2st.FACTS.read_text())["sections"][section]
    spots = pd.read_csv(PACK / "spots" / f"{section}_selection.tsv", sep="\t")
    truth = pd.read_csv(PACK / "derived" / f"{section}_lowres_spots.tsv", sep="\t")
    both = spots.merge(truth, on=["x", "y"])
    affine = np.array(facts["spots_to_image"])
    found = both[["pixel_x", "pixel_y"]].to_numpy() @ affine[:, :2].T + affine[:, 2]
    assert len(both) == facts["n_spots"]
    assert np.abs(found - both[["pixel_x_lowres", "pixel_y_lowres"]].to_numpy()).max() < 0.01


@pytest.mark.real_data
@pytest.mark.skipif(not PACK.is_dir(), reason=f"no her2st pack at {PACK}")
def test_section_b4_from_pack_to_tiles(tmp_path: Path) -> None:
    her2st.make_section("B4", tmp_path, PACK)
    make_counts("hest", tmp_path, "HER2ST", "B4", "B", tmp_path / "s.h5ad")
    with openslide.OpenSlide(tmp_path / "wsis" / "B4.tif") as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.6878, abs=1e-4)
        assert slide.dimensions == (9272, 9923)
    make_tiles("hest", tmp_path, "HER2ST", "B4", tmp_path / "s.h5ad", tmp_path / "t.h5",
               tile_um=112.0, tile_px=224, min_tissue=0.15)  # fmt: skip
    adata = anndata.read_h5ad(tmp_path / "s.h5ad")
    assert adata.n_obs == 283
    with h5py.File(tmp_path / "t.h5") as tiles:
        assert tiles["img"].shape == (283, 224, 224, 3)
        assert tiles["coords"].attrs["patch_size_src"] == 163
        images = tiles["img"][::2, ::4, ::4]
        names = tiles["barcode"].asstr()[::2].ravel()
    assert (images.std(axis=(1, 2, 3)) > 4).all()
    # Where there are more nuclei (darker red channel) there are more transcripts: the spots are where they should be.
    depth = np.log1p(np.asarray(adata[names].X.sum(axis=1)).ravel())
    assert np.corrcoef(-images[..., 0].mean(axis=(1, 2)), depth)[0, 1] > 0.5
