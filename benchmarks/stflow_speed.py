"""Time and memory of STFlow against the number of spots, beside the authors' public code.

    python benchmarks/stflow_speed.py --threads 2
    python benchmarks/stflow_speed.py --threads 2 --public /path/to/a/checkout   # folder with stflow/model/denoiser.py

Three things are measured, each in a process of its own: a training step (forward and backward, one region of N spots,
dropout on), a whole slide sampled with S = 5 (everything from coordinates on: graph, frames, five calls), and the most
memory that either held above what the process held before. Rounds alternate between the two codes, so that a ratio
compares neighbours in time; the table gives the least time of each and the ratio of those.

The network has the paper's size: 1024-d features, 50 genes, four layers. Spots lie on a hexagonal grid of 100 um, in
random order, as sorted barcodes leave them. Writes ``<out>.csv``, ``<out>.md`` and ``<out>.png``.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from output import save

SIZES = (300, 1_000, 3_000, 10_000, 20_000, 30_000, 100_000)
#: Above these the public code is not asked: it holds several (N, N) arrays, and its training step all edges.
PUBLIC_MOST = {"sample": 20_000, "train": 10_000}
#: Above this no training step is measured: the largest slides of the benchmarks have some 20,000 spots.
TRAIN_MOST = 30_000
N_FEATURES, N_GENES, STEPS, NEIGHBOURS = 1024, 50, 5, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="numbers of spots")
    parser.add_argument("--public", type=Path, help="checkout of the authors' code")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--repeats", type=int, default=3, help="rounds; each takes the better of two calls")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/stflow_speed"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(**json.loads(options.worker))))
        return
    rows = list(collect(options))
    save(options.out, rows, to_markdown(rows, options))
    draw(rows, options.out.with_suffix(".png"))


def collect(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a task and size, with both codes side by side."""
    rows = []
    for task in ("train", "sample"):
        for n in options.sizes:
            if task == "train" and n > TRAIN_MOST:
                continue
            codes = ["ours"]
            if options.public and n <= PUBLIC_MOST[task]:
                codes.append("public")
            found: dict[str, list[dict[str, float]]] = {code: [] for code in codes}
            for _ in range(options.repeats if n <= 30_000 else 1):
                for code in codes:
                    found[code].append(in_a_process(code, task, n, options))
            row: dict[str, Any] = {"task": task, "spots": n}
            for code in ("ours", "public"):
                results = found.get(code, [])
                row[f"{code}_s"] = min((result["seconds"] for result in results), default=None)
                row[f"{code}_mb"] = max((result["memory_mb"] for result in results), default=None)
            ratio = row["public_s"] / row["ours_s"] if row["public_s"] else None
            row["times_faster"] = round(ratio, 2) if ratio else None
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    return rows


def in_a_process(code: str, task: str, n: int, options: argparse.Namespace) -> dict[str, float]:
    job = {"code": code, "task": task, "n": n, "threads": options.threads, "device": options.device}
    job["public"] = str(options.public) if options.public else None
    # As `stflow` sets it for its own jobs; the public code is measured as it comes.
    environment = {**os.environ, **({"GOMP_SPINCOUNT": "0"} if code == "ours" else {})}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--worker", json.dumps(job)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{code} {task} with {n} spots failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(code: str, task: str, n: int, threads: int, device: str, public: str | None) -> dict[str, float]:
    """Least seconds of two calls after one to warm up, and the most memory above what was held before."""
    import torch

    from stflow.device import keep_freed_memory

    torch.set_num_threads(threads)
    if code == "ours":
        keep_freed_memory()
    maker = {"ours": our_call, "public": public_call}[code]
    maker(task, 300, device, public)()  # imports, compiled kernels
    call = maker(task, n, device, public)
    before = held_mb(device, reset=True)
    seconds = []
    for _ in range(2 if n <= 30_000 else 1):
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return {"seconds": round(min(seconds), 4), "memory_mb": round(held_mb(device) - before, 1)}


