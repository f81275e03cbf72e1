"""Time and memory of GigaPath's slide encoder against the number of tiles, and of its attention against denser ones.

    python benchmarks/slide_encoder.py
    python benchmarks/slide_encoder.py --sizes 1000 --attention-sizes 1000 --repeats 1      # a quick look

The network is the published one in size, its weights are random. Tiles are random too and fill a square of the grid.
Every figure comes from a process of its own, so that its peak of memory is honest; ``idle MB`` is what a process holds
before the first tile: Python, PyTorch and the weights.

One attention of 16 heads of 48 numbers, in four ways. ``dilated`` is ours. ``written out`` is the same sum as its
formula has it: segments padded with zeros, each branch's scores as a matrix, its outputs spread over all tokens.
``dense`` lets every tile see every other, by PyTorch's kernel, which holds no matrix either. ``dense, written out``
holds the N x N scores of each head; it is left out above ``--matrix-limit`` tiles. Writes ``<out>.csv`` and
``<out>.md``.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from output import save

from stflow.efficiency.memory import held_mb

SIZES = (1_000, 5_000, 10_000, 30_000)
ATTENTION_SIZES = (1_000, 5_000, 10_000)
HEADS, HEAD_DIM = 16, 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), help="tiles, for the whole network")
    parser.add_argument(
        "--attention-sizes", type=int, nargs="*", default=list(ATTENTION_SIZES), help="tiles, for one attention"
    )
    parser.add_argument("--matrix-limit", type=int, default=5_000, help="most tiles for which N x N scores are held")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2, help="runs in a process; the fastest counts")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"], help="of the whole network")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/slide_encoder"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(**json.loads(options.worker))))
        return
    common = {key: getattr(options, key) for key in ("threads", "repeats", "device", "precision")}
    rows = [in_a_process({"what": "network", "n": n, **common}) for n in options.sizes]
    for n in options.attention_sizes:
        for what in ATTENTIONS:
            if what != "dense, written out" or n <= options.matrix_limit:
                rows.append(in_a_process({"what": what, "n": n, **common}))
    save(options.out, rows, to_markdown(rows, options))


def in_a_process(job: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", __file__, "--worker", json.dumps(job)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"the run of {job['what']} on {job['n']} tiles failed with {run.returncode}; see above")
    row = json.loads(run.stdout.splitlines()[-1])
    print(row, file=sys.stderr, flush=True)
    return row


# -- in a worker ---------------------------------------------------------------------------------------------


def work(what: str, n: int, threads: int, repeats: int, device: str, precision: str) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(n)
    run = prepare_network(n, device, precision) if what == "network" else prepare_attention(what, n, device)
    idle = held_mb(device, peak=False)
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats):
            begun = time.perf_counter()
            run()
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begun)
    return {
        "what": what,
        "tiles": n,
        "seconds": round(min(seconds), 4),
        "tiles_per_s": round(n / min(seconds), 1),
        "idle_mb": round(idle),
        "peak_mb": round(held_mb(device, peak=True)),
    }


def prepare_network(n: int, device: str, precision: str) -> Any:
    import numpy as np

    from stflow.encoders.longnet import LongNet
    from stflow.encoders.zoo.gigapath_slide import CELL_PX, PRETRAINING_MPP, GigaPathSlide

    encoder = GigaPathSlide(device, precision)
    encoder._network = LongNet().eval().to(device)
    side = math.isqrt(n - 1) + 1
    corners = np.stack(np.divmod(np.arange(n), side), axis=1) * CELL_PX
    features = np.random.default_rng(n).standard_normal((n, 1536), dtype=np.float32)
    encoder.encode_slide(features[:100], corners[:100], PRETRAINING_MPP)
    return lambda: encoder.encode_slide(features, corners, PRETRAINING_MPP)


def prepare_attention(what: str, n: int, device: str) -> Any:
    import torch

    q, k, v = torch.randn(3, n, HEADS, HEAD_DIM, device=device)
    attend = ATTENTIONS[what]
    attend(q[:100], k[:100], v[:100])
    return lambda: attend(q, k, v)


def dilated(q: Any, k: Any, v: Any) -> Any:
    from stflow.encoders.longnet import RATIOS, SEGMENT_LENGTHS, dilated_attention

    return dilated_attention(q, k, v, SEGMENT_LENGTHS, RATIOS)


def written_out(q: Any, k: Any, v: Any) -> Any:
    import torch
    from torch.nn.functional import pad

    from stflow.encoders.longnet import RATIOS, SEGMENT_LENGTHS

    L = len(q)
    offsets = {ratio: torch.arange(HEADS, device=q.device) // (HEADS // ratio) for ratio in RATIOS}
    outputs, lses = [], []
    for length, ratio in zip(SEGMENT_LENGTHS, RATIOS, strict=True):
        length = min(length, L)
        segments, stride = -(-L // length), -(-length // ratio)
        # (segments, heads, tokens of a head's stride) places in a sequence that is padded to whole strides.
        places = torch.arange(stride, device=q.device) * ratio + offsets[ratio][:, None]
        heads = torch.arange(HEADS, device=q.device)[:, None]
        some = []
        for x in (q, k, v):
            whole = pad(x, (0, 0, 0, 0, 0, segments * length - L)).unflatten(0, (segments, length))
            some.append(pad(whole, (0, 0, 0, 0, 0, stride * ratio - length))[:, places, heads])
        scores = some[0] @ some[1].transpose(2, 3) / HEAD_DIM**0.5
        output = q.new_zeros(segments, stride * ratio, HEADS, HEAD_DIM)
        lse = q.new_full((segments, stride * ratio, HEADS), -1e8)
        output[:, places, heads] = scores.softmax(dim=3) @ some[2]
        lse[:, places, heads] = scores.logsumexp(dim=3)
        outputs.append(output[:, :length].flatten(0, 1)[:L])
        lses.append(lse[:, :length].flatten(0, 1)[:L])
    shares = torch.stack(lses).softmax(dim=0)
    return (torch.stack(outputs) * shares[..., None]).sum(dim=0)


def dense(q: Any, k: Any, v: Any) -> Any:
    import torch

    return torch.nn.functional.scaled_dot_product_attention(*(x.transpose(0, 1)[None] for x in (q, k, v)))


def dense_written_out(q: Any, k: Any, v: Any) -> Any:
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    return (q @ k.transpose(1, 2) / HEAD_DIM**0.5).softmax(dim=2) @ v


ATTENTIONS = {
    "dilated": dilated,
    "written out": written_out,
    "dense": dense,
    "dense, written out": dense_written_out,
}


def to_markdown(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    lines = [
        f"{platform.machine()}, {options.device}, {options.threads} threads, {options.precision}; "
        f"best of {options.repeats} runs",
        "",
        "| what | tiles | seconds | tiles/s | idle MB | peak MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        lines.append(
            f"| {row['what']} | {row['tiles']:,} | {row['seconds']:,.2f} | {row['tiles_per_s']:,.0f} | "
            f"{row['idle_mb']:,} | {row['peak_mb']:,} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
