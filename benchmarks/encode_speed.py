"""Tiles a second of the stage `embed` against the bare encoder's, its start-up, its memory, and bf16 against fp32.

    python benchmarks/encode_speed.py
    python benchmarks/encode_speed.py --encoders efficientnet_lite0 --tiles 128 --rounds 3      # a quick look

Tiles are cut from the demo's tissue; a network whose weights are not there gets random ones in a file of the right
size, which changes neither speed nor memory. ``bare`` is `Encoder.encode` of prepared batches that lie in memory;
``job`` is `make_features` from opening the slide file to the features file under its own name: reading, hashing,
preparing, encoding, records for a resumption, all on disk; the encoder is warm in both. Rounds alternate between the
two, so that a ratio compares neighbours in time; on the CPU both have the same threads for the network, and the job
reads in one more. ``start-up`` is a process of its own: import, weights, first batch. Peak memory is that of a process
that does one slide. Writes ``<out>.csv``, ``<out>.md`` and the raw rounds.
"""

from __future__ import annotations

import argparse
import json
import os
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
from output import save, write_csv
from tissue_slides import BENCHMARK, TILE_PX, make_slide, slide_name, some_tiles

ENCODERS = ("classical", "efficientnet_lite0", "ciga", "uni")
#: Slides whose memory is compared, tiles; with an encoder that costs nothing, so that the large one ends.
SIZES = (1_000, 4_000, 16_000)

NOTHING_DIM = 1024  # features of the encoder that costs nothing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), help="with variants, as in a configuration")
    parser.add_argument("--devices", nargs="+", help="default: cpu, and cuda where there is one")
    parser.add_argument("--tiles", type=int, default=512, help="tiles of the slide that speed is measured on")
    parser.add_argument("--cuda-tiles", type=int, default=8192, help="the same on a GPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that read; a GPU needs some")
    parser.add_argument("--gzip", action="store_true", help="tiles are packed, as some of hest-bench's are")
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), help="slides for the memory, tiles")
    parser.add_argument("--folder", type=Path, help="where tiles and weights go; default: a temporary folder")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/encode_speed"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(**json.loads(options.worker))))
        return
    folder = options.folder or Path(tempfile.mkdtemp(prefix="encode-"))
    try:
        speeds, memories = measure(options, folder)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    if memories:
        write_csv(options.out.with_name(f"{options.out.name}_memory.csv"), memories)
    save(options.out, speeds, to_markdown(speeds, memories, options))


