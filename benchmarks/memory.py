"""How much memory a benchmark's process takes."""

from __future__ import annotations

from pathlib import Path


def memory_mb(what: str, device: str) -> float:
    """What this process holds (VmRSS) or held at most (VmHWM), MB; on CUDA what it holds there."""
    if device == "cuda":
        import torch

        return (torch.cuda.memory_allocated() if what == "VmRSS" else torch.cuda.max_memory_allocated()) / 1e6
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")
