"""How two sets of patches of one slide differ, as of this project's cut and hest-bench's own: in spots, places, pixels.

HEST resizes with OpenCV's bilinear, which looks at four pixels; here Pillow's bilinear averages over all that a pixel
covers. Where the level read is of the wanted size already the two are the same; else edges differ by some grey levels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from stflow.io import open_h5, reading
from stflow.wsi.ready import barcodes, require_tiles

_NAMED = 10  # spots that are listed


def compare_patches(ours: Path, theirs: Path) -> dict[str, Any]:
    """Compare two tiles files by barcode.

    Parameters
    ----------
    ours, theirs
        Files with ``img``, ``coords`` and ``barcode``: this project's tiles, or hest-bench's patches.

    Returns
    -------
    dict
        ``spots``: how many in both and in one only, some of the latter by name; ``scale``: um/px, side in level-0 px
        and tile in px of each; ``places``: shared spots with the same corner, most px apart; ``pixels``: of the shared
        tiles the mean absolute difference (grey levels), the share of identical ones, the mean correlation, and the
        worst by name; None where tiles are of different size.

    Raises
    ------
    IntegrityError
        A file is cut short, or is no tiles file.
    """
    with open_h5(ours) as one, open_h5(theirs) as other:
        rows = []
        for handle, path in ((one, ours), (other, theirs)):
            with reading(path, "Fetch or make it again."):
                require_tiles(handle, Path(path))
                rows.append({name: row for row, name in enumerate(barcodes(handle))})
        shared = [name for name in rows[0] if name in rows[1]]
        only = [[name for name in rows[side] if name not in rows[1 - side]] for side in (0, 1)]
        pairs = [(rows[0][name], rows[1][name]) for name in shared]
        return {
            "spots": {
                "both": len(shared),
                "only_ours": len(only[0]),
                "only_theirs": len(only[1]),
                "only_ours_named": only[0][:_NAMED],
                "only_theirs_named": only[1][:_NAMED],
            },
            "scale": {"ours": _scale(one, ours), "theirs": _scale(other, theirs)},
            "places": _places(one, other, pairs),
            "pixels": _pixels(one, other, pairs, shared),
        }


def _scale(handle: Any, path: Path) -> dict[str, float | None]:
    attrs = {**handle["img"].attrs, **handle["coords"].attrs}
    found = {"mpp": attrs.get("pixel_size"), "side_px": attrs.get("patch_size_src"), "tile_px": handle["img"].shape[1]}
    with reading(path, "Fetch or make it again."):
        return {key: None if value is None else float(value) for key, value in found.items()}


def _places(one: Any, other: Any, pairs: list[tuple[int, int]]) -> dict[str, float] | None:
    if not pairs:
        return None
    left, right = np.array(pairs).T
    apart = np.abs(one["coords"][:][left] - other["coords"][:][right]).max(axis=1)
    return {"same": int((apart == 0).sum()), "most_px_apart": float(apart.max())}


def _pixels(one: Any, other: Any, pairs: list[tuple[int, int]], names: list[str]) -> dict[str, Any] | None:
    if not pairs or one["img"].shape[1:] != other["img"].shape[1:]:
        return None
    difference, correlation = np.zeros(len(pairs)), np.zeros(len(pairs))
    for index, (left, right) in enumerate(pairs):
        a, b = (handle["img"][row].astype(np.float64).ravel() for handle, row in ((one, left), (other, right)))
        difference[index] = np.abs(a - b).mean()
        flat = a.std() == 0 or b.std() == 0
        correlation[index] = float((a == b).all()) if flat else np.corrcoef(a, b)[0, 1]
    worst = np.argsort(-difference, kind="stable")[:_NAMED]
    return {
        "mean_absolute_difference": float(difference.mean()),
        "identical": float((difference == 0).mean()),
        "correlation": float(correlation.mean()),
        "worst": {names[index]: round(float(difference[index]), 3) for index in worst if difference[index] > 0},
    }


def to_text(found: dict[str, Any]) -> str:
    """The comparison in lines for people."""
    spots, places, pixels = found["spots"], found["places"], found["pixels"]
    lines = [f"spots    {spots['both']} in both, {spots['only_ours']} only ours, {spots['only_theirs']} only theirs"]
    for side in ("ours", "theirs"):
        if spots[f"only_{side}"]:
            more = ", ..." * (spots[f"only_{side}"] > _NAMED)
            lines.append(f"         only {side}: {', '.join(spots[f'only_{side}_named'])}{more}")
    for side, scale in found["scale"].items():
        mpp, box, tile = (
            "unknown" if scale[key] is None else f"{scale[key]:.6g}" for key in ("mpp", "side_px", "tile_px")
        )
        lines.append(f"scale    {side}: {mpp} um/px, boxes of {box} level-0 px as {tile} px")
    if places is not None:
        lines.append(
            f"places   {places['same']} of {spots['both']} the same; {places['most_px_apart']:g} px at most apart"
        )
    if pixels is None:
        lines.append("pixels   not compared: no spot in both, or tiles of different size")
    else:
        lines.append(
            f"pixels   {pixels['identical']:.1%} of tiles identical; mean absolute difference "
            f"{pixels['mean_absolute_difference']:.2f} of 255; mean correlation {pixels['correlation']:.4f}"
        )
        if pixels["worst"]:
            lines.append("         most apart: " + ", ".join(f"{k} ({v:.1f})" for k, v in pixels["worst"].items()))
    return "\n".join(lines)


def print_comparison(ours: Path, theirs: Path, as_json: bool) -> None:
    """Print the comparison, for people or as JSON."""
    found = compare_patches(ours, theirs)
    print(json.dumps(found, indent=2) if as_json else to_text(found))