def measure(options: argparse.Namespace, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of speed, one an encoder, device and precision; rows of memory, one a size."""
    speeds, memories = [], []
    common = {"folder": str(folder), "threads": options.threads, "workers": options.workers, "packed": options.gzip}
    for device in options.devices or devices():
        tiles = options.tiles if device == "cpu" else options.cuda_tiles
        for encoder in options.encoders:
            full = None
            for precision in ("fp32",) if encoder.startswith("classical") else ("fp32", "bf16"):
                job = {**common, "encoder": encoder, "device": device, "precision": precision, "tiles": tiles}
                in_a_process({**job, "what": "weights"})
                start = in_a_process({**job, "what": "start"})
                found = in_a_process({**job, "what": "speed", "rounds": options.rounds})
                full = found if precision == "fp32" else full
                speeds.append(
                    {
                        "encoder": encoder,
                        "device": found["device"],
                        "precision": precision,
                        "batch": found["batch"],
                        "tiles": tiles,
                        "bare_per_s": round(max(found["bare"]), 1),
                        "job_per_s": round(max(found["job"]), 1),
                        "ratio": round(median_ratio(found["job"], found["bare"]), 3),
                        "cpu_ratio": round(median_ratio(found["job_cpu"], found["bare_cpu"]), 3),
                        "bf16_times": round(max(found["bare"]) / max(full["bare"]), 2) if full else "",
                        "cosine": round(found["cosine"], 5),
                        "import_s": round(start["import_s"], 1),
                        "weights_s": round(start["weights_s"], 1),
                        "weights_mb": round(start["weights_mb"]),
                        "peak_mb": round(found["peak_mb"]),
                    }
                )
                print(speeds[-1], file=sys.stderr, flush=True)
    for size in options.sizes:
        for batch in (8, 64, 512):
            job = {**common, "encoder": "nothing", "device": "cpu", "precision": "fp32", "tiles": size, "batch": batch}
            in_a_process({**job, "what": "weights"})
            found = in_a_process({**job, "what": "memory"})
            memories.append({"tiles": size, "batch": batch, "workers": options.workers, **found})
            print(memories[-1], file=sys.stderr, flush=True)
    return speeds, memories


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def devices() -> list[str]:
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def in_a_process(job: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--worker", json.dumps({**job, "launched": time.time()})],
        env={**os.environ, "OMP_NUM_THREADS": str(job["threads"])},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"a worker failed with {done.returncode}; see above")
    return json.loads(done.stdout.splitlines()[-1])


# -- in a worker ---------------------------------------------------------------------------------------------


def work(what: str, folder: str, encoder: str, **job: Any) -> dict[str, Any]:
    place = Path(folder)
    weights = register(encoder, place)
    if what == "weights":
        if weights and not weights.is_file():
            write_weights(encoder, weights)
        make_slide(place, job["tiles"], job["packed"])
        return {}
    if what == "start":
        return start(place, encoder, weights, job)
    if what == "memory":
        return memory(place, encoder, job)
    return speed(place, encoder, weights, job)


def start(folder: Path, encoder: str, weights: Path | None, job: dict[str, Any]) -> dict[str, Any]:
    """Seconds from the start of the process to a warm encoder."""
    from stflow.encoders.create import create

    model = create(encoder, job["device"], job["precision"], weights)
    if model.uses_torch:
        import timm  # noqa: F401
        import torch  # noqa: F401
        import torchvision  # noqa: F401
    imported = time.time()
    tiles = np.random.default_rng(0).integers(0, 255, (8, TILE_PX, TILE_PX, 3), dtype=np.uint8)
    hashed = model.weights_sha256
    model.fit_slide(tiles)
    model(tiles)
    first = time.time()
    model(tiles)
    second = time.time()
    assert hashed
    size = weights.stat().st_size / 1e6 if weights else 0.0
    return {
        "import_s": imported - job["launched"],
        "weights_s": max(0.0, (first - imported) - (second - first)),
        "weights_mb": size,
    }


def speed(folder: Path, encoder: str, weights: Path | None, job: dict[str, Any]) -> dict[str, Any]:
    """Tiles a second of every round, the job's and the bare encoder's."""
    from stflow.device import set_threads
    from stflow.embedding import extract
    from stflow.embedding.features import read_features
    from stflow.encoders.create import create
    from stflow.layout import Layout

    set_threads(job["threads"])
    model = create(encoder, job["device"], job["precision"], weights)
    model.fit_slide(some_tiles(16))
    extract.create = lambda *_: model  # warm: loading is not measured here
    out = Layout(folder).features(encoder, BENCHMARK, slide_name(job["tiles"], job["packed"]))

    def whole_job() -> None:
        shutil.rmtree(out.parent, ignore_errors=True)
        extract.make_features(
            folder, BENCHMARK, [out.stem], encoder, weights=weights, code="", batch_size=None,
            precision=job["precision"], threads=job["threads"], workers=job["workers"], device=job["device"],
        )  # fmt: skip

    whole_job()
    batch = read_features(out).batch_size
    batches = [model.prepare(some_tiles(batch, seed)) for seed in range(4)]

    def bare() -> None:
        for number in range(job["tiles"] // batch):
            model.encode(batches[number % len(batches)])

    rates: dict[str, list[float]] = {name: [] for name in ("bare", "job", "bare_cpu", "job_cpu")}
    for _ in range(job["rounds"]):
        for name, call, tiles in (("bare", bare, job["tiles"] // batch * batch), ("job", whole_job, job["tiles"])):
            begun, busy = time.perf_counter(), time.process_time()
            call()
            rates[name].append(tiles / (time.perf_counter() - begun))
            rates[f"{name}_cpu"].append(tiles / (time.process_time() - busy))
    return {
        **rates,
        "batch": batch,
        "device": device_name(model.device),
        "peak_mb": peak_mb(),
        "cosine": cosine_with_full_precision(encoder, weights, job),
    }


def cosine_with_full_precision(encoder: str, weights: Path | None, job: dict[str, Any]) -> float:
    """Mean cosine of up to 64 tiles' features with those of fp32, both less fp32's mean, which all tiles share."""
    from stflow.encoders import create as module

    tiles, found = some_tiles(min(64, job["tiles"]), seed=1), []
    for precision in ("fp32", job["precision"]):
        model = module.create(encoder, job["device"], precision, weights)
        model.fit_slide(tiles)
        found.append(
            np.concatenate([model(tiles[start : start + 16]) for start in range(0, len(tiles), 16)]).astype(float)
        )
    full, half = (values - found[0].mean(axis=0) for values in found)
    return float(((full * half).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(half, axis=1)).mean())


def memory(folder: Path, encoder: str, job: dict[str, Any]) -> dict[str, Any]:
    """Most memory of a process that does one slide, MB, and what it held before."""
    import h5py  # noqa: F401

    from stflow.embedding.extract import make_features

    if job["workers"]:
        import torch  # noqa: F401
    before = peak_mb()
    slide = slide_name(job["tiles"], job["packed"])
    make_features(
        folder, BENCHMARK, [slide], encoder, weights=None, code="", batch_size=job["batch"], precision="fp32",
        threads=1, workers=job["workers"], device="cpu",
    )  # fmt: skip
    shutil.rmtree(folder / "features")
    features = job["tiles"] * NOTHING_DIM * 4 / 1e6
    return {"before_mb": round(before), "peak_mb": round(peak_mb()), "of_it_features_mb": round(features)}


def register(encoder: str, folder: Path) -> Path | None:
    """Make the encoder known in the form that is measured; gives its weights file, if it has one."""
    from stflow.encoders import ENCODERS as KNOWN
    from stflow.encoders.base import Encoder

    if encoder == "nothing":

        class Nothing(Encoder):
            name, dim, transform, licence, uses_torch = "nothing", NOTHING_DIM, "none", "MIT", False
            weights_sha256 = "0" * 64  # type: ignore[assignment]

            def encode(self, tiles: np.ndarray) -> np.ndarray:
                return tiles.reshape(len(tiles), -1)[:, : self.dim].astype(np.float32)

        KNOWN._added["nothing"] = Nothing
        return None
    name = encoder.partition("+")[0]
    kind = KNOWN.get(name)
    if kind.weights is None:
        return None

    class Random(kind):  # type: ignore[misc, valid-type]
        """The network with random weights, under its own names for the tensors."""

        key = ""

        @classmethod
        def convert(cls, state: dict[str, Any]) -> dict[str, Any]:
            return state

        def _published_sha256(self) -> None:
            return None

    KNOWN._builtin.pop(name)
    KNOWN._added[name] = Random
    return folder / f"{name}.safetensors"


def write_weights(encoder: str, path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from stflow.encoders import ENCODERS as KNOWN

    torch.manual_seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    network = KNOWN.get(encoder.partition("+")[0]).build()
    for name, values in network.named_parameters():
        if values.ndim > 1:
            torch.nn.init.normal_(values, std=values[0].numel() ** -0.5)
        else:
            torch.nn.init.constant_(values, 0.0 if name.endswith("bias") else 1.0)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)


def device_name(device: str) -> str:
    if device == "cpu":
        return "cpu"
    import torch

    return torch.cuda.get_device_name()


def peak_mb() -> float:
    """Most memory that this process held, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def to_markdown(speeds: list[dict[str, Any]], memories: list[dict[str, Any]], options: argparse.Namespace) -> str:
    lines = [
        f"{platform.machine()}, {options.threads} thread(s), {options.workers} worker(s)"
        f"{', packed tiles' if options.gzip else ''}; best of {options.rounds} rounds, ratios are medians of theirs",
        "",
        "| encoder | device | precision | batch | bare /s | job /s | job / bare | same, CPU time | against fp32 "
        "| cosine | import s | weights s (MB) | peak MB |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in speeds:
        lines.append(
            f"| {row['encoder']} | {row['device']} | {row['precision']} | {row['batch']} | {row['bare_per_s']:,} | "
            f"{row['job_per_s']:,} | {row['ratio']:.0%} | {row['cpu_ratio']:.0%} | {row['bf16_times']} | "
            f"{row['cosine']:.5f} | {row['import_s']} | {row['weights_s']} ({row['weights_mb']:,}) | "
            f"{row['peak_mb']:,} |"
        )
    if not memories:
        return "\n".join(lines) + "\n"
    lines += [
        "",
        "Memory of a process that does one slide with an encoder that costs nothing, MB:",
        "",
        "| tiles | batch | before | peak | of it features |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in memories:
        lines.append(
            f"| {row['tiles']:,} | {row['batch']} | {row['before_mb']:,} | {row['peak_mb']:,} | "
            f"{row['of_it_features_mb']:,} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
