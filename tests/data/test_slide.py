"""A slide is read back as it was written, joined to its features by barcode, and refused when cut short."""

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from stflow.data.slide import Slide, read_slide, write_slide
from stflow.embedding.features import Features, read_features, write_features
from stflow.errors import GeneError, IntegrityError

N, G = 12, 7


def make_files(folder: Path, barcodes: list[str] | None = None) -> tuple[Path, Path, sparse.csr_matrix]:
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(1.0, (N, G)).astype(np.uint16))
    names = [f"spot{i}" for i in range(N)]
    write_slide(
        folder / "s.h5ad",
        name="S1",
        patient="P1",
        barcodes=names,
        centres_px=rng.random((N, 2)) * 1000,
        mpp=0.5,
        spot_diameter_um=55,
        genes=[f"G{i}" for i in range(G)],
        counts=counts,
    )
    kept = barcodes if barcodes is not None else names[::-2]
    write_features(
        folder / "f.h5",
        Features(
            features=np.arange(len(kept) * 3, dtype=np.float32).reshape(-1, 3),
            barcodes=np.array(kept, dtype=object),
            coords=np.zeros((len(kept), 2), dtype=np.int64),
            centres=np.zeros((len(kept), 2)),
            encoder="fake",
            weights_sha256="w",
            transform="none",
            precision="fp32",
            tiles_sha256="t",
        ),
    )
    return folder / "s.h5ad", folder / "f.h5", counts


def test_round_trip(tmp_path: Path) -> None:
    path, _, counts = make_files(tmp_path)
    slide = read_slide(path)
    assert (slide.counts.toarray() == counts.toarray()).all()
    assert (slide.name, slide.patient, slide.mpp) == ("S1", "P1", 0.5)
    assert np.allclose(slide.centres_um, slide.centres_px * 0.5)
    np.testing.assert_allclose(slide.expression(["G3", "G0"])[:, 0], np.log1p(counts.toarray()[:, 3]), rtol=1e-6)


def test_the_file_is_an_anndata_that_scanpy_reads(tmp_path: Path) -> None:
    import anndata

    path, _, counts = make_files(tmp_path)
    adata = anndata.read_h5ad(path)
    assert (adata.X.toarray() == counts.toarray()).all()
    assert adata.obsm["spatial"].shape == (N, 2)


def test_features_join_by_barcode_not_by_position(tmp_path: Path) -> None:
    path, features, counts = make_files(tmp_path)
    slide = read_slide(path, {"fake": features})
    order = [int(str(name).removeprefix("spot")) for name in slide.barcodes]
    assert order == list(range(N - 1, -1, -2))
    assert (slide.counts.toarray() == counts.toarray()[order]).all()
    assert slide.features["fake"].shape == (len(order), 3)


def test_barcodes_that_the_counts_lack_are_refused(tmp_path: Path) -> None:
    path, features, _ = make_files(tmp_path, barcodes=["spot0", "other-1", "other-2"])
    with pytest.raises(IntegrityError, match=r"slide S1: 2 of 3 barcodes .* not in its counts \(first: other-1\)"):
        read_slide(path, {"fake": features})


def test_a_missing_gene_is_named(tmp_path: Path) -> None:
    slide = read_slide(make_files(tmp_path)[0])
    with pytest.raises(GeneError, match=r"slide S1: 2 of 3 listed genes are not in its counts: ERBB2, VWF"):
        slide.expression(["G1", "ERBB2", "VWF"])


@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_features_file_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    features = make_files(tmp_path)[1]
    raw = features.read_bytes()
    features.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(IntegrityError, match=r"f\.h5 .*cut short|f\.h5 is not a whole HDF5 file"):
        read_features(features)


def test_features_with_another_hash_or_count_are_refused(tmp_path: Path) -> None:
    import h5py

    features = make_files(tmp_path)[1]
    with h5py.File(features, "r+") as handle:
        handle["features"][0, 0] += 1
    with pytest.raises(IntegrityError, match="hash is not the one recorded"):
        read_features(features)
    with h5py.File(features, "r+") as handle:
        handle.attrs["n_expected"] = 99
    with pytest.raises(IntegrityError, match="99 were promised"):
        read_features(features)


def test_barcodes_must_be_unique(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="slide S1: barcodes are not unique"):
        write_slide(
            tmp_path / "s.h5ad",
            name="S1",
            patient="P",
            barcodes=["a", "a"],
            centres_px=np.zeros((2, 2)),
            mpp=1.0,
            spot_diameter_um=55,
            genes=["G"],
            counts=np.ones((2, 1)),
        )


def test_to_data_batches_without_padding(tmp_path: Path) -> None:
    from torch_geometric.data import Batch

    path, features, _ = make_files(tmp_path)
    slide: Slide = read_slide(path, {"fake": features})
    data = slide.to_data("fake", ["G1", "G2"])
    batch = Batch.from_data_list([data, data])
    assert batch.x.shape == (2 * len(slide), 3)
    assert batch.y.shape == (2 * len(slide), 2)
    assert batch.batch.tolist() == [0] * len(slide) + [1] * len(slide)
