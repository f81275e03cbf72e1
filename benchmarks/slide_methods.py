"""Training and prediction of the slide-wise methods against the number of spots: time and memory, the data of figure 5.

    python benchmarks/slide_methods.py
    python benchmarks/slide_methods.py --spots 300 1000 --methods stflow triplex --repeats 1      # a quick look

Each method at its default settings, the paper's, on one slide of N spots on a Visium grid with random features (1024
numbers, as UNI's) or random tiles, and 50 genes. Every figure comes from a process of its own, so that its peak of
memory is honest. ``train`` is one step on a region of all N spots, forward and backward, the most that a step can cost;
``predict`` is the whole slide, without start-up. What does not fit into memory or takes longer than ``--limit-s`` is
told as such, and larger slides of that method are left out. Writes ``<out>.csv`` and ``<out>.md``.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from memory import memory_mb
from output import save

SPOTS = (300, 1_000, 3_000, 10_000, 20_000)
METHODS = ("stflow", "triplex", "histogene")
N_FEATURES, N_GENES, TILE_PX = 1024, 50, 112
PITCH_UM = 100.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spots", type=int, nargs="+", default=list(SPOTS), help="spots of a slide")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="method or method/variant")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="runs in a process; the fastest counts")
    parser.add_argument("--limit-s", type=float, default=300.0, help="most seconds of one process")
    parser.add_argument("--limit-gb", type=float, default=16.0, help="most address space that a process may take (CPU)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/slide_methods"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(**json.loads(options.worker))))
        return
    common = {"threads": options.threads, "repeats": options.repeats, "device": options.device}
    rows = []
    for method in options.methods:
        for what in ("predict", "train"):
            for n in sorted(options.spots):
                rows.append(in_a_process({"method": method, "what": what, "n": n, **common}, options))
                if rows[-1]["ended"] != "ok":
                    break
    save(options.out, rows, to_markdown(rows, options))


def in_a_process(job: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    limit = {"limit_gb": options.limit_gb if options.device == "cpu" else 0}
    command = [sys.executable, "-W", "ignore", __file__, "--worker", json.dumps({**job, **limit})]
    row: dict[str, Any] = {"method": job["method"], "what": job["what"], "spots": job["n"]}
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=options.limit_s)
    except subprocess.TimeoutExpired:
        row |= {"ended": f"longer than {options.limit_s:g} s", "seconds": None, "idle_mb": None, "peak_mb": None}
    else:
        if run.returncode:
            raise SystemExit(f"{job} failed with {run.returncode}; see above")
        row |= json.loads(run.stdout.splitlines()[-1])
    print(row, file=sys.stderr, flush=True)
    return row


# -- in a worker ---------------------------------------------------------------------------------------------


def work(method: str, what: str, n: int, threads: int, repeats: int, device: str, limit_gb: float) -> dict[str, Any]:
    import torch

    from stflow.device import is_out_of_memory, set_threads

    set_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = prepare(method, what, n, device, Path(folder))
            if limit_gb:
                limit_memory(limit_gb)
            idle = memory_mb("VmRSS", device)
            seconds = []
            for _ in range(repeats):
                begun = time.perf_counter()
                run()
                if device == "cuda":
                    torch.cuda.synchronize()
                seconds.append(time.perf_counter() - begun)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return {"ended": "out of memory", "seconds": None, "idle_mb": None, "peak_mb": None}
    return {
        "ended": "ok",
        "seconds": round(min(seconds), 4),
        "idle_mb": round(idle),
        "peak_mb": round(memory_mb("VmHWM", device)),
    }


def prepare(name: str, what: str, n: int, device: str, folder: Path) -> Any:
    """What is timed: one step of training on all spots, or the prediction of the slide."""
    import torch

    from stflow.layout import TILES
    from stflow.models import METHODS
    from stflow.models.base import Task

    method_name, _, variant = name.partition("/")
    cls = METHODS.get(method_name)
    values = dict(cls.variants[variant]) if variant else {}
    settings = cls.Settings.model_validate({**values, "epochs": 1, "regions_per_slide": 1})
    encoder = (*cls.own_encoders(settings), "random")[0]
    slide = made_slide(n, encoder, folder, tiles=cls.reads_tiles(settings) or encoder == TILES)
    method = cls(settings, Task(slide.genes, encoder, ("benchmark", name)))
    if what == "predict":
        small = slide.subset(torch.arange(min(n, 300)).numpy())
        method.fit([small], [], seed=0, device=device)
        method.predict(small, seed=0, device=device)
        return lambda: method.predict(slide, seed=0, device=device)
    problem, batch = one_step(method, slide.subset(torch.arange(min(n, 100)).numpy()), device)
    problem.loss(batch).backward()  # kernels are compiled, or read, at their first use
    problem, batch = one_step(method, slide, device)

    def step() -> None:
        problem.loss(batch).backward()

    return step


def one_step(method: Any, slide: Any, device: str) -> Any:
    """A method's training problem, and a sample of it that is the whole slide."""
    import torch

    generator = torch.Generator().manual_seed(0)
    if method.name == "stflow":
        from stflow.models.stflow.learner import Learner
        from stflow.models.stflow.regions import Regions

        learner = Learner(method, N_FEATURES, 0)
        learner.denoiser.to(device).train().use_generator(generator)
        regions = Regions(learner, [slide], [], generator, 0, device)
        return regions, regions.sample(regions.train[0], torch.arange(len(slide)), 0.5)
    learner = method.learner(N_FEATURES if slide.features else 0, 0)
    learner.module.to(device).train()
    problem = learner.problem([slide], [], generator, device)
    return problem, [(section.region(torch.arange(len(slide))), y) for section, y in problem.train]


