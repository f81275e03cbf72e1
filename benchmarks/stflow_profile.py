"""Where the time of STFlow goes: a training step and a sampled slide, by kernel and kind of operation.

    python benchmarks/stflow_profile.py --spots 3000 --threads 1

Compiled kernels are timed by the wall, torch's operations by its profiler; the rest is Python, allocation and waiting.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "0")  # as `stflow` sets it

import torch
from stflow_speed import our_call
from torch.profiler import ProfilerActivity, profile

from stflow.device import keep_freed_memory
from stflow.models.stflow import edge_attention, layers, threads

#: What torch's operations are counted as.
KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "addmv", "mv"),
    "gathers and scatters": ("index", "index_select", "gather", "sort", "argsort"),
    "copies": ("copy_", "cat", "clone", "contiguous"),
    "random numbers": ("random_", "rand", "bernoulli_"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spots", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    for task, name in (("train", "training step"), ("sample", "whole slide, S = 5")):
        seconds, parts = split(our_call(task, options.spots, "cpu", None))
        print(f"\n{name}, {options.spots:,} spots, {options.threads} threads: {seconds:.3f} s\n")
        print("| part | share |\n| --- | ---: |")
        for part, share in parts.most_common():
            print(f"| {part} | {share / seconds:.0%} |")


def split(call: Callable[[], Any]) -> tuple[float, Counter[str]]:
    """Seconds of the better of three calls, and the seconds of each part of another one, scaled to it."""
    call()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    parts: Counter[str] = Counter()
    plain = threads.run

    def timed(kernel: Callable[..., None], *arguments: Any, **named: Any) -> None:
        start = time.perf_counter()
        plain(kernel, *arguments, **named)
        parts[f"kernel {kernel.__name__}"] += time.perf_counter() - start

    edge_attention.run = layers.run = timed  # type: ignore[assignment]
    try:
        with profile(activities=[ProfilerActivity.CPU]) as found:
            start = time.perf_counter()
            call()
            whole = time.perf_counter() - start
    finally:
        edge_attention.run = layers.run = plain  # type: ignore[assignment]
    for event in found.key_averages():
        if event.key.startswith("aten::"):
            parts[kind_of(event.key.removeprefix("aten::"))] += event.self_cpu_time_total / 1e6
    parts["Python, allocation, waiting"] = max(0.0, whole - sum(parts.values()))
    best = min(seconds)
    return best, Counter({part: value * best / whole for part, value in parts.items()})


def kind_of(operation: str) -> str:
    for kind, operations in KINDS.items():
        if operation in operations:
            return kind
    return "other torch operations"


if __name__ == "__main__":
    main()
