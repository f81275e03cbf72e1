"""Tiles written a second against tiles read a second, and memory against the size of the slide.

    python benchmarks/tiling.py
    python benchmarks/tiling.py --sizes 5000 --processes 1 --repeats 1      # a quick look

Pictures are made on the spot, of the demo's tissue: a JPEG pyramid for the HEST-like cut (112 um, at 0.5 and at 0.25
um/px) and a PNG for the STImage-like one (squares of a spot's width, 55 um at 0.5 um/px). Spots lie 100 um apart and
are asked for in random order, as sorted barcodes leave them.

``reading`` is the least that any cutter must do: OpenSlide's read_region of the same boxes in rows, so that its cache
serves best, and a bilinear resize where the side is not 224 px; nothing is kept. A PNG is decoded once, whole, in
memory. ``writing`` is `cut_tiles` from opening the slide to the tiles file under its own name: overview, tissue, tiles,
hashes, all on disk. Processes each cut a slide of their own, start together, and are timed from then to the end of the
last. Rounds alternate between the two, so that a ratio compares neighbours in time; the same ratio of CPU time is the
steadier one where others use the machine. Writes ``<out>.csv`` and ``<out>.md``.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from output import save

SIZES = (5_000, 10_000, 20_000)
#: name -> um/px, um of a tile's side, suffix of the picture
CUTS = {"hest 0.5 um/px": (0.5, 112.0, "tif"), "hest 0.25 um/px": (0.25, 112.0, "tif"), "stimage": (0.5, 55.0, "png")}
TILE_PX, PITCH_UM, TEXTURE_UM = 224, 100.0, 2048.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="sides of the pictures, px")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cuts", nargs="+", default=list(CUTS), choices=list(CUTS))
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--folder", type=Path, help="where pictures and tiles go; default: a temporary folder")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/tiling"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(**json.loads(options.worker))
        return
    folder = options.folder or Path(tempfile.mkdtemp(prefix="tiling-"))
    try:
        rows = list(collect(options, folder))
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    save(options.out, rows, to_markdown(rows, options))


def collect(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One row a cut, size and number of processes."""
    rows = []
    for size in options.sizes:
        pictures = {suffix: folder / f"{size}.{suffix}" for suffix in ("tif", "png")}
        for suffix in {CUTS[cut][2] for cut in options.cuts}:
            if not pictures[suffix].is_file():
                in_a_process({"what": "picture", "picture": str(pictures[suffix]), "size": size})
        for cut in options.cuts:
            for processes in options.processes:
                found: dict[str, list[dict[str, float]]] = {"reading": [], "writing": []}
                for _ in range(options.repeats):
                    for what, results in found.items():
                        results.append(together(what, cut, size, pictures[CUTS[cut][2]], processes, folder))
                pairs = list(zip(found["reading"], found["writing"], strict=True))
                rows.append(
                    {
                        "cut": cut,
                        "size_px": size,
                        "processes": processes,
                        "tiles": int(found["writing"][0]["tiles"]),
                        "read_per_s": round(max(result["rate"] for result in found["reading"]), 1),
                        "written_per_s": round(max(result["rate"] for result in found["writing"]), 1),
                        "ratio": round(statistics.median(w["rate"] / r["rate"] for r, w in pairs), 3),
                        "cpu_ratio": round(statistics.median(w["cpu_rate"] / r["cpu_rate"] for r, w in pairs), 3),
                        "peak_mb": round(max(result["peak_mb"] for result in found["writing"])),
                    }
                )
                print(rows[-1], file=sys.stderr, flush=True)
    return rows


def together(what: str, cut: str, size: int, picture: Path, processes: int, folder: Path) -> dict[str, float]:
    """Tiles a second of some processes that start at once, and the most memory that one of them held."""
    jobs = [
        {"what": what, "cut": cut, "size": size, "picture": str(picture), "out": str(folder / f"{number}.h5")}
        for number in range(processes)
    ]
    running = [start(job) for job in jobs]
    for process in running:
        process.stdout.readline()  # ready: imports are done, the slide is not open yet
    begun = time.perf_counter()
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [json.loads(finish(process)) for process in running]
    # A worker's own clock starts with its "go" and stops before it ends, as ending a process takes time of its own.
    seconds = max(result["seconds"] for result in results)
    assert seconds <= time.perf_counter() - begun
    tiles = sum(result["tiles"] for result in results)
    return {
        "rate": tiles / seconds,
        "cpu_rate": tiles / sum(result["cpu_s"] for result in results),
        "tiles": tiles,
        "peak_mb": max(result["peak_mb"] for result in results),
    }


def in_a_process(job: dict[str, Any]) -> str:
    process = start(job)
    process.stdout.readline()
    process.stdin.write("go\n")
    process.stdin.flush()
    return finish(process)


