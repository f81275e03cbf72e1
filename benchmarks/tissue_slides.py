"""Slide files and tiles files for a benchmark, of the demo's tissue."""

from __future__ import annotations

from pathlib import Path

import numpy as np

BENCHMARK, TILE_PX, MPP = "B", 224, 0.5


def slide_name(tiles: int, packed: bool) -> str:
    return f"T{tiles}{'z' if packed else ''}"


def some_tiles(count: int, seed: int = 0) -> np.ndarray:
    """(count, 224, 224, 3) uint8 crops of the demo's tissue, at random places."""
    picture = tissue()
    places = np.random.default_rng(seed).integers(0, len(picture) - TILE_PX, (count, 2))
    return np.stack([picture[y : y + TILE_PX, x : x + TILE_PX] for x, y in places])


def tissue() -> np.ndarray:
    global _tissue
    if _tissue is None:
        from stflow.data.demo.section import make_section

        _tissue = make_section("demo_hest", "DEMO1A", size_um=800.0).image()
    return _tissue


_tissue: np.ndarray | None = None


def make_slide(folder: Path, tiles: int, packed: bool) -> None:
    """A slide file and a tiles file of so many tiles, unless they are there."""
    import h5py

    from stflow.data.slide import write_slide
    from stflow.layout import Layout
    from stflow.wsi.tile_store import TileStore

    name = slide_name(tiles, packed)
    path = Layout(folder).tiles(BENCHMARK, name)
    if path.is_file():
        return
    barcodes = [f"b{index}" for index in range(tiles)]
    centres = np.stack([np.arange(tiles) % 100, np.arange(tiles) // 100], axis=1) * 200.0 + TILE_PX / 2
    write_slide(
        Layout(folder).slide(BENCHMARK, name), name=name, patient="P", barcodes=barcodes, centres_px=centres, mpp=MPP,
        spot_diameter_um=55.0, genes=["G"], counts=np.ones((tiles, 1), np.float32),
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with h5py.File(partial, "w") as handle:
        if packed:
            shape = (TILE_PX, TILE_PX, 3)
            images = handle.create_dataset("img", (tiles, *shape), np.uint8, chunks=(1, *shape), compression="gzip")
            for start in range(0, tiles, 64):
                images[start : start + 64] = some_tiles(min(64, tiles - start), start)
        else:
            store = TileStore(handle, tiles, TILE_PX)
            for start in range(0, tiles, 64):
                for row, tile in enumerate(some_tiles(min(64, tiles - start), start), start):
                    store.put(row, tile)
            handle.attrs["img_sha256"] = store.finish()
        handle.create_dataset("barcode", data=[[barcode] for barcode in barcodes], dtype=h5py.string_dtype())
        handle["coords"] = (centres - TILE_PX / 2).astype(np.int64)
        handle["centres"] = centres
    partial.replace(path)
