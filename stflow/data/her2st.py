"""The her2st study's sections in HEST-1k's layout.

Six sections of three HER2-positive breast tumours (Andersson et al., Nat. Commun. 12:6012, 2021), legacy Spatial
Transcriptomics: spots 100 um wide, 200 um apart. ``resources/her2st.json`` pins every file by repository path,
commit, size and hash, and holds each image's um/px and where the spots lie on it.

Below the root::

    wsis/<section>.tif         pyramid of the published image, without loss
    st/<section>.h5ad          raw counts; obs_names "10x13" as published; obsm["spatial"] spot centres, level-0 px
    metadata/<section>.json    pixel_size_um_estimated, patient, spots
    download/                  the published files, if they were fetched
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stflow.data.download import fetch, require_sha256
from stflow.errors import DataError
from stflow.h5 import write_anndata
from stflow.io import SCHEMA_VERSION, read_json, write_json

if TYPE_CHECKING:
    import pandas as pd

FACTS = Path(__file__).resolve().parent.parent.parent / "resources" / "her2st.json"


def sections() -> list[str]:
    """Names of the sections: A1, A2, B4, C2, C3, C4."""
    return list(read_json(FACTS)["sections"])


def make_section(section: str, root: Path, pack: Path | None) -> None:
    """Turn one section into HEST-1k's layout below ``root``.

    Parameters
    ----------
    section
        Section name, e.g. B4.
    root
        Folder to write into.
    pack
        Folder with the study's files; without one they are downloaded to ``root/download``.

    Raises
    ------
    DataError
        No such section; a file that is missing or cannot be fetched.
    IntegrityError
        A file is not the published one.
    """
    study = read_json(FACTS)
    if section not in study["sections"]:
        raise DataError(f"her2st has no section {section!r}. Known: {', '.join(study['sections'])}.")
    facts = study["sections"][section]
    files = published_files(section, Path(root) / "download", None if pack is None else Path(pack))
    _write_counts(Path(root) / "st" / f"{section}.h5ad", section, study, files)
    _write_image(Path(root) / "wsis" / f"{section}.tif", files["image"], facts["mpp"])
    write_json(
        Path(root) / "metadata" / f"{section}.json",
        {
            "schema": SCHEMA_VERSION,
            "id": section,
            "hest_id": facts["hest_id"],
            "patient": facts["patient"],
            "st_technology": "Spatial Transcriptomics",
            "pixel_size_um_estimated": facts["mpp"],
            "fullres_px_width": facts["size_px"][0],
            "fullres_px_height": facts["size_px"][1],
            "spots_under_tissue": facts["n_spots"],
            "spot_diameter": study["spot_diameter_um"],
            "inter_spot_dist": study["spot_pitch_um"],
            "source": f"{study['repository']} at {study['commit']}",
            "licence": study["licence"],
        },
    )


def published_files(section: str, download: Path, pack: Path | None) -> dict[str, Path]:
    """``image``, ``counts`` and ``spots`` of a section: from the pack, or fetched into ``download``; hashes checked.

    Raises
    ------
    DataError, IntegrityError
        See `make_section`.
    """
    study = read_json(FACTS)
    found = {}
    for kind, entry in study["sections"][section]["files"].items():
        if pack is None:
            address = study["address"].format(commit=study["commit"], path=entry["upstream"])
            found[kind] = fetch(address, download / entry["pack"], entry["sha256"])
            continue
        path = pack / entry["pack"]
        if not path.is_file():
            raise DataError(
                f"the her2st pack lacks {path}. Correct benchmarks.her2st.pack, or leave it out to download the files."
            )
        require_sha256(path, entry["sha256"], str(path))
        found[kind] = path
    return found


def _write_image(path: Path, source: Path, mpp: float) -> None:
    from stflow.wsi.pyramid import write_pyramid

    write_pyramid(path, source, mpp)


def _write_counts(path: Path, section: str, study: dict[str, Any], files: dict[str, Path]) -> None:
    import anndata
    import pandas as pd
    from scipy import sparse

    facts = study["sections"][section]
    counts = pd.read_csv(files["counts"], sep="\t", index_col=0)
    spots = _spots(files["spots"]).reindex(counts.index)
    unplaced = spots.index[spots["pixel_x"].isna()]
    if len(unplaced):
        raise DataError(
            f"section {section}: {len(unplaced)} of {len(counts)} spots of {files['counts']} are not in "
            f"{files['spots']} (first: {unplaced[0]}). Fetch both files of one commit."
        )
    if len(counts) != facts["n_spots"]:
        raise DataError(
            f"section {section}: {len(counts)} spots in {files['counts']}, {facts['n_spots']} were published."
            " Fetch it again."
        )
    affine = np.asarray(facts["spots_to_image"])
    centres = spots[["pixel_x", "pixel_y"]].to_numpy() @ affine[:, :2].T + affine[:, 2]
    adata = anndata.AnnData(
        X=sparse.csr_matrix(counts.to_numpy(dtype=np.float32)),
        obs=pd.DataFrame(
            {"array_row": spots["y"].astype(int), "array_col": spots["x"].astype(int)}, index=counts.index.astype(str)
        ),
        var=pd.DataFrame(index=counts.columns.astype(str)),
        obsm={"spatial": centres},
        uns={"spatial": {"ST": {"scalefactors": {"spot_diameter_fullres": study["spot_diameter_um"] / facts["mpp"]}}}},
    )
    write_anndata(path, adata)


def _spots(path: Path) -> pd.DataFrame:
    """The spot file by spot name "<x>x<y>": x, y on the array; pixel_x, pixel_y on the full-size image."""
    import pandas as pd

    table = pd.read_csv(path, sep="\t")
    table.index = pd.Index(table["x"].astype(str) + "x" + table["y"].astype(str))
    return table
