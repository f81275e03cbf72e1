"""An HDF5 file is whole or absent, on a full disk too, and the process that wrote it goes on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stflow.errors import ResourceError
from stflow.h5 import create_h5, write_anndata
from stflow.io import open_h5


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (50, 32, 32), dtype=np.uint8)
    with create_h5(tmp_path / "a" / "x.h5") as handle:
        handle.create_dataset("x", data=values, chunks=(1, 32, 32))
        handle.attrs["n"] = 50
    with open_h5(tmp_path / "a" / "x.h5") as handle:
        assert (handle["x"][:] == values).all()
        assert handle.attrs["n"] == 50
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.h5"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with create_h5(path) as handle:
        handle["x"] = [1]
    with pytest.raises(KeyError), create_h5(path) as handle:
        del handle["y"]
    with open_h5(path) as handle:
        assert handle["x"][0] == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("limit", [100, 3_000, 100_000])
def test_a_full_disk_is_an_error_and_not_a_crash(
    tmp_path: Path, full_disk: Callable[[str, int], str], limit: int
) -> None:
    output = full_disk(
        f"""
        import numpy as np
        from stflow.h5 import create_h5
        with create_h5({str(tmp_path / "x.h5")!r}) as handle:
            images = handle.create_dataset("img", shape=(50, 64, 64), chunks=(1, 64, 64), dtype="u1")
            for row in range(50):
                images[row] = row
        """,
        limit,
    )
    assert output.startswith("ResourceError disk full while writing")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_does_not_crash_anndata(tmp_path: Path, full_disk: Callable[[str, int], str]) -> None:
    output = full_disk(
        f"""
        import anndata, numpy as np
        from stflow.h5 import write_anndata
        write_anndata({str(tmp_path / "x.h5ad")!r}, anndata.AnnData(np.ones((100, 200), dtype="f4")))
        """,
        20_000,
    )
    assert "ResourceError disk full" in output
    assert list(tmp_path.iterdir()) == []


def test_too_large_a_file_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"needs 1000000\.0 GB"), create_h5(tmp_path / "x.h5", 10**15):
        pytest.fail("the block must not run")
    assert list(tmp_path.iterdir()) == []


def test_anndata_reads_what_write_anndata_wrote(tmp_path: Path) -> None:
    import anndata

    adata = anndata.AnnData(np.eye(3, dtype=np.float32), uns={"stflow": {"schema": 1}})
    write_anndata(tmp_path / "x.h5ad", adata)
    back = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert (back.X == adata.X).all()
    assert back.uns["stflow"]["schema"] == 1
