"""From any format to the slide file: read a slide's counts, refuse what no method could use, write."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stflow.data.formats import FORMATS
from stflow.data.formats.base import Counts, SlideFormat
from stflow.data.slide import write_slide
from stflow.errors import DataError
from stflow.names import text_problem


def make_counts(
    format: str, root: Path, dataset: str, slide: str, patient: str, out: Path, mpp: float | None = None
) -> None:
    """Write ``slides/<benchmark>/<slide>.h5ad`` from the files of one format.

    Parameters
    ----------
    format
        Name of a registered slide format.
    root
        Folder with the benchmark's files.
    dataset, slide, patient
        Names; the patient is the split manifest's.
    out
        Slide file to write.
    mpp
        um/px of slides that neither their files nor their metadata tell it of.

    Raises
    ------
    DataError
        See `require_usable` and the format's ``read_counts``.
    """
    reader: SlideFormat = FORMATS.get(format)(Path(root))
    reader.given_mpp = mpp
    counts = reader.read_counts(dataset, slide)
    where = f"slide {slide} ({reader.counts_files(dataset, slide)[0]})"
    require_usable(counts, where)
    write_slide(
        out,
        name=slide,
        patient=patient,
        barcodes=[str(name) for name in counts.barcodes],
        centres_px=counts.centres_px,
        mpp=counts.mpp,
        spot_diameter_um=counts.spot_diameter_um,
        genes=_unique(counts.genes),
        counts=counts.counts,
        mpp_source=counts.mpp_source,
    )


def require_usable(counts: Counts, where: str) -> None:
    """Check what a reader returned.

    Raises
    ------
    DataError
        No spots or genes; sizes that do not fit; a barcode that occurs twice; a name with a control character; a centre
        or count that is missing, negative or not a whole number.
    SlideError
        No plausible um/px.
    """
    from stflow.wsi.scale import require_mpp

    n_spots, n_genes = len(counts.barcodes), len(counts.genes)
    if n_spots == 0 or n_genes == 0:
        raise DataError(
            f"{where} is empty: {n_spots} spots, {n_genes} genes. Fetch its counts again, or take the slide out of "
            "the split manifest."
        )
    if counts.counts.shape != (n_spots, n_genes) or counts.centres_px.shape != (n_spots, 2):
        raise DataError(
            f"{where}: {n_spots} barcodes and {n_genes} genes, but counts {counts.counts.shape} and centres "
            f"{counts.centres_px.shape}. Fetch the files again."
        )
    require_mpp(counts.mpp, where)
    names, occurrences = np.unique(counts.barcodes.astype(str), return_counts=True)
    if names.size < n_spots:
        twice = names[occurrences > 1]
        raise DataError(
            f"{where}: {n_spots - names.size} barcodes are not unique (first: {twice[0]}). Give each spot a name of "
            "its own."
        )
    problems = [problem for name in (*counts.barcodes, *counts.genes) if (problem := text_problem(str(name)))]
    if problems:
        raise DataError(f"{where}: {len(problems)} barcodes or genes are no names ({problems[0]}). Give them others.")
    unplaced = ~np.isfinite(counts.centres_px).all(axis=1)
    if unplaced.any():
        raise DataError(
            f"{where}: {unplaced.sum()} of {n_spots} spots have no centre (first: {counts.barcodes[unplaced][0]}). "
            "Complete the coordinates or drop those spots."
        )
    _require_raw(counts.counts.data, where)


def _require_raw(values: np.ndarray, where: str) -> None:
    """Counts that are not zero must be whole, positive numbers."""
    if values.dtype.kind in "ub":
        return
    remedy = "Give raw counts, neither normalised nor log-transformed."
    if not np.isfinite(values).all():
        share = float(np.mean(~np.isfinite(values)))
        raise DataError(f"{where}: {share:.0%} of its counts other than zero are not numbers (NaN). {remedy}")
    if values.size and values.min() < 0:
        raise DataError(f"{where}: its counts go down to {values.min():g}. {remedy}")
    if values.dtype.kind == "f" and (broken := values[values != np.rint(values)]).size:
        raise DataError(f"{where}: {broken.size} of its counts are not whole numbers (first: {broken[0]:g}). {remedy}")


def _unique(genes: tuple[str, ...]) -> list[str]:
    """Gene symbols, a repeated one with ``-1``, ``-2``... as AnnData names them."""
    if len(set(genes)) == len(genes):
        return list(genes)
    import pandas as pd
    from anndata.utils import make_index_unique

    return make_index_unique(pd.Index(genes)).tolist()