def held_mb(device: str, *, reset: bool = False) -> float:
    """Most memory held so far, MB; ``reset`` starts counting anew from what is held now."""
    if device == "cuda":
        import torch

        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 1e6
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def slide_of(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 2) centres in um, (n, D) features, (n, G) expression."""
    rng = np.random.default_rng(n)
    side = int(np.ceil(np.sqrt(n)))
    row, column = np.mgrid[:side, :side]
    grid = np.stack([(column + 0.5 * (row % 2)) * 100.0, row * 100.0 * np.sqrt(0.75)], axis=-1).reshape(-1, 2)[:n]
    features = rng.standard_normal((n, N_FEATURES), dtype=np.float32)
    return rng.permutation(grid), features, np.log1p(rng.poisson(0.8, (n, N_GENES))).astype(np.float32)


def our_call(task: str, n: int, device: str, public: str | None) -> Callable[[], None]:
    import torch
    from scipy import sparse

    from stflow.data.slide import Slide
    from stflow.models.base import Task
    from stflow.models.stflow import STFlowSettings
    from stflow.models.stflow.learner import Learner

    del public
    centres, features, expression = slide_of(n)
    genes = tuple(f"G{index}" for index in range(N_GENES))
    barcodes = np.array([str(index) for index in range(n)], dtype=object)
    counts = sparse.csc_matrix(np.expm1(expression))
    slide = Slide("slide", "patient", barcodes, centres, 1.0, genes, counts, {"encoder": features})
    learner = Learner(STFlowSettings(steps=STEPS), Task(genes, "encoder"), N_FEATURES, 0)
    network = learner.denoiser.to(device)
    network.use_generator(torch.Generator().manual_seed(0))
    if task == "sample":
        network.eval()
        return lambda: np.asarray(next(learner.sample(slide, seed=0, device=device))).sum()
    section = learner.section(slide, device)
    x_1 = torch.from_numpy(expression[section.order]).to(device)
    t = x_1.new_full((n, 1), 0.5)

    def step() -> None:
        network.train()
        network.zero_grad()
        graph = section.graph.region(torch.arange(n, device=device))
        (network(section.features, 0.5 * x_1, t, graph) - x_1).square().mean().backward()

    return step


def public_call(task: str, n: int, device: str, public: str | None) -> Callable[[], None]:
    import torch

    denoiser = public_module(Path(str(public)))
    centres, features, expression = slide_of(n)
    settings = {"hidden_dim": 128, "pairwise_hidden_dim": 128, "n_layers": 4, "n_heads": 4, "dropout": 0.2}
    settings |= {"attn_dropout": 0.2, "n_neighbors": NEIGHBOURS, "activation": "swiglu"}
    network = denoiser.Denoiser(types.SimpleNamespace(n_genes=N_GENES, feature_dim=N_FEATURES, **settings)).to(device)
    coordinates, z, x_1 = (
        torch.from_numpy(np.asarray(array, dtype=np.float32))[None].to(device)
        for array in (centres / 100, features, expression)
    )

    def step() -> None:
        network.train()
        network.zero_grad()
        _, loss = network(0.5 * x_1, z, coordinates, x_1, x_1.new_full((1,), 0.5))
        loss.backward()

    @torch.no_grad()
    def sample() -> None:
        network.eval()
        x_t = torch.log1p(torch.poisson(torch.full_like(x_1, 0.5)))
        for call in range(STEPS):
            t = call / STEPS
            guess = network.inference(x_t, z, coordinates, x_t.new_full((1,), t))
            x_t = x_t + (guess - x_t) / (1 - t) / STEPS

    return {"train": step, "sample": sample}[task]


def public_module(checkout: Path) -> Any:
    """The public code's ``model.denoiser``, under a name that does not meet ours.

    Its first commit passes an argument that the class it is passed to does not take; it is dropped on the way.
    """
    folder = checkout / "stflow" / "model"
    if not (folder / "denoiser.py").is_file():
        raise SystemExit(f"{folder} holds no denoiser.py: give the folder of a checkout of the authors' repository")
    package = types.ModuleType("public_model")
    package.__path__ = [str(folder)]
    sys.modules["public_model"] = package
    update = importlib.import_module("public_model.transformer").GeneUpdate
    plain = update.__init__
    update.__init__ = lambda self, *values, non_negative=None, **named: plain(self, *values, **named)
    return importlib.import_module("public_model.denoiser")


def to_markdown(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """Two tables, one a task."""
    names = {"train": "Training step, one region", "sample": f"A whole slide, S = {STEPS}, from coordinates on"}
    parts = [f"{platform.machine()}, {options.device}, {options.threads} threads, least of {options.repeats} rounds"]
    for task, name in names.items():
        lines = [f"## {name}", "", "| spots | ours s | ours MB | public s | public MB | times faster |"]
        lines.append("| ---: | ---: | ---: | ---: | ---: | ---: |")
        for row in rows:
            if row["task"] == task:
                cells = [f"{row['spots']:,}", *(_cell(row[key]) for key in list(row)[2:])]
                lines.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3f}" if value < 10 else f"{value:,.1f}"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Time of both tasks and memory of sampling against spots, both axes logarithmic."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(9, 2.9), layout="constrained")
    panels = [("train", "s", "training step (s)"), ("sample", "s", f"whole slide, S = {STEPS} (s)")]
    panels.append(("sample", "mb", "memory, whole slide (MB)"))
    for axis, (task, unit, title) in zip(axes, panels, strict=True):
        for code, style in (("ours", "o-"), ("public", "s--")):
            points = [(row["spots"], row[f"{code}_{unit}"]) for row in rows if row["task"] == task]
            points = [point for point in points if point[1] is not None]
            if points:
                axis.plot(*zip(*points, strict=True), style, color={"ours": "#0072b2", "public": "#d55e00"}[code],
                          label={"ours": "this project", "public": "public code"}[code], markersize=4)  # fmt: skip
        axis.set(xscale="log", yscale="log", xlabel="spots", title=title)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.2)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    main()