def start(job: dict[str, Any]) -> Any:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__, "--worker", json.dumps(job)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(process: Any) -> str:
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a worker failed with {process.returncode}; see above")
    return output.splitlines()[-1] if output else ""


# -- in a worker ---------------------------------------------------------------------------------------------


def work(what: str, picture: str, size: int, cut: str = "", out: str = "") -> None:
    import openslide  # noqa: F401
    import pyvips  # noqa: F401
    from PIL import Image  # noqa: F401
    from scipy import ndimage  # noqa: F401
    from skimage import filters  # noqa: F401

    from stflow.wsi import tiles  # noqa: F401

    if out:
        Path(out).unlink(missing_ok=True)  # to free the disk of the round before is no part of this one
    print("ready", flush=True)
    sys.stdin.readline()
    if what == "picture":
        make_picture(Path(picture), size)
        print("{}")
        return
    start, busy = time.perf_counter(), time.process_time()
    spots = spots_of(cut, size)
    n = (read if what == "reading" else write)(Path(picture), spots, cut, Path(out))
    times = {"seconds": time.perf_counter() - start, "cpu_s": time.process_time() - busy}
    print(json.dumps({**times, "tiles": n, "peak_mb": peak_mb()}))


def make_picture(path: Path, size: int) -> None:
    """Tissue of the demo, mirrored to fill the picture, as a pyramid or as a PNG."""
    import pyvips

    from stflow.data.demo.section import make_section
    from stflow.wsi.pyramid import TILE_PX as BLOCK

    texture = make_section("demo_hest", "DEMO1A", size_um=TEXTURE_UM).image()
    height, width, bands = texture.shape
    image = pyvips.Image.new_from_memory(texture.tobytes(), width, height, bands, "uchar")
    pair = image.join(image.fliphor(), "horizontal")
    block = pair.join(pair.flipver(), "vertical")
    image = block.replicate(size // block.width + 1, size // block.height + 1).crop(0, 0, size, size)
    image = image.copy(interpretation="srgb")
    if path.suffix == ".png":
        image.pngsave(str(path), compression=1)
        return
    options = {"tile": True, "tile_width": BLOCK, "tile_height": BLOCK, "pyramid": True, "compression": "jpeg", "Q": 85}
    image.tiffsave(str(path), **options, resunit="cm", xres=2000.0, yres=2000.0)


def spots_of(cut: str, size: int) -> Any:
    """Spots on a square grid over the whole picture, in random order."""
    from stflow.wsi.tiles import Spots

    mpp, tile_um, _ = CUTS[cut]
    place = np.arange(tile_um / 2, size * mpp - tile_um / 2, PITCH_UM) / mpp
    x, y = (grid.ravel() for grid in np.meshgrid(place, place))
    order = np.random.default_rng(size).permutation(len(x))
    centres = np.stack([x, y], axis=1)[order]
    return Spots("S", np.array([f"spot{index}" for index in order], dtype=object), centres, mpp, tile_um)


def write(picture: Path, spots: Any, cut: str, out: Path) -> int:
    import h5py

    from stflow.wsi.tiles import cut_tiles

    cut_tiles(picture, spots, out, tile_um=CUTS[cut][1], tile_px=TILE_PX, min_tissue=0.15)
    with h5py.File(out) as handle:
        return len(handle["img"])


def read(picture: Path, spots: Any, cut: str, out: Path) -> int:
    from PIL import Image

    mpp, tile_um, suffix = CUTS[cut]
    side = round(tile_um / mpp)
    corners = (spots.centres_px - side // 2).astype(np.int64)
    corners = corners[np.lexsort((corners[:, 0], corners[:, 1] // 256))].tolist()
    if suffix == "png":
        import pyvips

        pixels = pyvips.Image.new_from_file(str(picture)).numpy()
        crops = (Image.fromarray(pixels[y : y + side, x : x + side]) for x, y in corners)
    else:
        import openslide

        slide = openslide.OpenSlide(picture)
        level = slide.get_best_level_for_downsample(side / TILE_PX * 1.001)
        size = round(side / slide.level_downsamples[level])
        crops = (slide.read_region((x, y), level, (size, size)) for x, y in corners)
    for crop in crops:
        if crop.size != (TILE_PX, TILE_PX):
            crop.resize((TILE_PX, TILE_PX), Image.Resampling.BILINEAR)
    return len(corners)


def peak_mb() -> float:
    """Most memory that this process held, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def to_markdown(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    lines = [
        f"{platform.machine()}, best of {options.repeats} rounds; the ratio is the median of theirs",
        "",
        "| cut | px | processes | tiles | read /s | written /s | written / read | same, CPU time | peak MB a process |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        lines.append(
            f"| {row['cut']} | {row['size_px']:,} | {row['processes']} | {row['tiles']:,} | {row['read_per_s']:,.0f} | "
            f"{row['written_per_s']:,.0f} | {row['ratio']:.0%} | {row['cpu_ratio']:.0%} | {row['peak_mb']:,} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