def made_slide(n: int, encoder: str, folder: Path, *, tiles: bool) -> Any:
    import h5py
    import numpy as np
    from scipy import sparse

    from stflow.data.slide import Slide
    from stflow.data.tile_images import TileImages
    from stflow.layout import TILES

    rng = np.random.default_rng(n)
    side = int(np.ceil(np.sqrt(n)))
    row, column = np.divmod(np.arange(n), side)
    centres = np.stack([(column + 0.5 * (row % 2)) * PITCH_UM, row * PITCH_UM * np.sqrt(0.75)], axis=1)
    names = np.array([f"s{index}" for index in range(n)], dtype=object)
    images = None
    if tiles:
        with h5py.File(folder / "tiles.h5", "w") as handle:
            img = handle.create_dataset("img", (n, TILE_PX, TILE_PX, 3), dtype=np.uint8)
            for start in range(0, n, 1000):
                stop = min(n, start + 1000)
                img[start:stop] = rng.integers(0, 255, (stop - start, TILE_PX, TILE_PX, 3), dtype=np.uint8)
            handle["barcode"] = [[name] for name in names]
        images = TileImages.of(folder / "tiles.h5")
    return Slide(
        name="made",
        patient="made",
        barcodes=names,
        centres_px=centres,
        mpp=1.0,
        genes=tuple(f"G{index}" for index in range(N_GENES)),
        counts=sparse.csc_matrix(rng.poisson(1.0, (n, N_GENES)).astype(np.float32)),
        features={} if encoder == TILES else {encoder: rng.standard_normal((n, N_FEATURES), dtype=np.float32)},
        tiles=images,
    )


def limit_memory(limit_gb: float) -> None:
    """What goes beyond is refused, as a machine without swap would."""
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    allowed = used - resident + int(limit_gb * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, resource.getrlimit(resource.RLIMIT_AS)[1]))


def to_markdown(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    first = options.methods[0]
    base = {(row["what"], row["spots"]): row["seconds"] for row in rows if row["method"] == first}
    lines = [
        f"{platform.machine()}, {options.device}, {options.threads} threads; best of {options.repeats} runs; "
        f"{N_FEATURES} features, {N_GENES} genes",
        "",
        f"| method | what | spots | seconds | times {first} | idle MB | peak MB | |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        if row["ended"] != "ok":
            lines.append(f"| {row['method']} | {row['what']} | {row['spots']:,} | - | - | - | - | {row['ended']} |")
            continue
        other = base.get((row["what"], row["spots"]))
        times = f"{row['seconds'] / other:.1f}" if other else "-"
        lines.append(
            f"| {row['method']} | {row['what']} | {row['spots']:,} | {row['seconds']:,.2f} | {times} | "
            f"{row['idle_mb']:,} | {row['peak_mb']:,} | |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
